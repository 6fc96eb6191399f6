"""PutItem, case by case; every case names the public source of its answer."""

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
from tests.support.dynamodb_conditions import ITEM, TRUTHS, condition_cases
from tests.support.dynamodb_members import (
    CAPTURES,
    NOT_NULL,
    PARITY,
    RETURN_VALUES,
    capacity,
    capacity_of_table,
    enum_cases,
    enumeration,
    return_values_cases,
    table_name_cases,
)
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_values import (
    BAD_EXPONENTS,
    BAD_VALUES,
    EXPONENTS,
    GOOD_VALUES,
    LAYERS,
    LIMITS,
    NUMBERS,
    PARITY_NUMBERS,
    WRITTEN_VALUES,
    nested,
)

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "PutItem"
SOURCE: Final = "dynalite test/putItem.js"
ENVELOPE: Final = f"{PARITY}/error-messages/putItem.test.ts; {SOURCE}"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html"
P: Final[dict[str, Any]] = {"p": {"S": "<ID>"}}
PUT: Final[dict[str, Any]] = {"TableName": "<P>", "Item": P}


def put(table: str = "P", **attributes: Any) -> dict[str, Any]:
    """Spell a request that puts these attributes."""
    return {"TableName": f"<{table}>", "Item": attributes}


def refused(name: str, request: dict[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def early(name: str, request: dict[str, Any], text: str, source: str = ENVELOPE) -> Case:
    """Make a case of what the request alone tells, which has an envelope."""
    return refused(name, request, enveloped(text), source)


CONSTRAINTS: Final = [
    *table_name_cases(OP, PUT),
    *enum_cases(
        OP,
        PUT,
        "ReturnConsumedCapacity",
        "ReturnItemCollectionMetrics",
        "ConditionalOperator",
    ),
    *return_values_cases(PUT),
    Case(
        name="ReturnValuesOnConditionCheckFailure-is-hi",
        request=copies(PUT, ReturnValuesOnConditionCheckFailure="hi"),
        error=violated(("hi", "returnValuesOnConditionCheckFailure", enumeration("ALL_OLD, NONE"))),
        source=DOC,
    ),
    Case(
        name="no-item",
        request={"TableName": "<P>"},
        error=violated((None, "item", NOT_NULL)),
        source=SOURCE,
    ),
    Case(
        name="null-item",
        request={"TableName": "<P>", "Item": None},
        error=violated((None, "item", NOT_NULL)),
        source=SOURCE,
    ),
    Case(
        name="nothing",
        request={},
        # The two texts in the order of a Java hash map, as those below.
        error=violated((None, "item", NOT_NULL), (None, "tableName", NOT_NULL)),
        source=CAPTURES,
    ),
    Case(
        name="several-in-order",
        request=copies(
            PUT,
            ReturnValues="hi",
            ReturnItemCollectionMetrics="hi",
            ReturnConsumedCapacity="hi",
        ),
        error=invalid(
            "3 validation errors detected: Value 'hi' at 'returnConsumedCapacity' failed to "
            "satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]; "
            f"{RETURN_VALUES}; Value 'hi' at 'returnItemCollectionMetrics' failed to satisfy "
            "constraint: Member must satisfy enum value set: [SIZE, NONE]"
        ),
        source=CAPTURES,
    ),
    Case(
        name="comparison-operator",
        request=copies(PUT, Expected={"a": {"ComparisonOperator": "hi"}}),
        error=violated(
            (
                "hi",
                "expected.a.member.comparisonOperator",
                enumeration(
                    "IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, "
                    "GE, CONTAINS"
                ),
            )
        ),
        source=SOURCE,
    ),
    *[
        early(
            f"returns-{value}",
            copies(PUT, ReturnValues=value),
            "ReturnValues can only be ALL_OLD or NONE",
        )
        for value in ("ALL_NEW", "UPDATED_NEW", "UPDATED_OLD")
    ],
    refused(
        "value-before-return-values",
        copies(PUT, ReturnValues="ALL_NEW", Item={"a": {}}),
        BAD_VALUES["empty"][1],
    ),
    early(
        "return-values-before-size",
        copies(PUT, ReturnValues="ALL_NEW", Item={"a": {"S": "a" * 409_600}}),
        "ReturnValues can only be ALL_OLD or NONE",
    ),
    refused(
        "size-before-table",
        put("GONE", a={"S": "a" * 409_600}),
        "Item size has exceeded the maximum allowed size",
    ),
    early(
        "value-before-table",
        put("GONE", a={"N": "x"}),
        "The parameter cannot be converted to a numeric value: x",
    ),
    early(
        "expression-before-table",
        copies(put("GONE", **P), ConditionExpression=""),
        "Invalid ConditionExpression: The expression can not be empty;",
    ),
]

VALUES: Final = [
    *[
        refused(f"value-{name}", put(**P, a=value), text, LAYERS)
        for name, (value, text) in WRITTEN_VALUES.items()
    ],
    *[
        early(f"exponent-{given}", put(**P, a={"N": given}), text, f"{EXPONENTS}; {LAYERS}")
        for given, text in BAD_EXPONENTS.items()
    ],
    *[
        Case(
            name=f"keeps-{name}",
            request=put(**P, a=value),
            answer={},
            then={**P, "a": value},
            source=DOC,
        )
        for name, value in GOOD_VALUES.items()
    ],
    *[
        Case(
            name=f"number-{given}",
            request=put(**P, a={"N": given}),
            answer={},
            then={**P, "a": {"N": kept}},
            source=PARITY_NUMBERS,
        )
        for given, kept in NUMBERS.items()
    ],
    *[
        Case(
            name=f"number-in-{where}",
            request=put(**P, a=given),
            answer={},
            then={**P, "a": kept},
            source=LIMITS,
        )
        for where, given, kept in (
            ("set", {"NS": ["1.0", "2e1"]}, {"NS": ["1", "20"]}),
            ("list", {"L": [{"N": "1.50"}]}, {"L": [{"N": "1.5"}]}),
            ("map", {"M": {"k": {"N": "1e2"}}}, {"M": {"k": {"N": "100"}}}),
            ("set-in-map", {"M": {"k": {"NS": ["00.5"]}}}, {"M": {"k": {"NS": ["0.5"]}}}),
        )
    ],
    Case(
        name="nesting-32",
        request=put(**P, a=nested(31)),
        answer={},
        then={**P, "a": nested(31)},
        source="DynamoDB developer guide, Constraints, attributes",
    ),
    early(
        "nesting-33",
        put(**P, a=nested(32)),
        "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels "
        "beyond supported limit",
        "paritysuite/dynamodb-conformance tests/tier3/limits",
    ),
]

OLD: Final[dict[str, Any]] = {**P, "a": {"S": "old"}}
SUCCESSES: Final = [
    Case(name="no-return-values", request=put(**P), given=[OLD], answer={}, then=P, source=DOC),
    Case(
        name="returns-none",
        request={**PUT, "ReturnValues": "NONE"},
        given=[OLD],
        answer={},
        source=DOC,
    ),
    Case(
        name="returns-all-old",
        request={**PUT, "ReturnValues": "ALL_OLD"},
        given=[OLD],
        answer={"Attributes": OLD},
        then=P,
        source="LocalStack tests/aws/services/dynamodb/test_dynamodb.snapshot.json "
        "test_return_values_in_put_item",
    ),
    Case(
        name="returns-all-old-of-nothing",
        request={**PUT, "ReturnValues": "ALL_OLD"},
        answer={},
        source="LocalStack test_dynamodb.snapshot.json test_return_values_in_put_item",
    ),
    Case(
        name="unknown-member-is-ignored",
        request={**PUT, "Unknown": 1},
        answer={},
        source="dynalite validations/index.js checkTypes",
    ),
    Case(
        name="null-members-are-absent",
        request={**PUT, "ReturnValues": None, "ConditionExpression": None, "Expected": None},
        answer={},
        source="dynalite validations/index.js checkTypes",
    ),
    Case(
        name="collection-metrics-without-index",
        request={**PUT, "ReturnItemCollectionMetrics": "SIZE"},
        answer={},
        source=f"{PARITY.replace('tier3', 'tier1')}/putItem/itemCollectionMetrics.test.ts",
    ),
    *[
        Case(
            name=f"capacity-{name}",
            request={**put(**P, a={"S": "a" * size}), "ReturnConsumedCapacity": "TOTAL"},
            given=[{**P, "a": {"S": "b" * old}}] if old else [],
            answer={"ConsumedCapacity": capacity(units)},
            source=DOC,
        )
        # `p`, `a` and a key of about ten bytes stand beside the value.
        for name, size, old, units in (
            ("of-nothing-before", 1, 0, 1),
            ("just-1-kb", 1000, 0, 1),
            ("over-1-kb", 1024, 0, 2),
            ("of-2-kb", 2000, 0, 2),
            ("larger-before", 1, 2000, 2),
            ("of-10-kb", 10_000, 1, 10),
        )
    ],
    Case(
        name="capacity-indexes",
        request={**PUT, "ReturnConsumedCapacity": "INDEXES"},
        answer={"ConsumedCapacity": capacity_of_table(1)},
        source=SOURCE,
    ),
    Case(
        name="capacity-none",
        request={**PUT, "ReturnConsumedCapacity": "NONE"},
        answer={},
        source=SOURCE,
    ),
    Case(
        name="capacity-with-old",
        request={**PUT, "ReturnConsumedCapacity": "TOTAL", "ReturnValues": "ALL_OLD"},
        given=[OLD],
        answer={"Attributes": OLD, "ConsumedCapacity": capacity(1)},
        source=SOURCE,
    ),
]


def when(expression: str, values: object = None, **more: Any) -> dict[str, Any]:
    """Spell a conditional put."""
    given = {"ExpressionAttributeValues": values} if values else {}
    return {**PUT, "ConditionExpression": expression, **given, **more}


MIXED: Final = (
    "Can not use both expression and non-expression parameters in the same request: "
    "Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}"
)
CONDITIONS: Final = [
    *condition_cases(PUT, "ConditionExpression"),
    Case(
        name="condition-holds",
        request=when("a = :a", {":a": {"S": "old"}}),
        given=[OLD],
        answer={},
        then=P,
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
        name="condition-fails-on-nothing",
        request=when("attribute_exists(p)"),
        error=CONDITION_FAILED,
        source=SOURCE,
    ),
    Case(
        name="condition-of-nothing-holds",
        request=when("attribute_not_exists(p)"),
        answer={},
        then=P,
        source=SOURCE,
    ),
    Case(
        name="condition-fails-on-key",
        request=when("attribute_not_exists(p)"),
        given=[OLD],
        error=CONDITION_FAILED,
        then=OLD,
        source=SOURCE,
    ),
    early("mixed", {**when("attribute_exists(a)"), "Expected": {"a": {"Exists": False}}}, MIXED),
    early("mixed-before-values", {**when("a"), "Item": {"p": {}}, "Expected": {}}, MIXED),
]


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CONSTRAINTS, ids=name_of)
def test_constraints(tables: Tables, case: Case) -> None:
    """What the model forbids is refused, in the service's order."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", VALUES, ids=name_of)
def test_items(tables: Tables, case: Case) -> None:
    """An item that cannot be is refused; one that can comes back as the service spells it."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", SUCCESSES, ids=name_of)
