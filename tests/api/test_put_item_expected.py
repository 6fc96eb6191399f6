"""Expected and ConditionalOperator of PutItem, UpdateItem and DeleteItem, case by case.

Every case names the public source of its answer. What a comparison is true of is in
`test_update_item_former.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import (
    CONDITION_FAILED,
    Case,
    Error,
    enveloped,
    invalid,
    name_of,
    run,
)
from tests.support.dynamodb_former import (
    COUNTS,
    EXPECTED,
    EXTENDDB,
    INVALID,
    LOCAL,
    OTHERS,
    PARITY,
    TOO_FEW,
    TYPES,
    WITHOUT,
    condition,
    n,
    s,
)
from tests.support.dynamodb_values import BAD_VALUES, LAYERS, WRITTEN_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

P: Final[dict[str, Any]] = {"p": {"S": "<ID>"}}
OLD: Final[dict[str, Any]] = {**P, "a": n(1), "b": n(2)}
DELETE_DOC: Final = "dynalite test/deleteItem.js"
PUT_DOC: Final = "dynalite test/putItem.js"
PUT_Z: Final = {"z": {"Value": n(3)}}
# How each operation writes, and what becomes of OLD if it does.
WRITES: Final[dict[str, tuple[dict[str, Any], Any]]] = {
    "PutItem": ({"TableName": "<P>", "Item": {**P, "z": n(3)}}, {**P, "z": n(3)}),
    "UpdateItem": ({"TableName": "<P>", "Key": P, "AttributeUpdates": PUT_Z}, {**OLD, "z": n(3)}),
    "DeleteItem": ({"TableName": "<P>", "Key": P}, None),
}
MIXED: Final = (
    "Can not use both expression and non-expression parameters in the same request: "
    "Non-expression parameters: {{{}}} Expression parameters: {{{}}}"
)


def case(name: str, expected: Any, *, source: str, error: Error | None = None, **more: Any) -> Case:
    """Make a case of an Expected; the runner adds the rest of the request."""
    return Case(
        name=name, request={"Expected": expected, **more}, error=error, given=[OLD], source=source
    )


def refused(name: str, expected: Any, text: str, source: str, **more: Any) -> Case:
    """Make a case that is refused before the item is looked at."""
    return case(name, expected, source=source, error=invalid(text), **more)


def early(name: str, expected: Any, text: str, source: str, **more: Any) -> Case:
    """Make a case of what the request alone tells, which has an envelope."""
    return refused(name, expected, enveloped(text), source, **more)


def listed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Spell no values as an empty list: without one, Expected is told that it lacks it."""
    return {"AttributeValueList": [], **given}


