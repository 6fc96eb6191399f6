"""What an item counts in capacity and on a page; the page's bound as dynalite saw it on AWS."""

from __future__ import annotations

import pytest

from dstore.model.values import Item, attribute_bytes, item_bytes
from dstore.service.items import whole_item
from dstore.service.page_sizes import evaluated
from dstore.storage.entries import Entry, cells_of

PAGE_BYTES = 1 << 20


def page_bytes(item: Item, *, key: Item, sort_name: str | None) -> int:
    """Count an item towards the end of a page."""
    return evaluated(Entry(cells_of(item), ""), key, sort_name)[2]


def test_item_is_whole_and_counted_as_every_operation_counts_it() -> None:
    """One pass does what `whole_item` and `item_bytes` do, for every type."""
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
    item, counted, _ = evaluated(entry, key, "sk")
    assert item == whole_item(entry, key)
    assert counted == item_bytes(item)
    assert key == {"id": {"S": "ü"}, "sk": {"N": "12"}}


@pytest.mark.parametrize(("last_chars", "is_full"), [(43_412 - 46, False), (43_412 - 45, True)])
def test_small_attributes_fill_a_page_of_a_hash_table_to_the_byte(
    last_chars: int, *, is_full: bool
) -> None:
    """dynalite, test/scan.js: "just under limit with small attribute", "just over limit"."""
    each = page_bytes({"b": {"S": "b" * 43_411}}, key={"a": {"S": "00"}}, sort_name=None)
    last: Item = {
        "b": {"S": "b" * last_chars},
        "c": {"N": "12.3456"},
        "d": {"B": "AQI="},
        "e": {"SS": ["a", "bc"]},
        "f": {"NS": ["1.23", "12.3"]},
        "g": {"BS": ["AQI=", "Ag==", "AQ=="]},
    }
    size = 23 * each + page_bytes(last, key={"a": {"S": "23"}}, sort_name=None)
    assert (size >= PAGE_BYTES) is is_full


@pytest.mark.parametrize(("last_chars", "is_full"), [(43_387, False), (43_388, True)])
def test_sort_key_counts_with_every_block_of_an_item(last_chars: int, *, is_full: bool) -> None:
    """dynalite, test/query.js: "all if just under limit", "one less than all if just over"."""
    key = {"a": {"S": "AAAAA12345"}, "b": {"S": "00"}}  # the suite's random strings have 10 chars
    each = page_bytes({"e": {"S": "e" * 43_372}}, key=key, sort_name="b")
    size = 23 * each + page_bytes({"e": {"S": "e" * last_chars}}, key=key, sort_name="b")
    assert (size >= PAGE_BYTES) is is_full


def test_null_counts_in_its_type_alone() -> None:
    """A null adds its name's byte and nothing else to a page."""
    key = {"id": {"S": "a"}}
    without = page_bytes({}, key=key, sort_name=None)
    assert page_bytes({"n": {"NULL": True}}, key=key, sort_name=None) == without + 1
    assert attribute_bytes({"NULL": True}) == 1
