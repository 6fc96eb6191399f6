"""UpdateItem, case by case; every case names the public source of its answer."""

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
    key_cases,
    return_values_cases,
    table_name_cases,
)
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_updates import BAD_FOR_ITEM, BAD_UPDATES, CHANGES
from tests.support.dynamodb_values import BAD_VALUES, LAYERS, WRITTEN_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "UpdateItem"
SOURCE: Final = "dynalite test/updateItem.js"
ENVELOPE: Final = f"{CAPTURES}; {SOURCE}"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html"
P: Final[dict[str, Any]] = {"p": {"S": "<ID>"}}
TOUCH: Final[dict[str, Any]] = {"TableName": "<P>", "Key": P}
FULL: Final[dict[str, Any]] = {**P, **ITEM}
INVALID: Final = "One or more parameter values were invalid: "


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def early(name: str, request: Mapping[str, Any], text: str, source: str = ENVELOPE) -> Case:
    """Make a case of what the request alone tells, which has an envelope."""
    return refused(name, request, enveloped(text), source)


def update(expression: str, values: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Spell an update."""
    given = {"ExpressionAttributeValues": values} if values else {}
    return {**TOUCH, "UpdateExpression": expression, **given, **more}


CONSTRAINTS: Final = [
    *table_name_cases(OP, TOUCH),
    *enum_cases(
        OP,
        TOUCH,
        "ReturnConsumedCapacity",
        "ReturnItemCollectionMetrics",
        "ConditionalOperator",
    ),
    *return_values_cases(TOUCH),
    *key_cases({"UpdateExpression": "REMOVE a"}),
    Case(
        name="no-key",
        request={"TableName": "<P>"},
        error=violated((None, "key", NOT_NULL)),
        source=SOURCE,
    ),
    Case(
        name="nothing",
        request={},
        error=violated((None, "tableName", NOT_NULL), (None, "key", NOT_NULL)),
        source=SOURCE,
    ),
    Case(
        name="several-in-order",
        request=copies(TOUCH, ReturnConsumedCapacity="hi", ReturnValues="hi"),
        error=invalid(f"1 validation error detected: {RETURN_VALUES}"),
        source=CAPTURES,
    ),
    Case(
        name="several-and-no-key",
        request={"TableName": "", "ReturnConsumedCapacity": "hi", "ReturnValues": "hi"},
        error=violated(
            ("hi", "returnConsumedCapacity", enumeration("INDEXES, TOTAL, NONE")),
            ("", "tableName", "Member must have length greater than or equal to 1"),
            (
                "hi",
                "returnValues",
                enumeration("ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW"),
            ),
            (None, "key", NOT_NULL),
        ),
        source=f"{PARITY}/validation-ordering/updateItem.test.ts",
    ),
    *[
        refused(f"key-value-{name}", copies(TOUCH, Key={"p": value}), text, LAYERS)
        for name, (value, text) in WRITTEN_VALUES.items()
    ],
    early(
        "value-before-table",
        {"TableName": "<GONE>", "Key": {"p": {"N": "x"}}},
        "The parameter cannot be converted to a numeric value: x",
    ),
    early(
        "expression-before-table",
        {**update(""), "TableName": "<GONE>"},
        "Invalid UpdateExpression: The expression can not be empty;",
    ),
    early(
        "update-before-condition",
        update("", ConditionExpression=""),
        "Invalid UpdateExpression: The expression can not be empty;",
    ),
    refused(
        "key-value-before-expression", {**update(""), "Key": {"p": {}}}, BAD_VALUES["empty"][1]
    ),
    refused(
        "updates-key",
        update("SET p = :a", {":a": {"S": "a"}}),
        INVALID + "Cannot update attribute p. This attribute is part of the key",
    ),
    refused(
        "removes-key",
        update("REMOVE p"),
        INVALID + "Cannot update attribute p. This attribute is part of the key",
    ),
    refused(
        "updates-sort-key",
        {
            **update("SET c = :a", {":a": {"S": "a"}}),
            "TableName": "<PC>",
            "Key": {**P, "c": {"S": "a"}},
        },
        INVALID + "Cannot update attribute c. This attribute is part of the key",
        f"{PARITY}/error-messages/updateItem.test.ts",
    ),
    refused(
        "updates-index-key",
        {
            **update("SET x = :a", {":a": {"N": "1"}}),
            "TableName": "<INDEXED>",
            "Key": {**P, "c": {"S": "a"}},
        },
        INVALID + "Type mismatch for Index Key x Expected: S Actual: N IndexName: gsi",
    ),
    early(
        "mixed",
        update("REMOVE a", AttributeUpdates={"a": {"Action": "DELETE"}}),
        "Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {AttributeUpdates} Expression parameters: "
        "{UpdateExpression}",
    ),
    early(
        "mixed-all",
        update("REMOVE a", AttributeUpdates={}, Expected={}, ConditionExpression="a"),
        "Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {AttributeUpdates, Expected} Expression parameters: "
        "{UpdateExpression, ConditionExpression}",
    ),
]

EXPRESSIONS: Final = [
    *[
        early(
            f"update-{bad.name}",
            update(bad.expression, bad.values),
            f"Invalid UpdateExpression: {bad.text}",
            bad.source,
        )
        for bad in BAD_UPDATES
    ],
    *condition_cases(TOUCH, "ConditionExpression"),
    *[
        refused(f"for-item-{expression}-{values}", {**update(expression, values)}, text)
        for expression, values, text in BAD_FOR_ITEM
    ],
]
# These look at an item, which must be there before.
EXPRESSIONS[-len(BAD_FOR_ITEM) :] = [
    Case(
        name=case.name,
        request=case.request,
        error=case.error,
        given=[FULL],
        then=FULL,
        source=case.source,
    )
    for case in EXPRESSIONS[-len(BAD_FOR_ITEM) :]
]

CHANGED: Final = [
    Case(
        name=f"{change.expression} {change.values}",
        request=update(change.expression, change.values),
        given=[FULL],
        answer={},
        then={k: v for k, v in {**FULL, **change.changes}.items() if v is not None},
        source=change.source,
    )
    for change in CHANGES
]

OLD: Final[dict[str, Any]] = {
    **P,
    "a": {"N": "1"},
    "b": {"S": "b"},
    "m": {"M": {"k": {"N": "1"}, "j": {"N": "2"}}},
    "l": {"L": [{"N": "1"}, {"N": "2"}]},
}
NEW: Final = {**OLD, "a": {"N": "2"}}


def returns(
    kind: str, expression: str, attributes: Mapping[str, Any] | None, source: str = DOC
) -> Case:
    """Make a case of ReturnValues on `OLD`; `:a` is 2."""
    values = {":a": {"N": "2"}} if ":a" in expression else None
    return Case(
        name=f"{kind}-of-{expression}",
        request=update(expression, values, ReturnValues=kind),
        given=[OLD],
        answer={} if attributes is None else {"Attributes": attributes},
        source=source,
    )


RETURNVALUES: Final = "Alternator test/alternator/test_returnvalues.py"
RETURNED: Final = [
    returns("NONE", "SET a = :a", None),
    returns("ALL_OLD", "SET a = :a", OLD),
    returns("ALL_NEW", "SET a = :a", NEW),
    returns("UPDATED_OLD", "SET a = :a", {"a": {"N": "1"}}),
    returns("UPDATED_NEW", "SET a = :a", {"a": {"N": "2"}}),
    returns("UPDATED_OLD", "SET fresh = :a", None, RETURNVALUES),
    returns("UPDATED_NEW", "SET fresh = :a", {"fresh": {"N": "2"}}, RETURNVALUES),
    returns("UPDATED_OLD", "REMOVE a", {"a": {"N": "1"}}, RETURNVALUES),
    returns("UPDATED_NEW", "REMOVE a", None, RETURNVALUES),
    returns("UPDATED_NEW", "SET b = :a REMOVE a", {"b": {"N": "2"}}, RETURNVALUES),
    returns("UPDATED_OLD", "SET b = :a REMOVE a", {"a": {"N": "1"}, "b": {"S": "b"}}, RETURNVALUES),
    returns("UPDATED_OLD", "SET m.k = :a", {"m": {"M": {"k": {"N": "1"}}}}, RETURNVALUES),
    returns("UPDATED_NEW", "SET m.k = :a", {"m": {"M": {"k": {"N": "2"}}}}, RETURNVALUES),
    returns(
        "UPDATED_NEW",
        "SET m.k = :a, m.fresh = :a",
        {"m": {"M": {"k": {"N": "2"}, "fresh": {"N": "2"}}}},
        "paritysuite/dynamodb-conformance tests/tier1/updateItem/paths.test.ts",
    ),
    returns("UPDATED_OLD", "SET l[1] = :a", {"l": {"L": [{"N": "2"}]}}, RETURNVALUES),
    returns("UPDATED_NEW", "ADD a :a", {"a": {"N": "3"}}),
    returns("ALL_NEW", "REMOVE gone", OLD),
    Case(
        name="ALL_OLD-of-nothing",
        request=update("SET a = :a", {":a": {"N": "2"}}, ReturnValues="ALL_OLD"),
        answer={},
        then={**P, "a": {"N": "2"}},
        source=RETURNVALUES,
    ),
    Case(
        name="UPDATED_OLD-of-nothing",
        request=update("SET a = :a", {":a": {"N": "2"}}, ReturnValues="UPDATED_OLD"),
        answer={},
        source=RETURNVALUES,
    ),
    Case(
        name="ALL_NEW-of-nothing",
        request=update("SET a = :a", {":a": {"N": "2"}}, ReturnValues="ALL_NEW"),
        answer={"Attributes": {**P, "a": {"N": "2"}}},
        source=RETURNVALUES,
    ),
    Case(name="touch-makes-an-item", request=TOUCH, answer={}, then=P, source=SOURCE),
    Case(
        name="touch-keeps-an-item", request=TOUCH, given=[OLD], answer={}, then=OLD, source=SOURCE
    ),
    Case(
        name="touch-ALL_NEW",
        request={**TOUCH, "ReturnValues": "ALL_NEW"},
        answer={"Attributes": P},
        source=SOURCE,
    ),
    Case(
        name="remove-of-nothing-makes-nothing",
        request=update("REMOVE a"),
        answer={},
        then=None,
        source="Alternator test/alternator/test_item.py::test_update_item_non_existent",
    ),
    Case(
        name="condition-fails",
        request=update("SET a = :a", {":a": {"N": "2"}}, ConditionExpression="b = :a"),
        given=[OLD],
        error=CONDITION_FAILED,
        then=OLD,
        source=SOURCE,
    ),
    Case(
        name="condition-on-nothing-fails",
        request={**TOUCH, "ConditionExpression": "attribute_exists(p)"},
        error=CONDITION_FAILED,
        source=SOURCE,
    ),
    Case(
        name="condition-before-update",
        request=update("SET a = gone", ConditionExpression="attribute_not_exists(p)"),
        given=[OLD],
        error=CONDITION_FAILED,
        then=OLD,
        source="dynalite actions/updateItem.js",
    ),
    *[
        Case(
            name=f"capacity-{name}",
            request=update("SET a = :a", {":a": {"S": "a" * new}}, ReturnConsumedCapacity="TOTAL"),
            given=[{**P, "a": {"S": "b" * old}}] if old else [],
            answer={"ConsumedCapacity": capacity(units)},
            source="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
            "read-write-operations.html",
        )
        for name, old, new, units in (
            ("small", 0, 1, 1),
            ("of-1-kb", 0, 1000, 1),
            ("over-1-kb", 0, 1024, 2),
            ("larger-before", 3000, 1, 3),
            ("larger-after", 1, 3000, 3),
        )
    ],
    Case(
        name="capacity-indexes",
        request={**TOUCH, "ReturnConsumedCapacity": "INDEXES"},
        answer={"ConsumedCapacity": capacity_of_table(1)},
        source=SOURCE,
    ),
    refused(
        "too-large",
        update("SET a = :a", {":a": {"S": "a" * 409_600}}),
        "Item size to update has exceeded the maximum allowed size",
    ),
    *[
        refused(
            f"number-overflow-{sign}",
            update(
                f"SET a = :a {sign} :b",
                {":a": {"N": f"{sign}9.9e125".lstrip("+")}, ":b": {"N": "9.9e125"}},
            ),
            "Number overflow. Attempting to store a number with magnitude larger than supported "
            "range",
            "paritysuite/dynamodb-conformance tests/tier3/limits/numberPrecision.test.ts",
        )
        for sign, first in (("+", "9.9e125"), ("-", "-9.9e125"))
    ],
]


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CONSTRAINTS, ids=name_of)
def test_constraints(tables: Tables, case: Case) -> None:
    """What the model forbids is refused, then what the request alone tells, then the table."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", EXPRESSIONS, ids=name_of)
