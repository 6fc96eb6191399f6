"""Key conditions: their shape, their fit to the keys, and the range that comes of them."""

from __future__ import annotations

import pytest

from dstore.expressions import (
    ExpressionError,
    ExpressionKind,
    Expressions,
    KeyCondition,
    KeyRange,
    sentence,
)
from dstore.model.keys import KeyKind
from dstore.model.tables import KeyAttribute
from dstore.model.values import Attribute
from tests.support.expression_requests import said

VALUES: dict[str, Attribute] = {
    ":p": {"S": "part"},
    ":s": {"S": "s1"},
    ":t": {"S": "t1"},
    ":n": {"N": "1"},
    ":m": {"N": "2"},
    ":b": {"B": "AP8="},
    ":e": {"S": ""},
    ":eb": {"B": ""},
    ":true": {"BOOL": True},
    ":long": {"S": "x" * 1_025},
    ":longer": {"S": "x" * 2_049},
}
PK = KeyAttribute(name="pk", kind=KeyKind.STRING)
SK = KeyAttribute(name="sk", kind=KeyKind.STRING)
SN = KeyAttribute(name="sk", kind=KeyKind.NUMBER)
SB = KeyAttribute(name="sk", kind=KeyKind.BINARY)


def key_condition(text: str) -> KeyCondition:
    return Expressions({"#p": "pk"}, VALUES).key_condition(text)


def keys_of(sort: KeyAttribute | None) -> tuple[KeyAttribute, ...]:
    return () if sort is None else (sort,)


def range_said(text: str, sort: KeyAttribute | None) -> str:
    try:
        key_condition(text).range_in((PK,), keys_of(sort))
    except ExpressionError as error:
        return sentence(error)
    return ""


OPERATOR = "Invalid operator used in KeyConditionExpression: "
CONDITION = "Invalid condition in KeyConditionExpression: "
FIRST = " operator must have the key attribute as its first operand"


# Source: architect/dynalite, test/query.js; that the sentences begin with "Invalid
# KeyConditionExpression: " nowadays, paritysuite (queryKeyConditionOperands.test.ts) and ExtendDB
# (nested attributes) have from AWS for two of them.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("attribute_type(a, :s2)", OPERATOR + "attribute_type"),
        ("a > b and size(b) > c or a > c", OPERATOR + "OR"),
        ("a in (b, size(c), d)", OPERATOR + "IN"),
        ("attribute_exists(a)", OPERATOR + "attribute_exists"),
        ("attribute_not_exists(a)", OPERATOR + "attribute_not_exists"),
        ("contains(a.d, b)", OPERATOR + "contains"),
        ("not a > b", OPERATOR + "NOT"),
        ("a <> b", OPERATOR + "<>"),
        (":n between size(b) and size(a) and b > :s", CONDITION + "BETWEEN" + FIRST),
        ("begins_with(:s, b) and a > :s", CONDITION + "begins_with" + FIRST),
        (
            "size(b) > a AND a.b > b AND b > c",
            "KeyConditionExpressions cannot contain nested operations",
        ),
        ("a > size(b.d)", "KeyConditionExpressions cannot contain nested operations"),
        ("b > a.b", CONDITION + "Multiple attribute names used in one condition"),
        ("b between c[1] and d", None),
        ("a between b and size(a)", CONDITION + "Multiple attribute names used in one condition"),
        ("begins_with(a, b)", CONDITION + "Multiple attribute names used in one condition"),
        (
            "b.d > a AND c.d > e.f",
            "KeyConditionExpressions cannot have conditions on nested attributes",
        ),
        ("a.d > c", "KeyConditionExpressions cannot have conditions on nested attributes"),
        ("b[0] > a", "KeyConditionExpressions cannot have conditions on nested attributes"),
        (":s < sk.foo", "KeyConditionExpressions cannot have conditions on nested attributes"),
        (":s > :t AND a < :s", CONDITION + "No key attribute specified"),
        (":s > b AND :s < :t", CONDITION + "No key attribute specified"),
        (
            "b > :n AND b < :n and c = :n and d = :n",
            "KeyConditionExpressions must only contain one condition per key",
        ),
        (
            "(a > :n and b > :n) and (b > :n and c > :n)",
            "KeyConditionExpressions must only contain one condition per key",
        ),
    ],
)
def test_shape(text: str, expected: str | None) -> None:
    """Anything but comparisons of single attributes with values, joined by AND, is refused."""
    query = Expressions(None, VALUES | {":s2": {"S": "S"}}).key_condition(text)
    with pytest.raises(ExpressionError) as refused:
        query.terms()
    if expected is None:
        expected = CONDITION + "Multiple attribute names used in one condition"
    assert sentence(refused.value) == f"Invalid KeyConditionExpression: {expected}"