def test_successes(tables: Tables, case: Case) -> None:
    """A put answers what was asked for and no more."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CONDITIONS, ids=name_of)
def test_conditions(tables: Tables, case: Case) -> None:
    """A put happens if its condition holds; a condition that cannot be is refused."""
    run(tables, OP, case)


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: f"{truth.expression} {truth.values}")
def test_truths(tables: Tables, truth: Any) -> None:
    """Each function and operator is as true of an item as the service finds it."""
    item = {**P, **ITEM}
    values = {"ExpressionAttributeValues": truth.values} if truth.values else {}
    request = {
        **put(**P, replaced={"BOOL": True}),
        "ConditionExpression": truth.expression,
        **values,
    }
    then = {**P, "replaced": {"BOOL": True}} if truth.holds else item
    error = None if truth.holds else CONDITION_FAILED
    case = Case(
        name="truth", request=request, given=[item], error=error, then=then, source=truth.source
    )
    run(tables, OP, case)


def test_a_failed_condition_shows_the_item(tables: Tables) -> None:
    """ReturnValuesOnConditionCheckFailure ALL_OLD gives the item that failed it (AWS API page)."""
    request = when("attribute_not_exists(p)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    case = Case(name="", request=request, given=[OLD], error=CONDITION_FAILED, source=DOC)
    answer = run(tables, OP, case)
    assert answer.body["Item"]["a"] == {"S": "old"}


def test_a_failed_condition_on_nothing_shows_nothing(tables: Tables) -> None:
    """There is no `Item` in the error if there was none in the table (AWS API page)."""
    request = when("attribute_exists(p)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    case = Case(name="", request=request, error=CONDITION_FAILED, source=DOC)
    assert "Item" not in run(tables, OP, case).body
