"""GetItem, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, copies, invalid, name_of, run, violated
from tests.support.dynamodb_conditions import ITEM
from tests.support.dynamodb_members import (
    CAPTURES,
    NAME_PATTERN,
    NOT_NULL,
    PARITY,
    capacity,
    capacity_of_table,
    enum_cases,
    enumeration,
    key_cases,
    table_name_cases,
)
from tests.support.dynamodb_projections import BAD_PROJECTIONS, PROJECTIONS
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_values import BAD_VALUES, LAYERS, NEWER_VALUES

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "GetItem"
SOURCE: Final = "dynalite test/getItem.js"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetItem.html"
P: Final[dict[str, Any]] = {"p": {"S": "<ID>"}}
GET: Final[dict[str, Any]] = {"TableName": "<P>", "Key": P}
FULL: Final[dict[str, Any]] = {**P, **ITEM}


def refused(name: str, request: dict[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def projected(expression: str, **more: Any) -> dict[str, Any]:
    """Spell a request for a part of an item."""
    return {**GET, "ProjectionExpression": expression, **more}


CONSTRAINTS: Final = [
    *table_name_cases(OP, GET),
    *enum_cases(OP, GET, "ReturnConsumedCapacity"),
    *key_cases({}),
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
    # In the order of a Java hash map, as the captures have it of PutItem and UpdateItem.
    Case(
        name="nothing",
        request={},
        error=violated((None, "key", NOT_NULL), (None, "tableName", NOT_NULL)),
        source=CAPTURES,
    ),
    Case(
        name="several-in-order",
        request={"TableName": "abc;", "ReturnConsumedCapacity": "hi", "AttributesToGet": []},
        error=violated(
            ("[]", "attributesToGet", "Member must have length greater than or equal to 1"),
            ("hi", "returnConsumedCapacity", enumeration("INDEXES, TOTAL, NONE")),
            (None, "key", NOT_NULL),
            ("abc;", "tableName", NAME_PATTERN),
        ),
        source=CAPTURES,
    ),
    Case(
        name="no-attributes-to-get",
        request={**GET, "AttributesToGet": []},
        error=violated(
            ("[]", "attributesToGet", "Member must have length greater than or equal to 1")
        ),
        source=SOURCE,
    ),
    *[
        refused(f"key-value-{name}", copies(GET, Key={"p": value}), text, LAYERS)
        for name, (value, text) in NEWER_VALUES.items()
    ],
    refused(
        "value-before-table",
        {"TableName": "<GONE>", "Key": {"p": {"N": "x"}}},
        "The parameter cannot be converted to a numeric value: x",
    ),
    refused(
        "expression-before-table",
        {**projected(""), "TableName": "<GONE>"},
        "Invalid ProjectionExpression: The expression can not be empty;",
    ),
    refused("value-before-expression", {**projected(""), "Key": {"p": {}}}, BAD_VALUES["empty"][1]),
]

MIXED: Final = (
    "Can not use both expression and non-expression parameters in the same request: "
    "Non-expression parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}"
)
EXPRESSIONS: Final = [
    *[
        refused(
            f"projection-{name}",
            projected(text, **({"ExpressionAttributeNames": names} if names else {})),
            f"Invalid ProjectionExpression: {error}",
            source,
        )
        for name, text, names, error, source in BAD_PROJECTIONS
    ],
    *[
        Case(
            name=f"projects-{text}",
            request=projected(text, **({"ExpressionAttributeNames": names} if names else {})),
            given=[FULL],
            answer={"Item": item},
            source=source,
        )
        for text, names, item, source in PROJECTIONS
    ],
    refused("mixed", projected("a", AttributesToGet=["a"]), MIXED),
    refused("mixed-before-key", projected("a", AttributesToGet=["a"], Key={"p": {}}), MIXED),
    refused(
        "names-alone",
        {**GET, "ExpressionAttributeNames": {"#a": "a"}},
        "ExpressionAttributeNames can only be specified when using expressions",
    ),
    refused(
        "names-empty",
        projected("a", ExpressionAttributeNames={}),
        "ExpressionAttributeNames must not be empty",
    ),
    refused(
        "name-syntax",
        projected("a", ExpressionAttributeNames={"#": "a"}),
        'ExpressionAttributeNames contains invalid key: Syntax error; key: "#"',
    ),
    refused(
        "name-unused",
        projected("a", ExpressionAttributeNames={"#a": "a"}),
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a}",
    ),
    refused(
        "key-with-path",
        projected("p.a"),
        "Key attributes must be scalars; list random access '[]' and map lookup '.' are not "
        "allowed: Key: p",
    ),
    refused(
        "key-with-index",
        projected("p[0]"),
        "Key attributes must be scalars; list random access '[]' and map lookup '.' are not "
        "allowed: Key: p",
    ),
]

SUCCESSES: Final = [
    Case(name="all-of-it", request=GET, given=[FULL], answer={"Item": FULL}, source=DOC),
    Case(
        name="consistent",
        request={**GET, "ConsistentRead": True},
        given=[FULL],
        answer={"Item": FULL},
        source=DOC,
    ),
    Case(name="nothing-there", request=GET, answer={}, source=SOURCE),
    Case(name="nothing-there-projected", request=projected("a"), answer={}, source=SOURCE),
    Case(
        name="number-key-spelled-otherwise",
        request={"TableName": "<PN>", "Key": {**P, "c": {"N": "1.00"}}},
        given=[{**P, "c": {"N": "1"}}],
        answer={"Item": {**P, "c": {"N": "1"}}},
        source=DOC,
    ),
    Case(
        name="negative-zero-key",
        request={"TableName": "<PN>", "Key": {**P, "c": {"N": "-0"}}},
        given=[{**P, "c": {"N": "0"}}],
        answer={"Item": {**P, "c": {"N": "0"}}},
        source=DOC,
    ),
    Case(
        name="binary-key",
        request={"TableName": "<PB>", "Key": {**P, "c": {"B": "/w=="}}},
        given=[{**P, "c": {"B": "/w=="}}],
        answer={"Item": {**P, "c": {"B": "/w=="}}},
        source=DOC,
    ),
    *[
        Case(
            name=f"reads-consistent-as-{text}",
            request={**GET, "ConsistentRead": text},
            given=[P],
            answer={"Item": P},
            source="dynalite validations/index.js checkTypes",
        )
        for text in ("true", "TRUE", "1", "yes", "false", "0", "no")
    ],
    *[
        Case(
            name=f"capacity-{size}-{consistent}",
            request={**GET, "ConsistentRead": consistent, "ReturnConsumedCapacity": "TOTAL"},
            given=[{**P, "a": {"S": "a" * size}}] if size else [],
            answer={"ConsumedCapacity": capacity(units)}
            | ({"Item": {**P, "a": {"S": "a" * size}}} if size else {}),
            source="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
            "read-write-operations.html",
        )
        for size, consistent, units in (
            (0, False, 0.5),
            (0, True, 1),
            (1, False, 0.5),
            (1, True, 1),
            (4000, False, 0.5),
            (4000, True, 1),
            (4096, False, 1),
            (4096, True, 2),
            (9000, False, 1.5),
            (9000, True, 3),
        )
    ],
    Case(
        name="capacity-indexes",
        request={**GET, "ReturnConsumedCapacity": "INDEXES"},
        answer={"ConsumedCapacity": capacity_of_table(0.5)},
        source=SOURCE,
    ),
    Case(
        name="capacity-none",
        request={**GET, "ReturnConsumedCapacity": "NONE"},
        answer={},
        source=SOURCE,
    ),
    Case(
        name="capacity-of-projection",
        request=projected("p", ReturnConsumedCapacity="TOTAL", ConsistentRead=True),
        given=[{**P, "a": {"S": "a" * 5000}}],
        answer={"Item": P, "ConsumedCapacity": capacity(2)},
        source=SOURCE,
    ),
]


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CONSTRAINTS, ids=name_of)
def test_constraints(tables: Tables, case: Case) -> None:
    """What the model forbids is refused, and then a key that cannot be, in that order."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", EXPRESSIONS, ids=name_of)