def test_checked_like_any_condition_first() -> None:
    """Types and bounds come before the shape (paritysuite, queryKeyConditionOperands.test.ts)."""
    operand = "Incorrect operand type for operator or function; operator or function: "
    for text, expected in [
        ("pk = :p AND begins_with(sk, :n)", operand + "begins_with, operand type: N"),
        ("pk = :p AND begins_with(sk, :true)", operand + "begins_with, operand type: BOOL"),
        ("pk = :p AND sk < :true", operand + "<, operand type: BOOL"),
        ("pk = :p AND :true >= sk", operand + ">=, operand type: BOOL"),
        ("pk = :p AND sk BETWEEN :true AND :true", operand + "BETWEEN, operand type: BOOL"),
        ("data.foo = :n", "Attribute name is a reserved keyword; reserved keyword: data"),
        ("a between :t and :s", ("The BETWEEN operator requires upper bound to be greater than or "
         "equal to lower bound; lower bound operand: AttributeValue: {S:t1}, upper bound operand: "
         "AttributeValue: {S:s1}")),
    ]:  # fmt: skip
        assert said(ExpressionKind.KEY_CONDITION, text, values=VALUES) == expected


SCHEMA = "One or more parameter values were invalid: Condition parameter type does not match "
EMPTY = "One or more parameter values are not valid. The AttributeValue for a key attribute "


# Source: architect/dynalite, test/query.js; paritysuite for counts, types and empty values.
@pytest.mark.parametrize(
    ("text", "sort", "expected"),
    [
        ("sk = :s", SK, "Query condition missed key schema element: pk"),
        ("foo = :s", SK, "Query condition missed key schema element: pk"),
        ("pk = :p AND foo = :s", SK, "Query condition missed key schema element: sk"),
        ("pk > :p", SK, "Query key condition not supported"),
        ("pk between :p and :p", SK, "Query key condition not supported"),
        ("begins_with(pk, :p) and sk = :s", SK, "Query key condition not supported"),
        (
            "pk = :p AND sk = :s",
            None,
            ("The number of query conditions (2) exceeds the number of key attributes defined in "
            "the schema (1)"),
        ),
        (
            "pk = :p AND sk > :n AND extra = :m",
            SN,
            ("The number of query conditions (3) exceeds the number of key attributes defined in "
            "the schema (2)"),
        ),
        ("pk = :n", SK, SCHEMA + "schema type"),
        ("pk > :n", SK, SCHEMA + "schema type"),
        ("pk = :true", SK, SCHEMA + "schema type"),
        ("pk = :p AND sk = :n", SK, SCHEMA + "schema type"),
        ("pk = :p AND begins_with(sk, :s)", SN, SCHEMA + "schema type"),
        ("pk = :p AND sk = :b", SN, SCHEMA + "schema type"),
        ("pk = :e", SK, EMPTY + "cannot contain an empty string value. Key: pk"),
        ("pk = :p AND sk > :e", SK, EMPTY + "cannot contain an empty string value. Key: sk"),
        ("pk = :p AND sk = :eb", SB, EMPTY + "cannot contain an empty binary value. Key: sk"),
        (
            "pk = :longer",
            SK,
            ("One or more parameter values were invalid: Size of hashkey has exceeded the maximum "
            "size limit of2048 bytes"),
        ),
        (
            "pk = :p and sk = :long",
            SK,
            ("One or more parameter values were invalid: Aggregated size of all range keys has "
            "exceeded the size limit of 1024 bytes"),
        ),
        ("pk = :long", SK, ""),
    ],
)  # fmt: skip
def test_fit(text: str, sort: KeyAttribute | None, expected: str) -> None:
    """What a table or index cannot be asked."""
    assert range_said(text, sort) == expected


