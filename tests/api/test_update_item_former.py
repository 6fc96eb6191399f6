"""AttributeUpdates of UpdateItem, and what the comparisons of Expected are true of, case by case.

Every case names the public source of its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import (
    CONDITION_FAILED,
    NOT_FOUND,
    Case,
    enveloped,
    invalid,
    name_of,
    run,
)
from tests.support.dynamodb_conditions import ITEM
from tests.support.dynamodb_former import (
    EXTENDDB,
    INVALID,
    LOCAL,
    MISMATCH,
    PARITY,
    TRUTHS,
    UPDATES,
    Comparison,
    b,
    condition,
    n,
    s,
)
from tests.support.dynamodb_former import VALUES as OF_TYPE
from tests.support.dynamodb_values import BAD_VALUES, LAYERS, WRITTEN_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "UpdateItem"
SOURCE: Final = "dynalite test/updateItem.js"
P: Final[dict[str, Any]] = {"p": {"S": "<ID>"}}
FULL: Final[dict[str, Any]] = {**P, **ITEM}
DELETED: Final = f"{UPDATES}::test_update_item_delete"
ADDED: Final = f"{UPDATES}::test_update_item_add"
RETURNVALUES: Final = "Alternator test/alternator/test_returnvalues.py"


def update(updates: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Spell a request."""
    return {"TableName": "<P>", "Key": P, "AttributeUpdates": updates, **more}


def put(value: Any) -> dict[str, Any]:
    """Spell a PUT."""
    return {"Action": "PUT", "Value": value}


def add(value: Any) -> dict[str, Any]:
    """Spell an ADD."""
    return {"Action": "ADD", "Value": value}


def delete(value: Any = None) -> dict[str, Any]:
    """Spell a DELETE, of some elements or of all."""
    return {"Action": "DELETE"} if value is None else {"Action": "DELETE", "Value": value}


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case that is refused before the item is looked at."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def early(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of what the request alone tells, which has an envelope."""
    return refused(name, request, enveloped(text), source)


