"""What an evaluated item counts: in capacity, and towards the megabyte that ends a page.

The two differ. Capacity counts an item as every other operation does (`values.item_bytes`). The
page's bound counts it as AWS keeps it: names replaced by a byte, values with their length before
them, and 18 bytes and the sort key for each 3 KiB begun. AWS documents the former only; the latter
is what dynalite's authors found by trying the service, with pages that end at one byte more and
don't at one less (dynalite, test/scan.js and test/query.js, "just under limit").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.model.values import attribute_bytes

if TYPE_CHECKING:
    from dstore.model.values import Item

_NAME_BYTES: Final = 1
_ITEM_BYTES: Final = 2
_BLOCK_BYTES: Final = 3_072
_BLOCK_OVERHEAD_BYTES: Final = 18
_ONE_BYTE_LENGTH: Final = 128  # a shorter string has one byte of length before it
_TWO_BYTE_LENGTH: Final = 16_384  # a shorter one two, and a longer one three
_SETS: Final = frozenset({"SS", "NS", "BS"})
_LENGTH_BYTES: Final = {"N": 1, "B": 1, "NULL": -1}  # a null is kept in its type alone


def evaluated_bytes(item: Item, sort_name: str | None) -> tuple[int, int]:
    """Count an item with its keys.

    Args:
        item: in wire form.
        sort_name: the table's sort key; None if it has none.
    Returns: its bytes in capacity, and its bytes on a page.
    Cost: 0.4 us an attribute.
    """
    item_bytes = kept_bytes = sort_bytes = 0
    for name, attribute in item.items():
        [(tag, value)] = attribute.items()
        if tag == "S":
            value_bytes = len(value) if value.isascii() else len(value.encode())
            if value_bytes < _ONE_BYTE_LENGTH:
                length_bytes = 1
            else:
                length_bytes = 2 if value_bytes < _TWO_BYTE_LENGTH else 3
        else:
            value_bytes = attribute_bytes(attribute)
            length_bytes = len(value) + 1 if tag in _SETS else _LENGTH_BYTES.get(tag, 0)
        item_bytes += value_bytes + (len(name) if name.isascii() else len(name.encode()))
        if name == sort_name:
            sort_bytes = value_bytes
        else:
            kept_bytes += value_bytes + length_bytes + _NAME_BYTES
    blocks = 1 + (1 + kept_bytes) // _BLOCK_BYTES
    return item_bytes, _ITEM_BYTES + kept_bytes + blocks * (_BLOCK_OVERHEAD_BYTES + sort_bytes)
