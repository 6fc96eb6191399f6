"""What a projection picks out of an item."""

from __future__ import annotations

import copy

import pytest

from dstore.expressions import Expressions, Projection
from dstore.model.values import Attribute, Item

INNER: Attribute = {"M": {"x": {"N": "1"}, "y": {"N": "2"}}}
ITEM: Item = {
    "pk": {"S": "p"},
    "l": {
        "L": [
            {"M": {"a": {"S": "a0"}, "b": {"S": "b0"}, "m": INNER}},
            {"S": "one"},
            {"M": {"c": {"S": "c2"}}},
        ]
    },
    "nest": {"L": [{"L": [{"S": "00"}, {"S": "01"}]}, {"L": [{"S": "10"}]}]},
    "m": {"M": {"x": {"N": "1"}, "[0]": {"S": "odd"}, "a.b": {"S": "dotted"}, "e": {"M": {}}}},
    "s": {"SS": ["x"]},
}


# Semantics: floci-io/floci, ProjectionEvaluatorTest and paritysuite (AWS's answers); scylladb,
# test/alternator/test_projection_expression.py.
@pytest.mark.parametrize(
    ("text", "picked"),
    [
        ("pk", {"pk": {"S": "p"}}),
        ("pk, s", {"pk": {"S": "p"}, "s": {"SS": ["x"]}}),
        ("gone", {}),
        ("gone.a, gone2[0], pk.a, s[0]", {}),
        ("m.x", {"m": {"M": {"x": {"N": "1"}}}}),
        ("m.gone", {}),
        ("m.gone, m.x", {"m": {"M": {"x": {"N": "1"}}}}),
        ("m.e", {"m": {"M": {"e": {"M": {}}}}}),
        ("m[0]", {}),
        ("m.#zero", {"m": {"M": {"[0]": {"S": "odd"}}}}),
        ("m.#dot", {"m": {"M": {"a.b": {"S": "dotted"}}}}),
        ("l[1]", {"l": {"L": [{"S": "one"}]}}),
        ("l[2], l[1]", {"l": {"L": [{"S": "one"}, {"M": {"c": {"S": "c2"}}}]}}),
        ("l[9], l[4294967294]", {}),
        ("l[0].a, l[0].b", {"l": {"L": [{"M": {"a": {"S": "a0"}, "b": {"S": "b0"}}}]}}),
        (
            "l[0].a, l[0].m.x",
            {"l": {"L": [{"M": {"a": {"S": "a0"}, "m": {"M": {"x": {"N": "1"}}}}}]}},
        ),
        (
            "l[2].c, l[0].a",
            {"l": {"L": [{"M": {"a": {"S": "a0"}}}, {"M": {"c": {"S": "c2"}}}]}},
        ),
        ("l[0].gone, l[1].x", {}),
        ("l.a", {}),
        ("nest[0][1], nest[1][0]", {"nest": {"L": [{"L": [{"S": "01"}]}, {"L": [{"S": "10"}]}]}}),
        ("nest[0][1], nest[0][0]", {"nest": {"L": [{"L": [{"S": "00"}, {"S": "01"}]}]}}),
        ("nest[1][7], nest[0][1]", {"nest": {"L": [{"L": [{"S": "01"}]}]}}),
    ],
)
def test_apply(text: str, picked: Item) -> None:
    """Shared beginnings merge, lists close up in their own order, nothing is left of nothing."""
    item = copy.deepcopy(ITEM)
    expressions = Expressions({"#zero": "[0]", "#dot": "a.b"})
    assert picked == expressions.projection(text).apply(item)
    assert item == ITEM


def test_of_an_update() -> None:
    """UPDATED_NEW is a projection of what the update touched (paritysuite, paths.test.ts)."""
    update = Expressions(None, {":x": {"S": "x"}}).update("SET m.y = :x, l[7] = :x REMOVE s, m.e")
    new, touched = update.apply(ITEM)
    assert Projection(touched).apply(new) == {"m": {"M": {"y": {"S": "x"}}}}
    assert Projection(touched).apply(ITEM) == {"m": {"M": {"e": {"M": {}}}}, "s": {"SS": ["x"]}}
