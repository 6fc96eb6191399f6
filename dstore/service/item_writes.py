"""DynamoDB's writes of one item, each a value that decides from the entry before, purely.

An item comes in whole and leaves for its rows without its key (ADR 0004). Conditions see numbers
plainly spelled; what an update does not touch keeps its spelling, for v1 to read.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import (
    ITEM_BYTES_MAX,
    NESTING_DEPTH_MAX,
    PARTITION_KEY_BYTES_MAX,
    SORT_KEY_BYTES_MAX,
)
from dstore.expressions.ast import SectionKind
from dstore.model.errors import ConditionFailed, RefusalKind, Refused, excerpt
from dstore.model.keys import KeyKind
from dstore.model.plain_numbers import plain_attribute
from dstore.model.tables import IndexKey, index_keys
from dstore.model.values import Attribute, Item, attribute_bytes, item_bytes
from dstore.service.items import ItemKey, whole_item
from dstore.storage.range_writer import Delete, Outcome, Put

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from dstore.expressions import Condition, Update
    from dstore.storage.entries import Entry

_REMOVING: Final = frozenset({SectionKind.REMOVE, SectionKind.DELETE})
_DELETE: Final = Delete()


class Misfit(StrEnum):
    """What can be wrong with an item that an update has made."""

    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    INDEX_KEY_TYPE = "index_key_type"
    INDEX_KEY_EMPTY = "index_key_empty"
    INDEX_KEY_TOO_LONG = "index_key_too_long"


class ItemMisfit(Refused):
    """A write would make an item that cannot be stored; nothing was written."""

    def __init__(self, misfit: Misfit, *, key: IndexKey | None = None) -> None:
        """Say what it is, and of which index's key; DynamoDB's wire has its own sentences."""
        too_large = misfit is Misfit.TOO_LARGE
        super().__init__(
            RefusalKind.TOO_LARGE if too_large else RefusalKind.INVALID,
            f"The write would make an item that cannot be stored: {misfit}."
            if key is None
            else f"{excerpt(key.attribute)} is a key of the index {key.index}: "
            f"{_wanted(misfit, key)}",
        )
        self.misfit = misfit
        self.key = key


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold of the item as it is.

    `shows_item` lets the refusal carry the item, for clients that ask for it.
    """

    condition: Condition
    shows_item: bool = False

    def check(self, previous: Entry | None, key: Item) -> None:
        """Refuse an entry, or None if there is none.

        Args:
            previous: as it is stored.
            key: its key, in wire form and plainly spelled.
        Raises: ConditionFailed.
        """
        condition = self.condition
        item = None if previous is None else _seen(previous, key, condition.looks.heads)
        if not condition.holds(item):
            raise ConditionFailed(previous=_whole(previous, key) if self.shows_item else None)


class PutItem(msgspec.Struct, frozen=True, kw_only=True):
    """Store an item in place of whatever is there.

    `item` has no key attributes; they are `key`, in wire form and plainly spelled, here as below.
    """

    item: Item
    key: Item
    guard: Guard | None = None

    def apply(self, previous: Entry | None) -> Outcome:
        """Decide from the entry before. Raises: ConditionFailed: `guard` does not hold."""
        if self.guard is not None:
            self.guard.check(previous, self.key)
        return Put(self.item)

    __call__ = apply


class DeleteItem(msgspec.Struct, frozen=True, kw_only=True):
    """Remove the item, if there is one."""

    key: Item
    guard: Guard | None = None

    def apply(self, previous: Entry | None) -> Outcome:
        """Decide from the entry before. Raises: ConditionFailed: `guard` does not hold."""
        if self.guard is not None:
            self.guard.check(previous, self.key)
        return _DELETE

    __call__ = apply


class UpdateItem(msgspec.Struct, frozen=True, kw_only=True):
    """Update the item; one that is not there begins with its key alone.

    An update that only removes leaves an item that is not there as it is; one that says nothing
    (`change` is None) makes it. (Found out on AWS: https://github.com/scylladb/scylladb/issues/5862.)
    `index_keys` are what the new item must fit (`model.tables.index_keys`).
    """

    change: Update | None
    key: Item
    index_keys: Sequence[IndexKey] = ()
    guard: Guard | None = None

    def apply(self, previous: Entry | None) -> Outcome:
        """Decide from the entry before.

        Raises: ConditionFailed: `guard` does not hold. ExpressionError: about what `change` meets
            in the item. ItemMisfit: the new item cannot be stored.
        """
        if self.guard is not None:
            self.guard.check(previous, self.key)
        change = self.change
        if change is None:
            return Put({} if previous is None else previous.item)
        before = None if previous is None else {**self.key, **previous.item}
        after, touched = change.apply(before, key=self.key)
        if previous is None and all(action.kind in _REMOVING for action in change.actions):
            return _DELETE
        heads = dict.fromkeys([str(path[0]) for path in touched])
        _check_fit(after, [name for name in heads if name in after], self.index_keys)
        return Put(_without_key(after, self.key), touched)

    __call__ = apply