def test_projections(tables: Tables, case: Case) -> None:
    """A projection gives its paths alone, and one that cannot be is refused."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", SUCCESSES, ids=name_of)
def test_successes(tables: Tables, case: Case) -> None:
    """A get answers the item and what reading it costs."""
    run(tables, OP, case)


def test_a_table_by_its_arn(tables: Tables) -> None:
    """An ARN stands wherever a table's name may (AWS API page of GetItem, TableName)."""
    arn = tables.dynamodb.do("DescribeTable", {"TableName": tables.names["P"]})["Table"]["TableArn"]
    request = {"TableName": arn, "Key": {"p": {"S": "gone"}}, "ReturnConsumedCapacity": "TOTAL"}
    answer = tables.dynamodb.do(OP, request)
    assert answer["ConsumedCapacity"]["CapacityUnits"] == 0.5


def test_an_arn_of_no_table(tables: Tables) -> None:
    """It is looked for as a name is, and not found (PARITY: the same error for both)."""
    arn = tables.dynamodb.do("DescribeTable", {"TableName": tables.names["P"]})["Table"]["TableArn"]
    request = {"TableName": arn + "-gone", "Key": {"p": {"S": "gone"}}}
    answer = tables.dynamodb.call(OP, request)
    assert (answer.error, answer.message) == (
        "ResourceNotFoundException",
        "Requested resource not found",
    ), PARITY