P = (KeyKind.STRING, "part")
Bounds = tuple[object, bool, object, bool, object]


@pytest.mark.parametrize(
    ("text", "sort", "bounds"),
    [
        ("pk = :p", SK, None),
        ("(#p = :p)", None, None),
        (":p = pk", None, None),
        ("pk = :p AND sk = :s", SK, ("s1", True, "s1", True, None)),
        ("(sk = :s) AND (pk = :p)", SK, ("s1", True, "s1", True, None)),
        ("pk = :p AND sk < :s", SK, (None, True, "s1", False, None)),
        ("pk = :p AND sk <= :s", SK, (None, True, "s1", True, None)),
        ("pk = :p AND sk > :s", SK, ("s1", False, None, True, None)),
        ("pk = :p AND sk >= :s", SK, ("s1", True, None, True, None)),
        ("pk = :p AND :s < sk", SK, ("s1", False, None, True, None)),
        ("pk = :p AND :s <= sk", SK, ("s1", True, None, True, None)),
        ("pk = :p AND :s > sk", SK, (None, True, "s1", False, None)),
        ("pk = :p AND :s >= sk", SK, (None, True, "s1", True, None)),
        ("pk = :p AND :s = sk", SK, ("s1", True, "s1", True, None)),
        ("pk = :p AND sk BETWEEN :s AND :t", SK, ("s1", True, "t1", True, None)),
        ("pk = :p AND begins_with(sk, :s)", SK, (None, True, None, True, "s1")),
        ("pk = :p AND begins_with(sk, :b)", SB, (None, True, None, True, b"\x00\xff")),
        ("pk = :p AND sk BETWEEN :n AND :m", SN, ("1", True, "2", True, None)),
        ("pk = :p AND sk = :b", SB, (b"\x00\xff", True, b"\x00\xff", True, None)),
    ],
)
def test_range(text: str, sort: KeyAttribute | None, bounds: Bounds | None) -> None:
    """A comparison reads the same from either side (ExtendDB/extenddb#111 quotes AWS)."""
    found: KeyRange = key_condition(text).range_in((PK,), keys_of(sort))
    assert found.partition == (P,)
    if bounds is None:
        assert found.sorts == ()
    else:
        assert sort is not None
        [part] = found.sorts
        assert part.kind is sort.kind
        assert bounds == (
            part.low,
            part.low_included,
            part.high,
            part.high_included,
            part.prefix,
        )


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("sk = :s", ["s1"], ["s0", "s10"]),
        ("sk < :s", ["s0", "a"], ["s1", "s10"]),
        ("sk >= :s", ["s1", "s10"], ["s0"]),
        ("sk between :s and :t", ["s1", "t1", "t"], ["s0", "t10"]),
        ("begins_with(sk, :s)", ["s1", "s12"], ["s", "t1"]),
    ],
)
def test_range_holds(text: str, inside: list[str], outside: list[str]) -> None:
    """ExclusiveStartKey must satisfy the sort condition; the range can tell."""
    [found] = key_condition(f"pk = :p AND {text}").range_in((PK,), (SK,)).sorts
    assert all(found.holds({"S": key}) for key in inside)
    assert not any(found.holds({"S": key}) for key in outside)
    assert not found.holds({"N": "1"})
