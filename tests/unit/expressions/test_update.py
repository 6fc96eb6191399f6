"""What an update makes of an item, and how it fails."""

from __future__ import annotations

import copy

import pytest

from dstore.expressions import Complaint, ExpressionError, Expressions, sentence
from dstore.model.values import Attribute, Item

PATH = "The document path provided in the update expression is invalid for update"
TYPE = "An operand in the update expression has an incorrect data type"
MISSING = "The provided expression refers to an attribute that does not exist in the item"
VALUES: dict[str, Attribute] = {
    ":n": {"N": "5"},
    ":m": {"N": "-2"},
    ":s": {"S": "new"},
    ":l": {"L": [{"S": "x"}, {"S": "y"}]},
    ":e": {"L": []},
    ":ss": {"SS": ["a", "z"]},
    ":ns": {"NS": ["1.0", "7"]},
    ":bs": {"BS": ["Y2F0"]},
    ":map": {"M": {}},
}
ITEM: Item = {
    "id": {"S": "k"},
    "n": {"N": "10"},
    "s": {"S": "old"},
    "l": {"L": [{"N": "0"}, {"N": "1"}, {"N": "2"}, {"N": "3"}]},
    "m": {"M": {"a": {"N": "1"}, "b": {"M": {"c": {"S": "deep"}}}, "l": {"L": [{"M": {}}]}}},
    "ss": {"SS": ["a", "b"]},
    "ns": {"NS": ["1", "2"]},
    "bs": {"BS": ["Y2F0", "ZG9n"]},
}


def numbers(*texts: str) -> Attribute:
    return {"L": [{"N": text} for text in texts]}


