"""When the entries of a range file expire: rows beside them, in the order of their time.

Each file says for itself by which attribute (a row of `derivation`); its node makes that what the
table's settings say, a piece at a time beside the writes. Invariants, at the end of each
transaction:
- Each row is what its entry says.
- Every entry up to `built_to` that expires has its row, and so has every one that was written since
  the rule was set; a `built_to` of None: every one has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from dstore.base.expiry_limits import EXPIRY_AGE_S_MAX, EXPIRY_BUILT_ROWS, EXPIRY_DROPPED_ROWS
from dstore.model.expiry import ExpiryRule, expires_at_s
from dstore.model.values import TypedText
from dstore.storage.entries import HEAD
from dstore.storage.failures import translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from dstore.model.values import Item
    from dstore.storage.entries import Cells, Entry

KIND: Final = "expiry"  # derived_rows.Kind
EXPIRY_ID: Final = 1_000  # of `derivation`: far behind the local indexes'
_AT_BYTES: Final = 8  # of KEY: the time, big endian; behind it stands RID_ID
_NUMBERS: Final = frozenset({"Integer", "Number"})  # of C_DATA_TYPE

_READ: Final = "SELECT DEFINITION FROM derivation WHERE ID = ?"
_DEFINE: Final = "INSERT OR REPLACE INTO derivation (ID, KIND, DEFINITION) VALUES (?, ?, ?)"
_INSERT: Final = (
    "INSERT INTO derived (DERIVATION, KEY, RID_ID) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
)
_DELETE: Final = "DELETE FROM derived WHERE DERIVATION = ? AND KEY = ?"
_DROP_SOME: Final = (
    "DELETE FROM derived WHERE DERIVATION = ?1 AND KEY IN "
    "(SELECT KEY FROM derived WHERE DERIVATION = ?1 LIMIT ?2)"
)
_DUE: Final = (
    "SELECT KEY, RID_ID FROM derived WHERE DERIVATION = ? AND KEY >= ? AND KEY < ? "
    "ORDER BY KEY LIMIT ?"
)
_NEXT: Final = "SELECT min(KEY) FROM derived WHERE DERIVATION = ? AND KEY >= ?"
# Of a row that is not wanted its key alone is read, however large its data is.
_ENTRIES: Final = (
    "SELECT RID_ID, C_COL, CASE C_COL WHEN ?2 THEN C_DATA_TYPE END, "
    "CASE C_COL WHEN ?2 THEN C_DATA END FROM v1 WHERE RID_ID > ?1 ORDER BY RID_ID, C_COL"
)
_HAS_ENTRIES: Final = "SELECT 1 FROM v1 LIMIT 1"
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class ExpiryState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a file's rows follow from, as it is stored.

    `built_to` is None if every entry has its row. `is_dropping`: there is no rule any more, and
    rows may be left of the last one.
    """

    rule: ExpiryRule | None = None
    built_to: bytes | None = None
    is_dropping: bool = False


NO_EXPIRY: Final = ExpiryState()
_decode: Final = msgspec.json.Decoder(ExpiryState).decode


class ExpiryRows:
    """The rows of one file, a `derived_rows.Keeper`."""

    __slots__ = ("state",)

    def __init__(self, state: ExpiryState) -> None:
        """Keep what follows from this."""
        self.state = state

    @classmethod
    def read(cls, stored: Sequence[tuple[int, str]]) -> Self:
        """Make them of their stored definition. Raises: ValueError: it is none."""
        try:
            return cls(_decode(stored[0][1]))
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None

    def change(
        self,
        connection: apsw.Connection,
        rid_id: bytes,
        *,
        before: Entry | None,
        after: Item | None,
        is_bounded: bool,  # noqa: ARG002 - nothing is refused
    ) -> int:
        """Follow an entry that is written or deleted; see `derived_rows.Keeper`."""
        state = self.state
        rule = state.rule
        if rule is None:
            return 0
        was = None if before is None else _at_of_cells(rule, rid_id, before.cells)
        now = None if after is None else _at_of_item(rule, rid_id, after)
        if was == now:
            # Before all are built an entry that is written again the same may lack its row.
            if now is None or state.built_to is None:
                return 0
        elif was is not None:
            connection.execute(_DELETE, (EXPIRY_ID, _key(was, rid_id)))
        if now is not None:
            connection.execute(_INSERT, (EXPIRY_ID, _key(now, rid_id), rid_id))
        return 0

    def at_s(self, rid_id: bytes, entry: Entry) -> int | None:
        """Tell when an entry expires, in seconds since 1970."""
        rule = self.state.rule
        return None if rule is None else _at_of_cells(rule, rid_id, entry.cells)


def at_of_entry(rule: ExpiryRule, rid_id: bytes, entry: Entry) -> int | None:
    """Tell when an entry expires by a rule, in seconds since 1970; None: never."""
    return _at_of_cells(rule, rid_id, entry.cells)


