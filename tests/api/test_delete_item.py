"""DeleteItem, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import (
    CONDITION_FAILED,
    Case,
    copies,
    enveloped,
    invalid,
    name_of,
    run,
    violated,
)
from tests.support.dynamodb_conditions import condition_cases
from tests.support.dynamodb_members import (
    CAPTURES,
    NOT_NULL,
    PARITY,
    RETURN_VALUES,
    capacity,
    capacity_of_table,
    enum_cases,
    enumeration,
    key_cases,
    return_values_cases,
    table_name_cases,
)
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_values import BAD_VALUES, LAYERS, WRITTEN_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "DeleteItem"
SOURCE: Final = "dynalite test/deleteItem.js"
ENVELOPE: Final = f"{PARITY}/error-messages/deleteItem.test.ts; {SOURCE}"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DeleteItem.html"
P: Final[dict[str, Any]] = {"p": {"S": "<ID>"}}
DELETE: Final[dict[str, Any]] = {"TableName": "<P>", "Key": P}
OLD: Final[dict[str, Any]] = {**P, "a": {"S": "old"}, "n": {"N": "1.5"}}


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def early(name: str, request: Mapping[str, Any], text: str, source: str = ENVELOPE) -> Case:
    """Make a case of what the request alone tells, which has an envelope."""
    return refused(name, request, enveloped(text), source)


def when(expression: str, values: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Spell a conditional delete."""
    given = {"ExpressionAttributeValues": values} if values else {}
    return {**DELETE, "ConditionExpression": expression, **given, **more}


CONSTRAINTS: Final = [
    *table_name_cases(OP, DELETE),
    *enum_cases(
        OP,
        DELETE,
        "ReturnConsumedCapacity",
        "ReturnItemCollectionMetrics",
        "ConditionalOperator",
    ),
    *return_values_cases(DELETE),
    *key_cases({}),
    Case(
        name="ReturnValuesOnConditionCheckFailure-is-hi",
        request=copies(DELETE, ReturnValuesOnConditionCheckFailure="hi"),
        error=violated(("hi", "returnValuesOnConditionCheckFailure", enumeration("ALL_OLD, NONE"))),
        source=DOC,
    ),
    Case(
        name="several-in-order",
        request=copies(DELETE, ReturnConsumedCapacity="hi", ReturnValues="hi"),
        error=invalid(
            "2 validation errors detected: Value 'hi' at 'returnConsumedCapacity' failed to "
            "satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]; "
            f"{RETURN_VALUES}"
        ),
        source=CAPTURES,
    ),
    Case(
        name="no-key",
        request={"TableName": "<P>"},
        error=violated((None, "key", NOT_NULL)),
        source=SOURCE,
    ),
    Case(
        name="null-key",
        request={"TableName": "<P>", "Key": None},
        error=violated((None, "key", NOT_NULL)),
        source=SOURCE,
    ),
    *[
        early(
            f"returns-{value}",
            copies(DELETE, ReturnValues=value),
            "ReturnValues can only be ALL_OLD or NONE",
            "Alternator test/alternator/test_returnvalues.py::test_delete_item_returnvalues",
        )
        for value in ("ALL_NEW", "UPDATED_NEW", "UPDATED_OLD")
    ],
    *[
        refused(f"key-value-{name}", copies(DELETE, Key={"p": value}), text, LAYERS)
        for name, (value, text) in WRITTEN_VALUES.items()
    ],
    early(
        "value-before-table",
        {"TableName": "<GONE>", "Key": {"p": {"N": "x"}}},
        "The parameter cannot be converted to a numeric value: x",
    ),
    early(
        "expression-before-table",
        {**when(""), "TableName": "<GONE>"},
        "Invalid ConditionExpression: The expression can not be empty;",
    ),
    refused("value-before-expression", {**when(""), "Key": {"p": {}}}, BAD_VALUES["empty"][1]),
    early(
        "mixed",
        when("attribute_exists(a)", Expected={"a": {"Exists": False}}),
        "Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}",
        f"{PARITY}/error-messages/deleteItem.test.ts",
    ),
]