STRUCTURES: Final = [
    early(
        "nothing-said",
        {"a": {}},
        f"{INVALID}Value must be provided when Exists is null for Attribute: a",
        PUT_DOC,
    ),
    early(
        "exists-alone",
        {"a": {"Exists": True}},
        f"{INVALID}Value must be provided when Exists is true for Attribute: a",
        PUT_DOC,
    ),
    early(
        "exists-not-with-value",
        {"a": {"Exists": False, "Value": s("a")}},
        f"{INVALID}Value cannot be used when Exists is false for Attribute: a",
        PUT_DOC,
    ),
    early(
        "operator-alone",
        {"a": {"ComparisonOperator": "LT"}},
        f"{INVALID}Value or AttributeValueList must be used with ComparisonOperator: LT for "
        "Attribute: a",
        PUT_DOC,
    ),
    early(
        "exists-with-operator",
        {"a": {"Exists": True, "ComparisonOperator": "LT"}},
        f"{INVALID}Exists and ComparisonOperator cannot be used together for Attribute: a",
        PUT_DOC,
    ),
    early(
        "exists-not-with-operator",
        {"a": {"Exists": False, **condition("EQ", n(3))}},
        f"{INVALID}Exists and ComparisonOperator cannot be used together for Attribute: a",
        f"{EXPECTED}::test_update_expected_operator_clash",
    ),
    early(
        "value-with-list",
        {"a": {"Value": s("a"), **condition("LT", s("a"))}},
        f"{INVALID}Value and AttributeValueList cannot be used together for Attribute: a",
        PUT_DOC,
    ),
    early(
        "value-with-empty-list",
        {"a": {"Value": s("a"), "AttributeValueList": []}},
        f"{INVALID}Value and AttributeValueList cannot be used together for Attribute: a",
        DELETE_DOC,
    ),
    early(
        "list-alone",
        {"a": {"AttributeValueList": [s("a")]}},
        f"{INVALID}AttributeValueList can only be used with a ComparisonOperator for Attribute: a",
        PUT_DOC,
    ),
    early(
        "empty-list-alone",
        {"a": {"AttributeValueList": []}},
        f"{INVALID}AttributeValueList can only be used with a ComparisonOperator for Attribute: a",
        DELETE_DOC,
    ),
    early(
        "list-with-exists",
        {"a": {"Exists": True, "AttributeValueList": [s("a")]}},
        f"{INVALID}AttributeValueList can only be used with a ComparisonOperator for Attribute: a",
        PUT_DOC,
    ),
    early(
        "value-for-null",
        {"a": {"ComparisonOperator": "NULL", "Value": s("a")}},
        f"{INVALID}Invalid number of argument(s) for the NULL ComparisonOperator",
        DELETE_DOC,
    ),
    early(
        "value-for-between",
        {"a": {"ComparisonOperator": "BETWEEN", "Value": s("a")}},
        f"{INVALID}Invalid number of argument(s) for the BETWEEN ComparisonOperator",
        DELETE_DOC,
    ),
    early(
        "structure-before-value",
        {"a": {"Exists": True, **condition("EQ", {})}},
        f"{INVALID}Exists and ComparisonOperator cannot be used together for Attribute: a",
        LOCAL,
    ),
    early(
        "value-before-its-type",
        {"a": condition("LT", {"SS": []})},
        f"{INVALID}An string set  may not be empty",
        LOCAL,
    ),
    refused(
        "unknown-operator",
        {"a": condition("eq", n(1))},
        "1 validation error detected: Value 'eq' at 'expected.a.member.comparisonOperator' failed "
        "to satisfy constraint: Member must satisfy enum value set: [IN, NULL, BETWEEN, LT, "
        "NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]",
        "dynalite validations/putItem.js",
    ),
]
COMPARISONS: Final = [
    *[
        early(one.name, {"a": listed(one.condition)}, one.text, f"{LOCAL}; {EXPECTED}")
        for one in (*COUNTS, *TYPES, *OTHERS)
    ],
]
VALUES: Final = [
    *[
        refused(f"value-{name}", {"a": {"Value": value}}, text, LAYERS)
        for name, (value, text) in WRITTEN_VALUES.items()
    ],
    *[
        refused(f"listed-{name}", {"a": condition("EQ", value)}, text, LAYERS)
        for name, (value, text) in WRITTEN_VALUES.items()
    ],
]
OPERATORS: Final = [
    Case(
        name=f"{operator}-of-nothing",
        request={"ConditionalOperator": operator},
        error=invalid(enveloped(WITHOUT)),
        source=EXTENDDB,
    )
    for operator in ("AND", "OR")
] + [
    early("and-of-an-empty-one", {}, WITHOUT, EXTENDDB, ConditionalOperator="AND"),
    early(
        "or-of-an-empty-one",
        {},
        WITHOUT,
        f"{EXPECTED}::test_update_expected_empty; {EXTENDDB}",
        ConditionalOperator="OR",
    ),
    early("and-of-one", {"a": {"Value": n(1)}}, TOO_FEW, EXTENDDB, ConditionalOperator="AND"),
    early("or-of-one", {"a": {"Value": n(1)}}, TOO_FEW, EXTENDDB, ConditionalOperator="OR"),
    early(
        "comparison-before-operator",
        {"a": {}},
        f"{INVALID}Value must be provided when Exists is null for Attribute: a",
        LOCAL,
        ConditionalOperator="OR",
    ),
]
TRUE_A: Final = {"a": {"Exists": True, "Value": n(1)}}
FALSE_A: Final = {"a": {"Exists": True, "Value": n(74)}}
TRUE_B: Final = {"b": condition("EQ", n(2))}
FALSE_B: Final = {"b": condition("EQ", n(999))}
NO_C: Final = {"c": {"Exists": False}}
MULTI: Final = f"{EXPECTED}::test_update_expected_multi_true"
MULTI_FALSE: Final = f"{EXPECTED}::test_update_expected_multi_false"
FAILS: Final = CONDITION_FAILED
OUTCOMES: Final = [
    case("value", {"a": {"Value": n(1)}}, source=f"{EXPECTED}::test_update_expected_1_value_true"),
    case(
        "other-value",
        {"a": {"Value": n(2)}},
        error=FAILS,
        source=f"{EXPECTED}::test_update_expected_1_value_false",
    ),
    case(
        "value-of-nothing",
        {"gone": {"Value": n(1)}},
        error=FAILS,
        source=f"{EXPECTED}::test_update_expected_1_value_false",
    ),
    case("exists", TRUE_A, source=f"{EXPECTED}::test_update_expected_1_exists_true"),
    case(
        "exists-as-other",
        {"a": {"Exists": True, "Value": n(2)}},
        error=FAILS,
        source=f"{EXPECTED}::test_update_expected_1_exists_false",
    ),
    case("exists-not", NO_C, source=f"{EXPECTED}::test_update_expected_1_exists_true"),
    case(
        "exists-all-the-same",
        {"a": {"Exists": False}},
        error=FAILS,
        source=f"{EXPECTED}::test_update_expected_1_exists_false",
    ),
    case("key-exists-not", {"p": {"Exists": False}}, error=FAILS, source=f"{PARITY}/expected"),
    case("key-value", {"p": {"Value": P["p"]}}, source=DELETE_DOC),
    case("key-other-value", {"p": {"Value": s("other")}}, error=FAILS, source=DELETE_DOC),
    case("empty", {}, source=f"{EXPECTED}::test_update_expected_empty"),
    case("all-of-three", {**TRUE_A, **TRUE_B, **NO_C}, source=MULTI),
    case("and-of-three", {**TRUE_A, **TRUE_B, **NO_C}, source=MULTI, ConditionalOperator="AND"),
    case("not-all", {**TRUE_A, **FALSE_B, **NO_C}, error=FAILS, source=MULTI_FALSE),
    case(
        "and-not-all",
        {**TRUE_A, **FALSE_B, **NO_C},
        error=FAILS,
        source=MULTI_FALSE,
        ConditionalOperator="AND",
    ),
    case("or-of-the-last", {**FALSE_A, **FALSE_B, **NO_C}, source=MULTI, ConditionalOperator="OR"),
    case("or-of-the-first", {**TRUE_A, **FALSE_B}, source=MULTI, ConditionalOperator="OR"),
    case(
        "or-of-none",
        {**FALSE_A, **FALSE_B},
        error=FAILS,
        source=MULTI_FALSE,
        ConditionalOperator="OR",
    ),
    case(
        "name-with-a-dot",
        {"a.b": {"Exists": False}, "a[0]": {"Exists": False}},
        source="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
        "LegacyConditionalParameters.Expected.html",
    ),
    case("value-in-words", {"a": {"ComparisonOperator": "EQ", "Value": n(1)}}, source=LOCAL),
    case(
        "value-in-words-that-fails",
        {"a": {"ComparisonOperator": "GT", "Value": n(1)}},
        error=FAILS,
        source=LOCAL,
    ),
]