def put(item: Item, *, key: ItemKey, guard: Guard | None) -> PutItem:
    """Make a put of an item.

    Args:
        item: whole, of a size that was checked.
        key: the item's own.
        guard: what must hold of the item that is there.
    """
    names = key.attributes
    return PutItem(item=_without_key(item, names), key=names, guard=guard)


def delete(*, key: ItemKey, guard: Guard | None) -> DeleteItem:
    """Make a delete of the item that a key names."""
    return DeleteItem(key=key.attributes, guard=guard)


def update(change: Update | None, *, key: ItemKey, guard: Guard | None) -> UpdateItem:
    """Make an update of the item that a key names; None if the request says nothing to change."""
    return UpdateItem(
        change=change,
        key=key.attributes,
        index_keys=index_keys(key.table.definition),
        guard=guard,
    )


def has_indexable_size(attribute: Attribute, key: IndexKey) -> bool:
    """Say whether a value of the right type is short enough to be an index's key."""
    return "N" in attribute or attribute_bytes(attribute) <= _bytes_max(key)


def check_index_keys(item: Item, changed: Container[str], keys: Sequence[IndexKey]) -> None:
    """Refuse an item of which an attribute cannot be the key of an index that it is.

    Args:
        item: whole, or without its own key.
        changed: the attributes that a write gives a value; others may be from before the index.
        keys: of the table's indexes, `model.tables.index_keys`.
    Raises: ItemMisfit.
    """
    for key in keys:
        if key.attribute in changed:
            _check_index_key(item[key.attribute], key)


def _check_fit(item: Item, changed: Sequence[str], keys_of_indexes: Sequence[IndexKey]) -> None:
    """Refuse an item that an update has made, by the attributes that it has changed."""
    check_index_keys(item, changed, keys_of_indexes)
    for name in changed:
        if _is_too_deep(item[name]):
            raise ItemMisfit(Misfit.TOO_DEEP)
    if item_bytes(item) > ITEM_BYTES_MAX:
        raise ItemMisfit(Misfit.TOO_LARGE)


def _check_index_key(attribute: Attribute, key: IndexKey) -> None:
    if key.kind not in attribute:
        raise ItemMisfit(Misfit.INDEX_KEY_TYPE, key=key)
    if not attribute[key.kind]:
        raise ItemMisfit(Misfit.INDEX_KEY_EMPTY, key=key)
    if not has_indexable_size(attribute, key):
        raise ItemMisfit(Misfit.INDEX_KEY_TOO_LONG, key=key)


def _bytes_max(key: IndexKey) -> int:
    return PARTITION_KEY_BYTES_MAX if key.is_partition else SORT_KEY_BYTES_MAX


def _wanted(misfit: Misfit, key: IndexKey) -> str:
    """Say what to give an index's key instead."""
    if misfit is Misfit.INDEX_KEY_EMPTY:
        return "give it a value that is not empty, or leave it out."
    if misfit is Misfit.INDEX_KEY_TOO_LONG:
        return f"give it a value of at most {_bytes_max(key)} bytes, or leave it out."
    if key.kind is KeyKind.BINARY:
        return "leave it out, or give it a binary through the DynamoDB API; JSON has none."
    return f"give it a {'number' if key.kind is KeyKind.NUMBER else 'string'}, or leave it out."


def _is_too_deep(attribute: Attribute, level: int = 1) -> bool:
    """Say whether something stands below level 32; an item's own attributes stand at 1."""
    if level > NESTING_DEPTH_MAX:
        return True
    content = attribute.get("L") or list((attribute.get("M") or {}).values())
    return any(_is_too_deep(element, level + 1) for element in content)


def _whole(previous: Entry | None, key: Item) -> Item | None:
    return None if previous is None else whole_item(previous, key)


def _seen(entry: Entry, key: Item, names: Iterable[str | int]) -> Item:
    """Give the attributes of some names, as `whole_item` spells them."""
    cells = entry.cells
    item: Item = {}
    for name in names:
        if name in key:
            item[name] = key[name]
        elif name in cells:
            item[name] = plain_attribute(cells[name])
    return item


def _without_key(item: Item, key: Item) -> Item:
    rest = item.copy()
    for name in key:
        rest.pop(name, None)
    return rest