# Semantics: DynamoDB developer guide, "Update expressions"; scylladb,
# test/alternator/test_update_expression.py; paritysuite/dynamodb-conformance (all run on AWS).
CHANGES: list[tuple[str, Item, list[str]]] = [
    # (update, attributes that are new or other, attributes that are gone)
    ("SET s = :s", {"s": {"S": "new"}}, []),
    ("SET fresh = :s", {"fresh": {"S": "new"}}, []),
    ("SET n = n + :n", {"n": {"N": "15"}}, []),
    ("SET n = :m - n", {"n": {"N": "-12"}}, []),
    ("SET x = n + n", {"x": {"N": "20"}}, []),
    ("SET x = if_not_exists(x, :n) + :n", {"x": {"N": "10"}}, []),
    ("SET n = if_not_exists(n, :n) + :n", {"n": {"N": "15"}}, []),
    ("SET x = if_not_exists(y, if_not_exists(z, :n))", {"x": {"N": "5"}}, []),
    ("SET x = if_not_exists(y, n)", {"x": {"N": "10"}}, []),
    ("SET x = if_not_exists(n, gone)", {"x": {"N": "10"}}, []),
    ("SET s = n, n = s", {"s": {"N": "10"}, "n": {"S": "old"}}, []),
    ("SET n = :n, x = n", {"n": {"N": "5"}, "x": {"N": "10"}}, []),
    ("REMOVE s SET x = s", {"x": {"S": "old"}}, ["s"]),
    ("SET x = list_append(:l, :l)", {"x": {"L": [{"S": c} for c in "xyxy"]}}, []),
    ("SET x = list_append(if_not_exists(x, :e), :l)", {"x": {"L": [{"S": "x"}, {"S": "y"}]}}, []),
    (
        "SET l = list_append(l, :l)",
        {"l": {"L": [*numbers("0", "1", "2", "3")["L"], {"S": "x"}, {"S": "y"}]}},
        [],
    ),
    ("SET l[1] = :n", {"l": numbers("0", "5", "2", "3")}, []),
    ("SET l[9] = :n", {"l": numbers("0", "1", "2", "3", "5")}, []),
    ("SET l[4] = :n", {"l": numbers("0", "1", "2", "3", "5")}, []),
    ("SET l[4294967294] = :n", {"l": numbers("0", "1", "2", "3", "5")}, []),
    ("SET l[9] = :n, l[7] = :m, l[8] = n", {"l": numbers("0", "1", "2", "3", "-2", "10", "5")}, []),
    ("REMOVE l[0]", {"l": numbers("1", "2", "3")}, []),
    ("REMOVE l[0], l[2]", {"l": numbers("1", "3")}, []),
    ("REMOVE l[2], l[0], l[17]", {"l": numbers("1", "3")}, []),
    ("REMOVE l[0], l[1], l[2], l[3]", {"l": {"L": []}}, []),
    ("REMOVE l[1] SET l[3] = :n", {"l": numbers("0", "2", "5")}, []),
    ("SET l[3] = :n REMOVE l[1]", {"l": numbers("0", "2", "5")}, []),
    ("SET l[0] = l[3], l[3] = l[0]", {"l": numbers("3", "1", "2", "0")}, []),
    ("SET l[9] = :n REMOVE l[0]", {"l": numbers("1", "2", "3", "5")}, []),
    ("REMOVE s, gone", {}, ["s"]),
    ("REMOVE gone", {}, []),
    ("REMOVE m.gone, l[99]", {}, []),
    (
        "SET m.a = :n, m.b.c = :s, m.b.d = :n REMOVE m.l[0]",
        {
            "m": {
                "M": {
                    "a": {"N": "5"},
                    "b": {"M": {"c": {"S": "new"}, "d": {"N": "5"}}},
                    "l": {"L": []},
                }
            }
        },
        [],
    ),
    (
        "REMOVE m.b.c, m.a, m.l",
        {"m": {"M": {"b": {"M": {}}}}},
        [],
    ),
    (
        "SET m.l[0].q = :n, m.l[5] = :s",
        {"m": {"M": ITEM["m"]["M"] | {"l": {"L": [{"M": {"q": {"N": "5"}}}, {"S": "new"}]}}}},
        [],
    ),
    ("SET m.b = m", {"m": {"M": ITEM["m"]["M"] | {"b": ITEM["m"]}}}, []),
    ("SET m = :map", {"m": {"M": {}}}, []),
    ("ADD n :n", {"n": {"N": "15"}}, []),
    ("ADD n :m", {"n": {"N": "8"}}, []),
    ("ADD x :n", {"x": {"N": "5"}}, []),
    ("ADD m.a :n", {"m": {"M": ITEM["m"]["M"] | {"a": {"N": "6"}}}}, []),
    ("ADD l[1] :n", {"l": numbers("0", "6", "2", "3")}, []),
    ("ADD l[7] :n", {"l": numbers("0", "1", "2", "3", "5")}, []),
    ("ADD ss :ss", {"ss": {"SS": ["a", "b", "z"]}}, []),
    ("ADD ns :ns", {"ns": {"NS": ["1", "2", "7"]}}, []),
    ("ADD bs :bs", {}, []),
    ("ADD x :ss", {"x": {"SS": ["a", "z"]}}, []),
    ("DELETE ss :ss", {"ss": {"SS": ["b"]}}, []),
    ("DELETE ns :ns", {"ns": {"NS": ["2"]}}, []),
    ("DELETE bs :bs", {"bs": {"BS": ["ZG9n"]}}, []),
    ("DELETE gone :ss", {}, []),
    ("DELETE m.gone :ss", {}, []),
    ("ADD n :n SET s = :s REMOVE l DELETE ss :ss", {"n": {"N": "15"}, "s": {"S": "new"},
     "ss": {"SS": ["b"]}}, ["l"]),
    ("SET #dot = :s", {"a.b": {"S": "new"}}, []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "changed", "gone"), CHANGES)
def test_apply(text: str, changed: Item, gone: list[str]) -> None:
    """The new item is as the guide has it; the old one is as it was."""
    item = copy.deepcopy(ITEM)
    update = Expressions({"#dot": "a.b"}, VALUES).update(text)
    expected = {name: value for name, value in (ITEM | changed).items() if name not in gone}
    new, touched = update.apply(item)
    assert expected == new
    assert item == ITEM
    assert touched == update.touched