SUCCESSES: Final = [
    Case(name="deletes", request=DELETE, given=[OLD], answer={}, then=None, source=DOC),
    Case(name="deletes-nothing", request=DELETE, answer={}, then=None, source=DOC),
    Case(
        name="returns-none",
        request={**DELETE, "ReturnValues": "NONE"},
        given=[OLD],
        answer={},
        then=None,
        source=DOC,
    ),
    Case(
        name="returns-all-old",
        request={**DELETE, "ReturnValues": "ALL_OLD"},
        given=[OLD],
        answer={"Attributes": OLD},
        then=None,
        source=DOC,
    ),
    Case(
        name="returns-all-old-of-nothing",
        request={**DELETE, "ReturnValues": "ALL_OLD"},
        answer={},
        source=SOURCE,
    ),
    Case(
        name="of-its-sort-key-only",
        request={"TableName": "<PC>", "Key": {**P, "c": {"S": "1"}}},
        given=[{**P, "c": {"S": "1"}}, {**P, "c": {"S": "10"}}],
        answer={},
        then=None,
        source=DOC,
    ),
    Case(
        name="number-key-spelled-otherwise",
        request={"TableName": "<PN>", "Key": {**P, "c": {"N": "1e1"}}, "ReturnValues": "ALL_OLD"},
        given=[{**P, "c": {"N": "10"}}],
        answer={"Attributes": {**P, "c": {"N": "10"}}},
        source=DOC,
    ),
    Case(
        name="condition-holds",
        request=when("a = :a", {":a": {"S": "old"}}),
        given=[OLD],
        answer={},
        then=None,
        source=SOURCE,
    ),
    Case(
        name="condition-fails",
        request=when("a = :a", {":a": {"S": "new"}}),
        given=[OLD],
        error=CONDITION_FAILED,
        then=OLD,
        source=SOURCE,
    ),
    Case(
        name="condition-on-nothing-fails",
        request=when("attribute_exists(p)"),
        error=CONDITION_FAILED,
        source=SOURCE,
    ),
    Case(
        name="condition-on-nothing-holds",
        request=when("attribute_not_exists(p)"),
        answer={},
        source=SOURCE,
    ),
    Case(
        name="condition-on-names",
        request=when("#a = :a", {":a": {"S": "old"}}, ExpressionAttributeNames={"#a": "a"}),
        given=[OLD],
        answer={},
        then=None,
        source=SOURCE,
    ),
    *[
        Case(
            name=f"capacity-of-{size}",
            request={**DELETE, "ReturnConsumedCapacity": "TOTAL"},
            given=[{**P, "a": {"S": "a" * size}}] if size else [],
            answer={"ConsumedCapacity": capacity(units)},
            then=None,
            source="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
            "read-write-operations.html",
        )
        for size, units in ((0, 1), (1, 1), (1000, 1), (1024, 2), (10_000, 10))
    ],
    Case(
        name="capacity-indexes",
        request={**DELETE, "ReturnConsumedCapacity": "INDEXES"},
        answer={"ConsumedCapacity": capacity_of_table(1)},
        source=SOURCE,
    ),
    Case(
        name="collection-metrics-without-index",
        request={**DELETE, "ReturnItemCollectionMetrics": "SIZE"},
        answer={},
        source=DOC,
    ),
]


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CONSTRAINTS, ids=name_of)
def test_constraints(tables: Tables, case: Case) -> None:
    """What the model forbids is refused, then what the request alone tells, then the table."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", condition_cases(DELETE, "ConditionExpression"), ids=name_of)
def test_refused_conditions(tables: Tables, case: Case) -> None:
    """A condition that cannot be is refused."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", SUCCESSES, ids=name_of)
def test_successes(tables: Tables, case: Case) -> None:
    """A delete takes the item away if its condition holds, and answers what was asked for."""
    run(tables, OP, case)


def test_a_failed_condition_shows_the_item(tables: Tables) -> None:
    """ReturnValuesOnConditionCheckFailure ALL_OLD gives the item that failed it (API page)."""
    request = when("attribute_not_exists(a)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    case = Case(name="", request=request, given=[OLD], error=CONDITION_FAILED, source=DOC)
    assert run(tables, OP, case).body["Item"]["a"] == OLD["a"]