REFUSED: Final = [
    *[
        early(
            f"no-value-{name}",
            update({"a": given}),
            f"{INVALID}Only DELETE action is allowed when no attribute value is specified",
        )
        for name, given in {
            "at-all": {},
            "for-put": {"Action": "PUT"},
            "for-add": {"Action": "ADD"},
            "but-unknown": {"x": "whatever"},
        }.items()
    ],
    *[
        early(
            f"delete-of-{tag}",
            update({"a": delete(OF_TYPE[tag])}),
            f"{INVALID}DELETE action with value is not supported for the type {tag}",
        )
        for tag in ("S", "N", "B", "NULL", "BOOL", "M", "L")
    ],
    *[
        early(
            f"add-of-{tag}",
            update({"a": add(OF_TYPE[tag])}),
            f"{INVALID}ADD action is not supported for the type {tag}",
        )
        for tag in ("S", "B", "NULL", "BOOL", "M")
    ],
    *[
        refused(f"value-{name}", update({"a": put(value)}), text, LAYERS)
        for name, (value, text) in WRITTEN_VALUES.items()
    ],
    *[
        refused(
            f"action-{action or 'empty'}",
            update({"a": {"Action": action, "Value": n(1)}}),
            f"1 validation error detected: Value '{action}' at "
            "'attributeUpdates.a.member.action' failed to satisfy constraint: Member must satisfy "
            "enum value set: [ADD, DELETE, PUT]",
            "DynamoDB local, ErrorFactory.INVALID_ACTION_TYPE",
        )
        for action in ("SET", "put", "")
    ],
    early(
        "value-before-action",
        update({"a": delete({"S": "a", "N": "b"})}),
        "The parameter cannot be converted to a numeric value: b",
    ),
    early(
        "updates-before-expected",
        update({"a": {}}, Expected={"a": {}}),
        f"{INVALID}Only DELETE action is allowed when no attribute value is specified",
    ),
    early(
        "expected-before-table",
        {**update({"a": delete()}, Expected={"a": {}}), "TableName": "<GONE>"},
        f"{INVALID}Value must be provided when Exists is null for Attribute: a",
    ),
    refused(
        "key-value-before-updates",
        {**update({"a": {}}), "Key": {"p": {}}},
        BAD_VALUES["empty"][1],
    ),
    Case(
        name="table-before-key",
        request={**update({"a": delete()}), "TableName": "<GONE>", "Key": {"q": n(1)}},
        error=NOT_FOUND,
        source=SOURCE,
    ),
    *[
        refused(
            f"{name}-of-the-key",
            update({"p": given}),
            f"{INVALID}Cannot update attribute p. This attribute is part of the key",
            f"{PARITY}/attributeUpdates; {SOURCE}",
        )
        for name, given in {"put": put(s("a")), "delete": delete(), "add": add(n(1))}.items()
    ],
    refused(
        "put-of-the-sort-key",
        {**update({"c": put(s("a"))}), "TableName": "<PC>", "Key": {**P, "c": s("c")}},
        f"{INVALID}Cannot update attribute c. This attribute is part of the key",
    ),
    refused(
        "type-of-an-index-key",
        {**update({"x": put(n(1))}), "TableName": "<INDEXED>", "Key": {**P, "c": s("c")}},
        f"{INVALID}Type mismatch for Index Key x Expected: S Actual: N IndexName: gsi",
    ),
    refused(
        "add-of-a-list-to-an-index-key",
        {**update({"y": add({"L": []})}), "TableName": "<INDEXED>", "Key": {**P, "c": s("c")}},
        f"{INVALID}Type mismatch for Index Key y Expected: N Actual: L IndexName: gsi",
    ),
    refused(
        "empty-index-key",
        {**update({"x": put(s(""))}), "TableName": "<INDEXED>", "Key": {**P, "c": s("c")}},
        "One or more parameter values are not valid. A value specified for a secondary index key "
        "is not supported. The AttributeValue for a key attribute cannot contain an empty string "
        "value. IndexName: gsi, IndexKey: x",
        "DynamoDB local, validateIndexKeyAttributeValuesBeforePuttingFinalRecordToDB",
    ),
    refused(
        "too-large",
        update({"a": put(s("a" * 409_600))}),
        "Item size to update has exceeded the maximum allowed size",
        LOCAL,
    ),
    early(
        "names-with-updates",
        update({"a": put(n(1))}, ExpressionAttributeNames={"#a": "a"}),
        "ExpressionAttributeNames can only be specified when using expressions",
        f"{UPDATES}::test_unused_entries_no_expression; {SOURCE}",
    ),
    early(
        "values-with-updates",
        update({"a": put(n(1))}, ExpressionAttributeValues={":a": n(1)}),
        "ExpressionAttributeValues can only be specified when using expressions",
        f"{UPDATES}::test_unused_entries_no_expression; {SOURCE}",
    ),
]
MIXED: Final = [
    early(
        name,
        request,
        "Can not use both expression and non-expression parameters in the same request: "
        f"Non-expression parameters: {{{former}}} Expression parameters: {{{expressions}}}",
        EXTENDDB,
    )
    for name, request, former, expressions in (
        (
            "updates-with-update",
            update({"a": put(n(1))}, UpdateExpression="REMOVE a"),
            "AttributeUpdates",
            "UpdateExpression",
        ),
        (
            "updates-with-condition",
            update({"a": put(n(1))}, ConditionExpression="attribute_exists(p)"),
            "AttributeUpdates",
            "ConditionExpression",
        ),
        (
            "expected-with-update",
            {
                "TableName": "<P>",
                "Key": P,
                "Expected": {"a": condition("EQ", n(1))},
                "UpdateExpression": "REMOVE a",
            },
            "Expected",
            "UpdateExpression",
        ),
        (
            "all",
            update(
                {},
                Expected={},
                ConditionalOperator="OR",
                UpdateExpression="",
                ConditionExpression="",
                ExpressionAttributeValues={},
            ),
            "AttributeUpdates, Expected, ConditionalOperator",
            "UpdateExpression, ConditionExpression",
        ),
    )
]


def change(
    name: str,
    updates: Mapping[str, Any],
    changed: Mapping[str, Any],
    source: str,
    **more: Any,
) -> Case:
    """Make a case of what an update makes of `FULL`; None drops an attribute."""
    then = {key: value for key, value in {**FULL, **changed}.items() if value is not None}
    return Case(
        name=name,
        request=update(updates, **more),
        given=[FULL],
        answer={},
        then=then,
        source=source,
    )


