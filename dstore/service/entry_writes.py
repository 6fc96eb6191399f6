"""The four writes of v1, each a value that decides from the entry before, purely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dstore.base.limits import ITEM_BYTES_MAX
from dstore.model.errors import ConditionFailed, RefusalKind, Refused
from dstore.model.refusal_texts import ENTRY_EXISTS, NO_SUCH_ENTRY
from dstore.model.tables import index_keys
from dstore.model.values import Item, item_bytes
from dstore.service.item_writes import check_index_keys
from dstore.service.merge_patch import Patch, merged, patch_of
from dstore.service.preconditions import NO_PRECONDITIONS, Preconditions, check
from dstore.storage.range_writer import Delete, Outcome, Put

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.model.keys import KeyValue
    from dstore.model.tables import IndexKey
    from dstore.service.items import EntryKey
    from dstore.storage.entries import Entry


class CreateEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Store a new entry; 409 if there is one, or 412 if the client said `If-None-Match: *`."""

    item: Item
    preconditions: Preconditions = NO_PRECONDITIONS

    def apply(self, previous: Entry | None) -> Outcome:
        """Decide from the entry before. Raises: Refused or ConditionFailed."""
        if previous is not None:
            if self.preconditions.excludes_any:
                raise ConditionFailed("The entry exists, and If-None-Match: * excludes that.")
            raise Refused(RefusalKind.CONFLICT, ENTRY_EXISTS)
        check(self.preconditions, None)
        return Put(self.item)

    __call__ = apply


class ReplaceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Put a whole item in the place of an existing one; 404 if there is none."""

    item: Item
    preconditions: Preconditions = NO_PRECONDITIONS

    def apply(self, previous: Entry | None) -> Outcome:
        """Decide from the entry before. Raises: Refused or ConditionFailed."""
        check(self.preconditions, _existing(previous).version)
        return Put(self.item)

    __call__ = apply


class MergeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Merge a patch into an existing entry; 404 if there is none.

    The result is held to ITEM_BYTES_MAX, of which `key_bytes` are the key's, and in what the patch
    names to `index_keys` (`model.tables.index_keys`).
    """

    patch: Patch
    preconditions: Preconditions = NO_PRECONDITIONS
    key_bytes: int
    index_keys: Sequence[IndexKey] = ()

    def apply(self, previous: Entry | None) -> Outcome:
        """Decide from the entry before.

        Raises: Refused: no entry, or the result does not fit. ConditionFailed.
        """
        entry = _existing(previous)
        check(self.preconditions, entry.version)
        item = merged(entry.item, self.patch)
        _check_size(item, self.key_bytes)
        check_index_keys(item, self.patch.keys() & item.keys(), self.index_keys)
        return Put(item)

    __call__ = apply


class DeleteEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Remove an existing entry; 404 if there is none."""

    preconditions: Preconditions = NO_PRECONDITIONS

    def apply(self, previous: Entry | None) -> Outcome:
        """Decide from the entry before. Raises: Refused or ConditionFailed."""
        check(self.preconditions, _existing(previous).version)
        return Delete()

    __call__ = apply


def create(item: Item, *, key: EntryKey, preconditions: Preconditions) -> CreateEntry:
    """Make the write of a new entry.

    Raises: Refused: the entry is too large, or does not fit the table's indexes.
    """
    _check_whole(item, key)
    return CreateEntry(item=item, preconditions=preconditions)


def replace(item: Item, *, key: EntryKey, preconditions: Preconditions) -> ReplaceEntry:
    """Make the write of a whole item over an existing one. Raises: Refused: as `create`."""
    _check_whole(item, key)
    return ReplaceEntry(item=item, preconditions=preconditions)


def merge(patch: dict[str, Any], *, key: EntryKey, preconditions: Preconditions) -> MergeEntry:
    """Make a merge of plain JSON. Raises: Refused: as `merge_patch.patch_of`."""
    return MergeEntry(
        patch=patch_of(patch),
        preconditions=preconditions,
        key_bytes=key_value_bytes(key.key[1]),
        index_keys=index_keys(key.table.definition),
    )


def delete(*, preconditions: Preconditions) -> DeleteEntry:
    """Make the removal of an existing entry."""
    return DeleteEntry(preconditions=preconditions)


def key_value_bytes(value: KeyValue) -> int:
    """Count what an entry's key adds to its size, in bytes."""
    return len(value) if isinstance(value, bytes) else len(value.encode())


def _check_whole(item: Item, key: EntryKey) -> None:
    """Refuse an item that is too large, or that does not fit the indexes."""
    _check_size(item, key_value_bytes(key.key[1]))
    check_index_keys(item, item, index_keys(key.table.definition))


def _check_size(item: Item, key_bytes: int) -> None:
    """Refuse an item of more than 400 KB, its key included, as DynamoDB counts."""
    size_bytes = item_bytes(item) + key_bytes
    if size_bytes > ITEM_BYTES_MAX:
        raise Refused(
            RefusalKind.TOO_LARGE,
            f"The entry has {size_bytes} bytes of names and values; {ITEM_BYTES_MAX} fit. "
            "Split it, or store large parts elsewhere.",
        )


def _existing(previous: Entry | None) -> Entry:
    if previous is None:
        raise Refused(RefusalKind.NOT_FOUND, NO_SUCH_ENTRY)
    return previous
