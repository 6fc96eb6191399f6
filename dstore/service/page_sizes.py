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
_TWO_BYTE_LENGTH: Final = 128  # a shorter string has one byte of length before it
_THREE_BYTE_LENGTH: Final = 16_384  # a shorter one two, this and a longer one three
_SETS: Final = frozenset({"SS", "NS", "BS"})
_LENGTH_BYTES: Final = {"N": 1, "B": 1, "NULL": -1}  # a null is kept in its type alone


def page_bytes(item: Item, sort_name: str | None) -> int:
    """Count a whole item towards the end of a page.

    Args:
        item: in wire form.
        sort_name: the name of the table's sort key; None if it has none.
    """
    kept_bytes = sort_bytes = 0
    for name, attribute in item.items():
        [(tag, value)] = attribute.items()
        value_bytes = attribute_bytes(attribute)
        if name == sort_name:
            sort_bytes = value_bytes
            continue
        kept_bytes += _NAME_BYTES + value_bytes
        if tag == "S":
            length_bytes = 3 if value_bytes >= _THREE_BYTE_LENGTH else 2
            kept_bytes += length_bytes if value_bytes >= _TWO_BYTE_LENGTH else 1
        elif tag in _SETS:
            kept_bytes += len(value) + 1
        else:
            kept_bytes += _LENGTH_BYTES.get(tag, 0)
    blocks = 1 + (1 + kept_bytes) // _BLOCK_BYTES
    return _ITEM_BYTES + kept_bytes + blocks * (_BLOCK_OVERHEAD_BYTES + sort_bytes)


def page_bytes_max(counted_bytes: int, items: int) -> int:
    """Give what the `page_bytes` of so many items cannot exceed, without looking at them.

    Args:
        counted_bytes: the sum of their `values.item_bytes`, which is c for each.
        items: how many they are.
    """
    # Of c bytes there are at most c attributes, so names and lengths take 4c; the elements of sets
    # take c more at most, but for one empty one: 6c + 4. Of that there is a block of at most
    # 18 + 1,024 bytes to each 3,072, and one more of 18 + c: 8.1c + c + 25, rounded up.
    return 10 * counted_bytes + 32 * items