def test_sets_stay_in_order() -> None:
    """What ADD and DELETE leave is in the order of strings' and binaries' bytes, numbers' values.

    Source: nubo-db/dynamodb-conformance.
    """
    item: Item = {
        "ss": {"SS": ["b", "d"]},
        "ns": {"NS": ["-1", "9"]},
        "bs": {"BS": ["YQ==", "/w=="]},
        "d": {"NS": ["10", "9", "8"]},
    }
    values: Item = {
        ":s": {"SS": ["a", "c"]},
        ":n": {"NS": ["-2", "10"]},
        ":b": {"BS": ["AA==", "Yg=="]},
        ":d": {"NS": ["9"]},
    }
    update = Expressions(None, values).update("ADD ss :s, ns :n, bs :b DELETE d :d")
    assert update.apply(item)[0] == {
        "ss": {"SS": ["a", "b", "c", "d"]},
        "ns": {"NS": ["-2", "-1", "9", "10"]},
        "bs": {"BS": ["AA==", "YQ==", "Yg==", "/w=="]},
        "d": {"NS": ["8", "10"]},
    }


def test_set_is_emptied() -> None:
    """A set that loses its last member is gone, in a map and in a list too."""
    item: Item = {
        "a": {"SS": ["x"]},
        "m": {"M": {"a": {"SS": ["x"]}}},
        "l": {"L": [{"SS": ["x"]}, {"N": "1"}]},
    }
    update = Expressions(None, {":x": {"SS": ["x", "y"]}}).update("DELETE a :x, m.a :x, l[0] :x")
    assert update.apply(item)[0] == {"m": {"M": {}}, "l": numbers("1")}


# Source: architect/dynalite, test/updateItem.js; scylladb, test_update_expression.py (AWS's words).
FAILURES = [
    ("SET s.a = :n", PATH),
    ("SET s[1] = :n", PATH),
    ("SET gone.a = :n, x = :n", PATH),
    ("SET gone[1] = :n", PATH),
    ("SET m[1] = :n", PATH),
    ("SET l.a = :n", PATH),
    ("SET m.gone.a = :n", PATH),
    ("REMOVE s.a SET x = :n", PATH),
    ("REMOVE gone.a", PATH),
    ("REMOVE gone[0]", PATH),
    ("REMOVE m[0]", PATH),
    ("REMOVE l.a", PATH),
    ("DELETE s.a :ss", PATH),
    ("DELETE gone.a :ss", PATH),
    ("DELETE l.a :ss", PATH),
    ("ADD s[1] :ss", PATH),
    ("ADD gone[1] :n", PATH),
    ("ADD m[1] :n", PATH),
    ("DELETE ns :ss", TYPE),
    ("DELETE m :ns", TYPE),
    ("DELETE n :ns", TYPE),
    ("DELETE m.a :ss", TYPE),
    ("ADD m :ns", TYPE),
    ("ADD ns :n", TYPE),
    ("ADD s :n", TYPE),
    ("ADD n :ns", TYPE),
    ("ADD l :ss", TYPE),
    ("SET e = s + :n", TYPE),
    ("SET e = m - :n", TYPE),
    ("SET e = :n + s", TYPE),
    ("SET e = list_append(ns, if_not_exists(f, :e))", TYPE),
    ("SET e = list_append(:e, n)", TYPE),
    ("SET e = if_not_exists(s, :n) + :n", TYPE),
    ("SET e = list_append(:e, :e) + :n", TYPE),
    ("SET c = gone", MISSING),
    ("SET e = list_append(gone, l)", MISSING),
    ("SET e = gone + :n", MISSING),
    ("SET e = :n - m.gone", MISSING),
    ("SET e = if_not_exists(gone, gone2)", MISSING),
    ("SET e = l[4]", MISSING),
    # several at once: a public playground's record of AWS's order
    ("SET a = gone, b = s + :n", TYPE),
    ("SET a = gone, gone.b = :n", PATH),
    ("SET gone.b = :n ADD s :n", TYPE),
    ("SET s.a = :n, b = s + :n", PATH),
    ("REMOVE gone.a SET x = gone", MISSING),
    ("SET x = gone REMOVE gone.a", PATH),
    ("SET x = gone + s", TYPE),
]


