"""What an item counts in capacity and on a page; the page's bound as dynalite saw it on AWS."""

from __future__ import annotations

import msgspec
import pytest

from dstore.model.values import Item, attribute_bytes, item_bytes
from dstore.service.items import answered, whole_item
from dstore.service.page_sizes import page_bytes, page_bytes_max
from dstore.storage.entries import Entry, cells_of

PAGE_BYTES = 1 << 20


def test_item_is_whole_and_counted_as_every_operation_counts_it() -> None:
    """An entry counts and writes itself as `whole_item` does, for every type."""
    entry = Entry(
        cells_of(
            {
                "s": {"S": "é" * 100},
                "long": {"S": "x" * 20_000},
                "é": {"N": "1.50"},
                "b": {"B": "AQI="},
                "t": {"BOOL": True},
                "z": {"NULL": True},
                "ss": {"SS": ["a", "bc"]},
                "ns": {"NS": ["1.23", "12.3"]},
                "bs": {"BS": ["AQI=", "Ag=="]},
                "l": {"L": [{"N": "1E2"}, {"S": "x"}]},
                "m": {"M": {"inner": {"N": "1"}}},
            }
        ),
        "",
    )
    key = {"id": {"S": "ü"}, "sk": {"N": "12"}}
    item = whole_item(entry, key)
    assert msgspec.json.decode(answered(entry, key)) == item
    assert entry.item_bytes + item_bytes(key) == item_bytes(item)
    assert msgspec.json.decode(answered(Entry({}, ""), key)) == key
    assert key == {"id": {"S": "ü"}, "sk": {"N": "12"}}


@pytest.mark.parametrize(("last_chars", "is_full"), [(43_412 - 46, False), (43_412 - 45, True)])
def test_small_attributes_fill_a_page_of_a_hash_table_to_the_byte(
    last_chars: int, *, is_full: bool
) -> None:
    """dynalite, test/scan.js: "just under limit with small attribute", "just over limit"."""
    each = page_bytes({"a": {"S": "00"}, "b": {"S": "b" * 43_411}}, None)
    last: Item = {
        "a": {"S": "23"},
        "b": {"S": "b" * last_chars},
        "c": {"N": "12.3456"},
        "d": {"B": "AQI="},
        "e": {"SS": ["a", "bc"]},
        "f": {"NS": ["1.23", "12.3"]},
        "g": {"BS": ["AQI=", "Ag==", "AQ=="]},
    }
    size = 23 * each + page_bytes(last, None)
    assert (size >= PAGE_BYTES) is is_full


@pytest.mark.parametrize(("last_chars", "is_full"), [(43_387, False), (43_388, True)])
def test_sort_key_counts_with_every_block_of_an_item(last_chars: int, *, is_full: bool) -> None:
    """dynalite, test/query.js: "all if just under limit", "one less than all if just over"."""
    key = {"a": {"S": "AAAAA12345"}, "b": {"S": "00"}}  # the suite's random strings have 10 chars
    each = page_bytes(key | {"e": {"S": "e" * 43_372}}, "b")
    size = 23 * each + page_bytes(key | {"e": {"S": "e" * last_chars}}, "b")
    assert (size >= PAGE_BYTES) is is_full


def test_null_counts_in_its_type_alone() -> None:
    """A null adds its name's byte and nothing else to a page."""
    key = {"id": {"S": "a"}}
    assert page_bytes(key | {"n": {"NULL": True}}, None) == page_bytes(key, None) + 1
    assert attribute_bytes({"NULL": True}) == 1


@pytest.mark.parametrize(
    "item",
    [
        {"i": {"S": "x"}},
        {"i": {"N": "0"}, "s": {"S": "x" * 1_024}, "b": {"S": "y" * 400_000}},
        {"i": {"S": "x"}, "s": {"SS": [""]}},
        {"i": {"S": "x"}, "s": {"SS": ["", *map(str, range(9))]}},
        {"i": {"S": "x"}} | {chr(48 + at): {"S": ""} for at in range(70)},
        {"i": {"S": "x"}} | {chr(48 + at): {"SS": [""]} for at in range(70)},
        {"i": {"S": "x"}, "l": {"L": []}, "m": {"M": {}}, "n": {"NULL": True}},
    ],
)
def test_no_item_has_more_bytes_than_the_bound_says(item: Item) -> None:
    """Below the bound nothing is counted exactly, so it must hold for the worst of items."""
    for sort_name in (None, *item):
        assert page_bytes(item, sort_name) <= page_bytes_max(item_bytes(item), 1)
