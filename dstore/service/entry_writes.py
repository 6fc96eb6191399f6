"""The four writes of v1, each a pure function of the entry before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dstore.base.limits import ITEM_BYTES_MAX
from dstore.model.errors import ConditionFailed, RefusalKind, Refused
from dstore.model.tables import index_keys
from dstore.model.values import Item, item_bytes
from dstore.service.item_writes import check_index_keys
from dstore.service.merge_patch import merged
from dstore.service.preconditions import Preconditions, check
from dstore.storage.range_writer import Apply, Delete, Outcome, Put

if TYPE_CHECKING:
    from collections.abc import Container

    from dstore.service.items import EntryKey
    from dstore.storage.entries import Entry


def create(item: Item, *, key: EntryKey, preconditions: Preconditions) -> Apply:
    """Store a new entry; 409 if there is one, or 412 if the client said `If-None-Match: *`.

    Raises: Refused: the entry is too large, or does not fit the table's indexes.
    """
    _check_fit(item, item, key)

    def apply(previous: Entry | None) -> Outcome:
        if previous is not None:
            if preconditions.excludes_any:
                raise ConditionFailed("The entry exists, and If-None-Match: * excludes that.")
            raise Refused(
                RefusalKind.CONFLICT, "The entry exists; replace it with POST, or delete it first."
            )
        check(preconditions, previous)
        return Put(item)

    return apply


def replace(item: Item, *, key: EntryKey, preconditions: Preconditions) -> Apply:
    """Put a whole item in the place of an existing one; 404 if there is none.

    Raises: Refused: as `create`.
    """
    _check_fit(item, item, key)

    def apply(previous: Entry | None) -> Outcome:
        _existing(previous)
        check(preconditions, previous)
        return Put(item)

    return apply


def merge(patch: dict[str, Any], *, key: EntryKey, preconditions: Preconditions) -> Apply:
    """Merge a patch into an existing entry; 404 if there is none.

    Returns: what raises Refused as `create` does, of indexes' keys only for what the patch names.
    """

    def apply(previous: Entry | None) -> Outcome:
        entry = _existing(previous)
        check(preconditions, previous)
        item = merged(entry.item, patch)
        _check_fit(item, patch.keys() & item.keys(), key)
        return Put(item)

    return apply


def delete(*, preconditions: Preconditions) -> Apply:
    """Remove an existing entry; 404 if there is none."""

    def apply(previous: Entry | None) -> Outcome:
        _existing(previous)
        check(preconditions, previous)
        return Delete()

    return apply


def _check_fit(item: Item, changed: Container[str], key: EntryKey) -> None:
    """Refuse an item that is too large, or whose `changed` attributes do not fit the indexes."""
    _check_size(item, key)
    check_index_keys(item, changed, index_keys(key.table.definition))


def _check_size(item: Item, key: EntryKey) -> None:
    """Refuse an item of more than 400 KB, its key included, as DynamoDB counts."""
    value = key.key[1]
    key_bytes = len(value) if isinstance(value, bytes) else len(value.encode())
    size_bytes = item_bytes(item) + key_bytes
    if size_bytes > ITEM_BYTES_MAX:
        raise Refused(
            RefusalKind.TOO_LARGE,
            f"The entry has {size_bytes} bytes of names and values; {ITEM_BYTES_MAX} fit. "
            "Split it, or store large parts elsewhere.",
        )


def _existing(previous: Entry | None) -> Entry:
    if previous is None:
        raise Refused(RefusalKind.NOT_FOUND, "There is no such entry; create it with PUT.")
    return previous