CHANGES: Final = [
    *[
        change(
            f"put-{tag}",
            {"a": put(OF_TYPE[tag])},
            {"a": OF_TYPE[tag]},
            f"{UPDATES}::test_update_item_merge; {PARITY}/attributeUpdates",
        )
        for tag in OF_TYPE
    ],
    change(
        "put-empty-string",
        {"a": put(s(""))},
        {"a": s("")},
        f"{UPDATES}::test_update_item_empty_attribute",
    ),
    change(
        "put-empty-binary",
        {"a": put(b(""))},
        {"a": b("")},
        f"{UPDATES}::test_update_item_empty_attribute",
    ),
    change("put-by-default", {"a": {"Value": n(3)}}, {"a": n(3)}, f"{PARITY}/attributeUpdates"),
    change("put-replaces", {"s": put(n(3))}, {"s": n(3)}, f"{UPDATES}::test_update_item_merge"),
    change("put-spells-numbers", {"a": put({"N": "1.50"})}, {"a": {"N": "1.5"}}, SOURCE),
    change(
        "put-of-a-name-with-a-dot",
        {"m.k": put(n(1)), "l[0]": put(n(2))},
        {"m.k": n(1), "l[0]": n(2)},
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
        "LegacyConditionalParameters.AttributeUpdates.html",
    ),
    change("put-of-a-reserved-word", {"size": put(n(1))}, {"size": n(1)}, SOURCE),
    change("delete", {"s": delete()}, {"s": None}, f"{UPDATES}::test_update_item_merge"),
    change("delete-of-nothing", {"gone": delete()}, {}, DELETED),
    change("delete-of-strings", {"ss": delete({"SS": ["a"]})}, {"ss": {"SS": ["b"]}}, DELETED),
    change("delete-of-numbers", {"ns": delete({"NS": ["2"]})}, {"ns": {"NS": ["1"]}}, DELETED),
    change(
        "delete-of-binaries", {"bs": delete({"BS": ["Ag=="]})}, {"bs": {"BS": ["AQ=="]}}, DELETED
    ),
    change("delete-of-others", {"ns": delete({"NS": ["4"]})}, {}, DELETED),
    change(
        "delete-of-some-and-others",
        {"ns": delete({"NS": ["2", "5"]})},
        {"ns": {"NS": ["1"]}},
        DELETED,
    ),
    change("delete-of-all-elements", {"ns": delete({"NS": ["2", "1"]})}, {"ns": None}, DELETED),
    change("delete-from-nothing", {"gone": delete({"NS": ["2"]})}, {}, DELETED),
    change("add-number", {"n": add(n(2))}, {"n": n(7)}, ADDED),
    change("add-negative", {"n": add(n(-3.5))}, {"n": n(1.5)}, ADDED),
    change("add-number-to-nothing", {"gone": add(n(2))}, {"gone": n(2)}, ADDED),
    change("add-strings", {"ss": add({"SS": ["c"]})}, {"ss": {"SS": ["a", "b", "c"]}}, ADDED),
    change("add-known-strings", {"ss": add({"SS": ["a"]})}, {}, ADDED),
    change("add-numbers", {"ns": add({"NS": ["3", "2"]})}, {"ns": {"NS": ["1", "2", "3"]}}, ADDED),
    change(
        "add-binaries",
        {"bs": add({"BS": ["Aw=="]})},
        {"bs": {"BS": ["AQ==", "Ag==", "Aw=="]}},
        ADDED,
    ),
    change("add-set-to-nothing", {"gone": add({"SS": ["a"]})}, {"gone": {"SS": ["a"]}}, ADDED),
    change(
        "add-list",
        {"l": add({"L": [n(1), s("y")]})},
        {"l": {"L": [*ITEM["l"]["L"], n(1), s("y")]}},
        ADDED,
    ),
    change("add-empty-list", {"l": add({"L": []})}, {}, LOCAL),
    change("add-list-to-nothing", {"gone": add({"L": [n(7)]})}, {"gone": {"L": [n(7)]}}, ADDED),
    change(
        "several",
        {"s": put(s("new")), "n": add(n(9)), "e": delete()},
        {"s": s("new"), "n": n(14), "e": None},
        f"{PARITY}/attributeUpdates",
    ),
    change("nothing", {}, {}, f"{UPDATES}::test_update_item_non_existent"),
    change(
        "if-as-expected",
        {"s": put(s("new"))},
        {"s": s("new")},
        "Alternator test/alternator/test_expected.py::test_update_expected_1_eq_true",
        Expected={"s": condition("EQ", s("hello"))},
    ),
]
MISFITS: Final = [
    Case(
        name=name,
        request=update({"fresh": put(n(1)), **updates}),
        given=[FULL],
        error=invalid(MISMATCH),
        then=FULL,
        source=source,
    )
    for name, updates, source in (
        ("delete-numbers-of-strings", {"ss": delete({"NS": ["1"]})}, f"{SOURCE}; {DELETED}"),
        ("delete-strings-of-numbers", {"ns": delete({"SS": ["1"]})}, DELETED),
        ("delete-numbers-of-a-number", {"n": delete({"NS": ["1"]})}, SOURCE),
        ("delete-strings-of-a-string", {"s": delete({"SS": ["hello"]})}, DELETED),
        ("add-strings-to-numbers", {"ns": add({"SS": ["1"]})}, ADDED),
        ("add-number-to-strings", {"ss": add(n(1))}, ADDED),
        ("add-number-to-string", {"s": add(n(1))}, ADDED),
        ("add-number-to-list", {"l": add(n(1))}, ADDED),
        ("add-list-to-strings", {"ss": add({"L": [s("a")]})}, ADDED),
        ("add-list-to-number", {"n": add({"L": [n(1)]})}, ADDED),
        ("add-set-to-list", {"l": add({"SS": ["x"]})}, ADDED),
        ("add-set-to-number", {"n": add({"NS": ["5"]})}, ADDED),
    )
]
# The number that makes the sum too large is found out beside the item.
OVERFLOWS: Final = [
    Case(
        name=f"overflow-of-{number}",
        request=update({"a": add({"N": number})}),
        given=[{**P, "a": {"N": number}}],
        error=invalid(
            "Number overflow. Attempting to store a number with magnitude larger than supported "
            "range"
        ),
        source="paritysuite/dynamodb-conformance tests/tier3/limits/numberPrecision.test.ts",
    )
    for number in ("9.9e125", "-9.9e125")
]
NOTHING_THERE: Final = [
    Case(name=name, request=update(updates), answer={}, then=then, source=source)
    for name, updates, then, source in (
        ("put", {"a": put(n(3))}, {**P, "a": n(3)}, f"{UPDATES}::test_update_item_non_existent"),
        ("empty", {}, P, f"{UPDATES}::test_update_item_non_existent"),
        ("delete", {"a": delete()}, None, f"{UPDATES}::test_update_item_non_existent"),
        ("delete-of-elements", {"a": delete({"NS": ["4"]})}, None, DELETED),
        ("add-number", {"a": add(n(3))}, {**P, "a": n(3)}, ADDED),
        ("add-set", {"a": add({"SS": ["x"]})}, {**P, "a": {"SS": ["x"]}}, ADDED),
        ("add-list", {"a": add({"L": [n(1)]})}, {**P, "a": {"L": [n(1)]}}, ADDED),
    )
]
OLD: Final[dict[str, Any]] = {**P, "a": n(1), "b": s("b")}
RETURNED: Final = [
    Case(
        name=f"{kind}-of-{name}",
        request=update(updates, ReturnValues=kind),
        given=[OLD],
        answer={} if attributes is None else {"Attributes": attributes},
        source=f"{SOURCE}; {RETURNVALUES}",
    )
    for kind, name, updates, attributes in (
        ("NONE", "put", {"a": put(n(2))}, None),
        ("ALL_OLD", "put", {"a": put(n(2))}, OLD),
        ("ALL_NEW", "put", {"a": put(n(2))}, {**OLD, "a": n(2)}),
        ("UPDATED_OLD", "put", {"a": put(n(2))}, {"a": n(1)}),
        ("UPDATED_NEW", "put", {"a": put(n(2))}, {"a": n(2)}),
        ("UPDATED_NEW", "add", {"a": add(n(2))}, {"a": n(3)}),
        ("UPDATED_OLD", "put-of-fresh", {"fresh": put(n(2))}, None),
        ("UPDATED_NEW", "put-of-fresh", {"fresh": put(n(2))}, {"fresh": n(2)}),
        ("UPDATED_OLD", "delete", {"a": delete()}, {"a": n(1)}),
        ("UPDATED_NEW", "delete", {"a": delete()}, None),
        (
            "UPDATED_OLD",
            "two",
            {"a": delete(), "b": put(n(2))},
            {"a": n(1), "b": s("b")},
        ),
    )
]


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """An update that cannot be is refused by what the request alone tells, in AWS's order."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", MIXED, ids=name_of)
def test_beside_expressions(tables: Tables, case: Case) -> None:
    """All former members are named, then all expressions."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CHANGES, ids=name_of)
