"""What a local index shows of the items that it has, and what is fetched from the table for it.

The rows of the index lie beside the items (`storage.local_indexes`), so nothing has to be fetched
in truth. But an answer shows, and a filter sees, only what the index holds; and it is charged as in
AWS: the index by what it holds of the items, and each item that is fetched by itself, whole. A page
of which items are fetched ends by the sum of both. Sources: DynamoDB developer guide, "Local
secondary indexes", "Read capacity units"; dynalite's older test/query.js, "should return all
attributes when specified for secondary indexes", which was recorded from AWS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.limits import KIB
from dstore.model.errors import Corrupt
from dstore.model.index_rows import parse_key
from dstore.model.plain_numbers import plain_attribute
from dstore.model.values import item_bytes
from dstore.service.items import whole_item

if TYPE_CHECKING:
    from dstore.model.index_rows import IndexShape
    from dstore.model.values import Item
    from dstore.storage.entries import Entry, EntryKey
    from dstore.storage.range_file import RangeFile

_UNIT_BYTES: Final = 4 * KIB  # of AWS's read units


class IndexView:
    """A local index while a page of it is made."""

    __slots__ = ("_held", "_is_fetching", "_shape", "entry_bytes", "fetched_units", "number")

    def __init__(self, file: RangeFile, name: str, *, is_fetching: bool) -> None:
        """Find the index in a file. Raises: Corrupt: the file does not keep it."""
        local = None if file.derived is None else file.derived.local
        number = None if local is None else local.number_of(name)
        if local is None or number is None:
            raise Corrupt("The file keeps no such index.", file=file.path.name, where="derivation")
        self.number = number
        self._shape: IndexShape = local.shape_of(number)
        self._held = self._shape.held
        self._is_fetching = is_fetching and self._held is not None
        self.entry_bytes = 0  # of the entries counted so far, as the index holds them
        self.fetched_units = 0

    @property
    def is_whole(self) -> bool:
        """Whether items are shown whole: since the index holds all of them, or by fetching."""
        return self._held is None or self._is_fetching

    def rid_id(self, place: bytes) -> bytes:
        """Find the key of the entry in the key of its row. Raises: Corrupt: that is none."""
        return parse_key(self._shape, place).rid_id

    def count(self, entry: Entry, key: EntryKey) -> int:
        """Count one more entry. Returns: the bytes that the index holds of it."""
        whole_bytes = held_bytes = key.size_bytes + entry.item_bytes
        if self._held is not None:
            held_bytes = item_bytes(self._held_of(entry, key.item))
        self.entry_bytes += held_bytes
        if self._is_fetching:
            self.fetched_units += max(1, -(-whole_bytes // _UNIT_BYTES))
        return held_bytes

    def fetched_bytes(self) -> int | None:
        """Count the page so far as AWS does where it fetches; None: nothing is fetched."""
        if not self._is_fetching:
            return None
        return (-(-self.entry_bytes // _UNIT_BYTES) + self.fetched_units) * _UNIT_BYTES

    def item(self, entry: Entry, key: Item) -> Item:
        """Give of an entry, in wire form, what filters, projections and answers see."""
        return whole_item(entry, key) if self.is_whole else self._held_of(entry, key)

    def _held_of(self, entry: Entry, key: Item) -> Item:
        held = self._held
        assert held is not None, "an index that holds everything needs no copy of it"
        item = key.copy()
        for name, cell in entry.cells.items():
            if name in held:
                item[name] = plain_attribute(cell)
        return item