def test_refused_expressions(tables: Tables, case: Case) -> None:
    """An update or a condition that cannot be is refused, and the item stays."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CHANGED, ids=name_of)
def test_changes(tables: Tables, case: Case) -> None:
    """An update makes of the item what the developer guide says."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", RETURNED, ids=name_of)
def test_answers(tables: Tables, case: Case) -> None:
    """An update answers the values that were asked for, and what it costs."""
    run(tables, OP, case)


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: f"{truth.expression} {truth.values}")
def test_truths(tables: Tables, truth: Any) -> None:
    """Each function and operator is as true of an item as the service finds it."""
    values = {"ExpressionAttributeValues": truth.values} if truth.values else {}
    request = {**TOUCH, "ConditionExpression": truth.expression, **values}
    error = None if truth.holds else CONDITION_FAILED
    case = Case(name="", request=request, given=[FULL], error=error, then=FULL, source=truth.source)
    run(tables, OP, case)


def test_a_failed_condition_shows_the_item(tables: Tables) -> None:
    """ALL_OLD gives the item that failed it (LocalStack test_dynamodb.snapshot.json)."""
    request = update(
        "SET a = :a",
        {":a": {"N": "2"}},
        ConditionExpression="attribute_not_exists(a)",
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    case = Case(name="", request=request, given=[OLD], error=CONDITION_FAILED, source=DOC)
    assert run(tables, OP, case).body["Item"]["b"] == OLD["b"]