def test_changes(tables: Tables, case: Case) -> None:
    """PUT, ADD and DELETE make of the item what the developer guide says."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", MISFITS, ids=name_of)
def test_types_of_the_item(tables: Tables, case: Case) -> None:
    """An attribute of another type than what is added or deleted is told, and nothing changes."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", OVERFLOWS, ids=name_of)
def test_sums_that_no_number_holds(tables: Tables, case: Case) -> None:
    """ADD refuses what it cannot keep."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", NOTHING_THERE, ids=name_of)
def test_an_item_that_is_not_there(tables: Tables, case: Case) -> None:
    """An update makes it, unless it only deletes."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", RETURNED, ids=name_of)
def test_answers(tables: Tables, case: Case) -> None:
    """An update answers the values that were asked for."""
    run(tables, OP, case)


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth.name)
def test_truths(tables: Tables, truth: Comparison) -> None:
    """Each comparison of Expected is as true of an item as the service finds it."""
    request = update({"fresh": put(n(1))}, Expected={truth.attribute: truth.condition})
    error = None if truth.holds else CONDITION_FAILED
    then = {**FULL, "fresh": n(1)} if truth.holds else FULL
    case = Case(name="", request=request, given=[FULL], error=error, then=then, source=truth.source)
    run(tables, OP, case)