@pytest.mark.parametrize(("text", "expected"), FAILURES)
def test_failures(text: str, expected: str) -> None:
    """Only the item's content can fail an update now, and it changes nothing."""
    item = copy.deepcopy(ITEM)
    update = Expressions(None, VALUES).update(text)
    with pytest.raises(ExpressionError) as refused:
        update.apply(item)
    assert sentence(refused.value) == expected
    assert item == ITEM


def test_no_item() -> None:
    """An update makes an item of its key; nothing can be removed from it (scylladb: no error)."""
    expressions = Expressions(None, VALUES)
    key = {"id": {"S": "k"}}
    new, _ = expressions.update("ADD n :n SET s = :s REMOVE x.y, x2[0], z").apply(None, key=key)
    assert new == {"id": {"S": "k"}, "n": {"N": "5"}, "s": {"S": "new"}}
    assert expressions.update("SET a = id").apply(None, key=key)[0]["a"] == {"S": "k"}
    assert key == {"id": {"S": "k"}}
    for text in ("SET b.a = id", "SET b[1] = :n", "ADD b.a :n"):
        with pytest.raises(ExpressionError) as refused:
            expressions.update(text).apply(None, key=key)
        assert refused.value.complaint is Complaint.ITEM_PATH_INVALID


NINES = "9" * 38
OVER = "Number overflow. Attempting to store a number with magnitude larger than supported range"
UNDER = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
DIGITS = "Attempting to store more than 38 significant digits in a Number"


# Sentences: ExtendDB/extenddb#94 and #210, paritysuite valueLayers.test.ts (AWS's words).
@pytest.mark.parametrize(
    ("one", "operator", "other", "expected"),
    [
        ("1", "+", "1", "2"),
        ("1", "-", "1", "0"),
        ("-5", "+", "5", "0"),
        ("0.1", "+", "0.2", "0.3"),
        ("1.50", "-", "0.5", "1"),
        ("1E2", "+", "1", "101"),
        ("100", "-", "1E2", "0"),
        ("007", "+", "1", "8"),
        ("+7", "+", "1", "8"),
        ("-0", "+", "0", "0"),
        (NINES, "-", NINES, "0"),
        ("9" * 37, "+", "1", "1" + "0" * 37),
        (NINES, "+", "1", "1" + "0" * 38),
        (NINES, "+", "2", DIGITS),
        ("1" + "0" * 37, "+", "0.1", DIGITS),
        ("1" + "0" * 36, "+", "0.1", "1" + "0" * 36 + ".1"),
        ("1E125", "+", "1E-130", DIGITS),
        ("9.9E125", "+", "1E124", OVER),
        ("9.9999999999999999999999999999999999999E+125", "+", "1E+125", OVER),
        ("-9.9E125", "-", "1E124", OVER),
        ("1E125", "-", "1E125", "0"),
        ("1.1E-130", "-", "1E-130", UNDER),
        ("2E-130", "-", "1E-130", "0." + "0" * 129 + "1"),
        ("12345678901234567890.123456789", "+", "0.000000001", "12345678901234567890.12345679"),
    ],
)
def test_arithmetic(one: str, operator: str, other: str, expected: str) -> None:
    """A sum is exact to 38 digits and spelled plainly, or it is refused."""
    values: dict[str, Attribute] = {":o": {"N": other}}
    update = Expressions(None, values).update(f"SET a = a {operator} :o")
    try:
        result = update.apply({"a": {"N": one}})[0]["a"]["N"]
    except ExpressionError as error:
        result = sentence(error)
    assert expected == result


def test_add_is_exact_too() -> None:
    """ADD refuses what SET + refuses."""
    update = Expressions(None, {":o": {"N": "2"}}).update("ADD a :o")
    with pytest.raises(ExpressionError) as refused:
        update.apply({"a": {"N": NINES}})
    assert sentence(refused.value) == DIGITS


def test_the_new_item_shares_but_is_not_the_old_one() -> None:
    """What was not written to is the same object, what was is not."""
    new, touched = Expressions(None, VALUES).update("SET m.b.c = :s").apply(ITEM)
    assert new["l"] is ITEM["l"]
    assert new["m"]["M"]["l"] is ITEM["m"]["M"]["l"]
    assert new["m"]["M"]["b"] is not ITEM["m"]["M"]["b"]
    assert touched == (("m", "b", "c"),)