def run_all(tables: Tables, one: Case) -> None:
    """Run a case with each of the three operations, and look at what became of the item."""
    assert isinstance(one.request, dict)
    for operation, (request, after) in WRITES.items():
        before = OLD if one.given else None
        case_of_it = replace(
            one, request={**request, **one.request}, then=before if one.error else after, table="P"
        )
        run(tables, operation, case_of_it)


@pytest.mark.parametrize("one", STRUCTURES, ids=name_of)
def test_refusals(tables: Tables, one: Case) -> None:
    """Members that do not go together are refused, and nothing is written."""
    run_all(tables, one)


@pytest.mark.parametrize("one", COMPARISONS, ids=name_of)
def test_refused_comparisons(tables: Tables, one: Case) -> None:
    """A comparison with too few values, or with such as it has no use for, is refused."""
    run_all(tables, one)


@pytest.mark.parametrize("one", VALUES, ids=name_of)
def test_refused_values(tables: Tables, one: Case) -> None:
    """What is no attribute value is refused as it is in an item."""
    run_all(tables, one)


@pytest.mark.parametrize("one", OPERATORS, ids=name_of)
def test_refused_operators(tables: Tables, one: Case) -> None:
    """ConditionalOperator needs two attributes to join."""
    run_all(tables, one)


