"""Rows that a range's file keeps beside an entry's own, made of the entry and of nothing else.

Whoever changes an entry's rows has them changed too, in the same transaction: `batch`, which writes
what clients write; `replica_log`, which replays records; `replica_copy`, which takes whole entries
of another file. So a commit never shows the one without the other, and a replica needs nobody to
tell it what to keep: the table `derivation` of its file says it.

Each kind is a `Keeper` in a module of its own, which `_KEEPERS` names. A file that keeps nothing of
this sort costs its writers one look at an attribute for each write.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from dstore.storage import expiry_rows, local_indexes
from dstore.storage.expiry_rows import NO_EXPIRY, ExpiryRows
from dstore.storage.local_indexes import LocalIndexes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import apsw

    from dstore.model.values import Item
    from dstore.storage.entries import Entry
    from dstore.storage.expiry_rows import ExpiryState

_LOAD: Final = "SELECT ID, KIND, DEFINITION FROM derivation ORDER BY ID"
_WIPE: Final = (
    "DELETE FROM derived WHERE (DERIVATION, KEY) IN (SELECT DERIVATION, KEY FROM derived LIMIT ?)"
)
_KEPT_MAX: Final = 4_096  # that are remembered as they were read; most files keep nothing

Rows = tuple[tuple[int, str, str], ...]
"""ID, KIND and DEFINITION, as they are stored."""


class Kind(StrEnum):
    """What is made of entries; the words are stored."""

    LOCAL_INDEX = local_indexes.KIND
    EXPIRY = expiry_rows.KIND


class Keeper(Protocol):
    """Keeps the derived rows of one kind. Holds nothing but what its definitions say."""

    def change(
        self,
        connection: apsw.Connection,
        rid_id: bytes,
        *,
        before: Entry | None,
        after: Item | None,
        is_bounded: bool,
    ) -> int:
        """Hear that an entry changes: from `before` to `after`, None where there is none.

        Args:
            connection: inside the transaction that changes the entry's own rows.
            rid_id: the entry's key.
            before: as it is stored.
            after: in wire form, without its key.
            is_bounded: whether the change may still be refused: it is a client's.
        Returns: what the entries of its partition count now, 0 if the kind does not count them.
        Raises: Refused: only if `is_bounded`, with nothing changed.
        """


class DerivedRows:
    """All that one file keeps."""

    __slots__ = ("_keepers", "expiry", "local")

    def __init__(self, keepers: Mapping[Kind, Keeper]) -> None:
        """Keep what each of `keepers` does; there is at least one."""
        self._keepers = tuple(keepers.values())
        local = keepers.get(Kind.LOCAL_INDEX)
        self.local = local if isinstance(local, LocalIndexes) else None
        """The local indexes, if there are any."""
        expiry = keepers.get(Kind.EXPIRY)
        self.expiry = expiry if isinstance(expiry, ExpiryRows) else None
        """When entries expire, if they do."""

    def change(
        self,
        connection: apsw.Connection,
        rid_id: bytes,
        *,
        before: Entry | None,
        after: Item | None,
        is_bounded: bool = False,
    ) -> int:
        """Change what is made of an entry, with the entry; see `Keeper.change`.

        Of several kinds the first to refuse comes first: none may have been changed before it.
        """
        collection_bytes = 0
        for keeper in self._keepers:
            collection_bytes += keeper.change(
                connection, rid_id, before=before, after=after, is_bounded=is_bounded
            )
        return collection_bytes


_KEEPERS: Final[Mapping[Kind, Callable[[Sequence[tuple[int, str]]], Keeper]]] = {
    # Local indexes come first: they are the only ones that may refuse.
    Kind.LOCAL_INDEX: LocalIndexes.read,
    Kind.EXPIRY: ExpiryRows.read,
}


def expiry_of(derived: DerivedRows | None) -> ExpiryState:
    """Tell by what the entries of a file expire that keeps these."""
    return NO_EXPIRY if derived is None or derived.expiry is None else derived.expiry.state


def load(connection: apsw.Connection) -> DerivedRows | None:
    """Read what a file keeps; None: nothing. Takes a few microseconds.

    Raises: ValueError: a definition is none that this version knows.
    """
    rows: list[tuple[Any, ...]] = connection.execute(_LOAD).fetchall()
    return _kept(tuple(rows)) if rows else None


def wipe_some(connection: apsw.Connection, *, rows: int) -> bool:
    """Delete at most `rows` of what was made of entries that go. Returns: whether any was there."""
    connection.execute(_WIPE, (rows,))
    if connection.changes():
        return True
    connection.execute("DELETE FROM collection")
    connection.execute("UPDATE derivation SET ENTRIES = 0, SIZE_BYTES = 0")
    return False


@lru_cache(maxsize=_KEPT_MAX)
def _kept(rows: Rows) -> DerivedRows:
    found: dict[Kind, list[tuple[int, str]]] = {}
    for number, kind, definition in rows:
        found.setdefault(Kind(kind), []).append((number, definition))
    return DerivedRows({kind: _KEEPERS[kind](found[kind]) for kind in _KEEPERS if kind in found})