def advance(connection: apsw.Connection, wanted: ExpiryRule | None) -> bool:
    """Do a piece of what makes the rows follow from a rule: drop others, build these.

    Returns: whether there is more to do.
    Raises: Corrupt, Unavailable: nothing was changed.
    """
    with translated(connection.filename):
        return _advance(connection, wanted)


def due(connection: apsw.Connection, *, now_s: int, limit: int) -> Sequence[tuple[int, bytes]]:
    """List when entries expired that are to be removed, and their keys, the oldest first."""
    bounds = (_key(_first_s(now_s)), _key(now_s + 1))
    with translated(connection.filename):
        rows: list[tuple[Any, ...]] = connection.execute(
            _DUE, (EXPIRY_ID, *bounds, limit)
        ).fetchall()
    return [(_at_in(key), rid_id) for key, rid_id in rows]


def next_s(connection: apsw.Connection, *, now_s: int) -> int | None:
    """Tell when the next entry expires, or has expired, in seconds since 1970; None: none does."""
    with translated(connection.filename):
        rows: list[tuple[Any, ...]] = connection.execute(
            _NEXT, (EXPIRY_ID, _key(_first_s(now_s)))
        ).fetchall()
    found: bytes | None = rows[0][0]
    return None if found is None else _at_in(found)


def _advance(connection: apsw.Connection, wanted: ExpiryRule | None) -> bool:
    state = _read(connection)
    if state.rule == wanted and not state.is_dropping:
        return state.built_to is not None and _build_some(connection, state)
    if not state.is_dropping:
        if state.rule is None:
            return _begin(connection, wanted)
        _define(connection, ExpiryState(is_dropping=True))  # from here on nobody writes rows
    connection.execute(_DROP_SOME, (EXPIRY_ID, EXPIRY_DROPPED_ROWS))
    if connection.changes() == EXPIRY_DROPPED_ROWS:
        return True
    connection.execute("DELETE FROM derivation WHERE ID = ?", (EXPIRY_ID,))
    return wanted is not None and _begin(connection, wanted)


def _begin(connection: apsw.Connection, wanted: ExpiryRule | None) -> bool:
    has_entries = bool(connection.execute(_HAS_ENTRIES).fetchall())
    _define(connection, ExpiryState(rule=wanted, built_to=b"" if has_entries else None))
    return has_entries


def _build_some(connection: apsw.Connection, state: ExpiryState) -> bool:
    """Give some more entries their rows. Returns: whether there are more."""
    rule, found = state.rule, list[tuple[int, bytes, bytes]]()
    assert rule is not None
    reached = current = state.built_to or b""
    is_over, number = True, None
    rows = connection.execute(_ENTRIES, (reached, rule.attribute))
    for seen, (rid_id, name, data_type, data) in enumerate(rows):
        if name == HEAD:
            if current != reached:
                found += _row(rule, current, number)
                reached = current
            if seen >= EXPIRY_BUILT_ROWS:
                is_over = False
                rows.close()
                break
            current, number = rid_id, None
        elif data_type in _NUMBERS:
            number = data
    if is_over and current != reached:
        found += _row(rule, current, number)
    connection.executemany(_INSERT, found)
    built_to = None if is_over else reached
    _define(connection, msgspec.structs.replace(state, built_to=built_to))
    return not is_over


def _row(rule: ExpiryRule, rid_id: bytes, number: str | None) -> list[tuple[int, bytes, bytes]]:
    """Make the row of an entry, if it has one."""
    at_s = expires_at_s(rule, rid_id, number)
    return [] if at_s is None else [(EXPIRY_ID, _key(at_s, rid_id), rid_id)]


def _read(connection: apsw.Connection) -> ExpiryState:
    rows: list[tuple[Any, ...]] = connection.execute(_READ, (EXPIRY_ID,)).fetchall()
    return _decode(rows[0][0]) if rows else NO_EXPIRY


def _define(connection: apsw.Connection, state: ExpiryState) -> None:
    connection.execute(_DEFINE, (EXPIRY_ID, KIND, _encode(state).decode()))


def _at_of_cells(rule: ExpiryRule, rid_id: bytes, cells: Cells) -> int | None:
    cell = cells.get(rule.attribute)
    if isinstance(cell, TypedText) and cell.data_type in _NUMBERS:
        return expires_at_s(rule, rid_id, cell.data)
    return expires_at_s(rule, rid_id, None)


def _at_of_item(rule: ExpiryRule, rid_id: bytes, item: Item) -> int | None:
    attribute = item.get(rule.attribute)
    return expires_at_s(rule, rid_id, None if attribute is None else attribute.get("N"))


def _first_s(now_s: int) -> int:
    """Give the first time that is not too long ago."""
    return max(0, now_s - EXPIRY_AGE_S_MAX + 1)


def _key(at_s: int, rid_id: bytes = b"") -> bytes:
    return at_s.to_bytes(_AT_BYTES, "big") + rid_id


def _at_in(key: bytes) -> int:
    return int.from_bytes(key[:_AT_BYTES], "big")