@pytest.mark.parametrize("one", OUTCOMES, ids=name_of)
def test_outcomes(tables: Tables, one: Case) -> None:
    """A write is done if the item is as expected, and else not."""
    run_all(tables, one)


@pytest.mark.parametrize(
    ("operation", "members", "former", "expressions"),
    [
        ("PutItem", {"ConditionalOperator": "AND"}, "ConditionalOperator", "ConditionExpression"),
        (
            "PutItem",
            {"Expected": {"a": {}}, "ConditionalOperator": "AND"},
            "Expected, ConditionalOperator",
            "ConditionExpression",
        ),
        ("PutItem", {"Expected": {"a": {}}}, "Expected", "ConditionExpression"),
        ("DeleteItem", {"Expected": {}}, "Expected", "ConditionExpression"),
        (
            "DeleteItem",
            {"ConditionalOperator": "AND"},
            "ConditionalOperator",
            "ConditionExpression",
        ),
        ("UpdateItem", {"Expected": {}}, "Expected", "ConditionExpression"),
    ],
)
def test_beside_an_expression(
    tables: Tables, operation: str, members: dict[str, Any], former: str, expressions: str
) -> None:
    """All former members are named, then all expressions (ExtendDB's cases)."""
    request = {**WRITES[operation][0], "ConditionExpression": "attribute_exists(p)", **members}
    request.pop("AttributeUpdates", None)
    text = enveloped(MIXED.format(former, expressions))
    run(tables, operation, Case(name="", request=request, error=invalid(text), source=EXTENDDB))


@pytest.mark.parametrize("operation", WRITES)
def test_a_failed_expectation_shows_the_item(tables: Tables, operation: str) -> None:
    """ALL_OLD gives the item that failed it, as a condition's (API reference, PutItem)."""
    request = {
        **WRITES[operation][0],
        "Expected": {"a": {"Value": n(2)}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    one = Case(name="", request=request, given=[OLD], error=FAILS, source=LOCAL, then=OLD)
    assert run(tables, operation, one).body["Item"]["b"] == n(2)


def test_an_expectation_of_an_item_that_is_not_there(tables: Tables) -> None:
    """It has no attributes: what must be there fails, what must not holds (dynalite's suite)."""
    request = WRITES["PutItem"][0]
    source = DELETE_DOC
    fails = Case(
        name="", request={**request, "Expected": TRUE_A}, error=FAILS, then=None, source=source
    )
    run(tables, "PutItem", fails)
    holds = Case(
        name="",
        request={**request, "Expected": {"p": {"Exists": False}, "a": condition("NE", n(1))}},
        then=WRITES["PutItem"][1],
        source=f"{PARITY}/expected; {EXPECTED}::test_update_expected_1_ne_true",
    )
    run(tables, "PutItem", holds)


def test_expected_has_the_size_of_an_item(tables: Tables) -> None:
    """More than 400 KB cannot be expected (DynamoDB local, InputConverter)."""
    expected = {"a": {"Value": s("a" * 409_600)}}
    text = "Item size has exceeded the maximum allowed size"
    request = {**WRITES["DeleteItem"][0], "Expected": expected}
    run(tables, "DeleteItem", Case(name="", request=request, error=invalid(text), source=LOCAL))


def test_the_key_comes_first(tables: Tables) -> None:
    """What is no value in a key is told before Expected, Expected before the table."""
    text = BAD_VALUES["empty"][1]
    request = {"TableName": "<GONE>", "Key": {"p": {}}, "Expected": {"a": {}}}
    run(tables, "DeleteItem", Case(name="", request=request, error=invalid(text), source=PUT_DOC))
    text = enveloped(f"{INVALID}Value must be provided when Exists is null for Attribute: a")
    request = {"TableName": "<GONE>", "Key": P, "Expected": {"a": {}}}
    run(tables, "DeleteItem", Case(name="", request=request, error=invalid(text), source=PUT_DOC))
