"""JSON merge patch on items in wire form (RFC 7396)."""

from typing import Any

import pytest

from dstore.model.values import Item, NumberText, item_from_plain
from dstore.service.merge_patch import merged, patch_of


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        # RFC 7396, appendix A, where both are objects.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [True]}, {"a": [True]}),
        ({"e": None}, {"a": NumberText("1")}, {"e": None, "a": NumberText("1")}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_examples_of_the_rfc(
    target: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The published examples decide what a merge is."""
    item = item_from_plain(target)
    before = item_from_plain(target)
    assert merged(item, patch_of(patch)) == item_from_plain(expected)
    assert item == before, "a pure function changes no argument"


def test_types_of_attributes_not_named_stay() -> None:
    """Plain JSON cannot say binary or set; a merge elsewhere must not turn them into text."""
    item: Item = {
        "set": {"SS": ["a", "b"]},
        "map": {"M": {"bytes": {"B": "AAE="}, "gone": {"S": "x"}}},
    }
    patched = merged(item, patch_of({"new": NumberText("1.50"), "map": {"gone": None}}))
    assert patched == {
        "set": {"SS": ["a", "b"]},
        "map": {"M": {"bytes": {"B": "AAE="}}},
        "new": {"N": "1.50"},
    }
