"""BatchGetItem, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import NOT_FOUND, Case, invalid, name_of, run, violated
from tests.support.dynamodb_members import (
    NOT_NULL,
    PARITY,
    capacity,
    capacity_of_table,
    enum_cases,
    key_cases,
)
from tests.support.dynamodb_projections import BAD_PROJECTIONS
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_values import LAYERS, NEWER_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "BatchGetItem"
SOURCE: Final = "dynalite test/batchGetItem.js"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"
MESSAGES: Final = f"{PARITY}/error-messages/batchGetItem.test.ts"
P: Final[dict[str, Any]] = {"p": {"S": "<ID>"}}


def get(*keys: Mapping[str, Any], table: str = "P", **more: Any) -> dict[str, Any]:
    """Spell a request for these keys of one table."""
    return {"RequestItems": {f"<{table}>": {"Keys": list(keys), **more}}}


def named(names: Mapping[str, str]) -> dict[str, Any]:
    """Spell the names of a projection, if it has any."""
    return {"ExpressionAttributeNames": names} if names else {}


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def _batched(case: Case) -> Case:
    # A case of a Key becomes one of a batch of that key.
    request = case.request
    assert isinstance(request, dict)
    batch = {"RequestItems": {request["TableName"]: {"Keys": [request["Key"]]}}}
    return Case(name=case.name, request=batch, error=case.error, source=case.source)


BOUND: Final = (
    "1 validation error detected: Value at '{}' failed to satisfy constraint: Member must have "
    "length {}"
)
MAP_KEYS: Final = (
    "Map keys must satisfy constraint: [Member must have length less than or equal to 255, "
    "Member must have length greater than or equal to 3, Member must satisfy regular expression "
    "pattern: [a-zA-Z0-9_.-]+]"
)
GREATER: Final = "greater than or equal to 1"
KEYS: Final = "RequestItems.<P>.member.Keys"
MANY: Final = [{"p": {"S": f"k{number}"}} for number in range(101)]
CONSTRAINTS: Final = [
    *enum_cases(OP, get(P), "ReturnConsumedCapacity"),
    *[_batched(case) for case in key_cases({})],
    Case(
        name="nothing", request={}, error=violated((None, "requestItems", NOT_NULL)), source=SOURCE
    ),
    refused("no-tables", {"RequestItems": {}}, BOUND.format("RequestItems", GREATER), MESSAGES),
    Case(
        name="keys-null",
        request={"RequestItems": {"<P>": {}}},
        error=violated((None, "requestItems.<P>.member.keys", NOT_NULL)),
        source=SOURCE,
    ),
    refused("keys-empty", get(), BOUND.format(KEYS, GREATER), MESSAGES),
    refused("101-keys", get(*MANY), BOUND.format(KEYS, "less than or equal to 100"), MESSAGES),
    Case(
        name="name-of-a-table",
        request={"RequestItems": {"bad!name": {"Keys": [{"pk": {"S": "a"}}]}}},
        error=violated(
            ('{"bad!name":{"Keys":[{"pk":{"S":"a"}}]}}', "requestItems", MAP_KEYS),
        ),
        source=MESSAGES,
    ),
    Case(name="table-gone", request=get(P, table="GONE"), error=NOT_FOUND, source=MESSAGES),
    Case(
        name="one-table-gone",
        request={"RequestItems": {"<P>": {"Keys": [P]}, "<GONE>": {"Keys": [P]}}},
        error=NOT_FOUND,
        source=SOURCE,
    ),
    refused("duplicates", get(P, P), "Provided list of item keys contains duplicates", MESSAGES),
    refused(
        "duplicate-numbers",
        get({"p": {"N": "1"}}, {"p": {"N": "1.0"}}, table="N"),
        "Provided list of item keys contains duplicates",
    ),
    refused(
        "too-many-over-tables",
        {"RequestItems": {"<P>": {"Keys": MANY[:60]}, "<B>": {"Keys": MANY[:60]}}},
        "Too many items requested for the BatchGetItem call",
    ),
    *[
        refused(f"key-value-{name}", get({"p": value}), text, LAYERS)
        for name, (value, text) in NEWER_VALUES.items()
    ],
    refused(
        "value-before-table",
        get({"p": {"N": "x"}}, table="GONE"),
        "The parameter cannot be converted to a numeric value: x",
    ),
    *[
        refused(
            f"projection-{name}",
            get(
                P,
                ProjectionExpression=text,
                **named(names),
            ),
            f"Invalid ProjectionExpression: {error}",
            source,
        )
        for name, text, names, error, source in BAD_PROJECTIONS
    ],
    refused(
        "mixed",
        get(P, ProjectionExpression="a", AttributesToGet=["a"]),
        "Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {AttributesToGet} Expression parameters: "
        "{ProjectionExpression}",
        MESSAGES,
    ),
    refused(
        "names-alone",
        get(P, ExpressionAttributeNames={"#a": "a"}),
        "ExpressionAttributeNames can only be specified when using expressions",
    ),
    refused(
        "name-unused",
        get(P, ProjectionExpression="a", ExpressionAttributeNames={"#a": "a"}),
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a}",
    ),
]

A: Final[dict[str, Any]] = {**P, "a": {"S": "a"}, "n": {"N": "1"}}
BIG: Final[dict[str, Any]] = {**P, "a": {"S": "a" * 5000}}


def found(*items: Any, table: str = "P", **more: Any) -> dict[str, Any]:
    """Spell an answer."""
    return {"Responses": {f"<{table}>": list(items)}, "UnprocessedKeys": {}, **more}


SUCCESSES: Final = [
    Case(name="one", request=get(P), given=[A], table="P", answer=found(A), source=DOC),
    Case(
        name="none",
        request=get(P),
        answer=found(),
        source="LocalStack test_dynamodb.snapshot.json test_dynamodb_get_batch_items",
    ),
    Case(
        name="one-of-two",
        request=get(P, {"p": {"S": "gone"}}),
        given=[A],
        table="P",
        answer=found(A),
        source=DOC,
    ),
    Case(
        name="projected",
        request=get(P, ProjectionExpression="n"),
        given=[A],
        table="P",
        answer=found({"n": {"N": "1"}}),
        source=DOC,
    ),
    Case(
        name="projected-to-nothing",
        request=get(P, ProjectionExpression="gone"),
        given=[A],
        table="P",
        answer=found({}),
        source=f"{PARITY.replace('tier3', 'tier1')}/batchGetItem/basic.test.ts",
    ),
    Case(
        name="projected-by-name",
        request=get(P, ProjectionExpression="#x", ExpressionAttributeNames={"#x": "n"}),
        given=[A],
        table="P",
        answer=found({"n": {"N": "1"}}),
        source=DOC,
    ),
    Case(
        name="two-tables",
        request={"RequestItems": {"<P>": {"Keys": [P]}, "<N>": {"Keys": [{"p": {"N": "-77"}}]}}},
        given=[A],
        table="P",
        answer={"Responses": {"<P>": [A], "<N>": []}, "UnprocessedKeys": {}},
        source=DOC,
    ),
    *[
        Case(
            name=f"capacity-{name}",
            request={**get(*keys, ConsistentRead=consistent), "ReturnConsumedCapacity": "TOTAL"},
            given=given,
            table="P",
            answer=found(*given, ConsumedCapacity=[capacity(units)]),
            source=SOURCE,
        )
        for name, keys, consistent, given, units in (
            ("of-nothing", [P], False, [], 0.5),
            ("of-nothing-consistent", [P], True, [], 1),
            ("of-two-nothings", [P, {"p": {"S": "gone"}}], False, [], 1),
            ("of-5-kb", [P], False, [BIG], 1),
            ("of-5-kb-consistent", [P], True, [BIG], 2),
            ("rounds-each", [P, {"p": {"S": "gone"}}], False, [A], 1),
        )
    ],
    Case(
        name="capacity-indexes",
        request={**get(P), "ReturnConsumedCapacity": "INDEXES"},
        answer=found(ConsumedCapacity=[capacity_of_table(0.5)]),
        source=SOURCE,
    ),
]


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CONSTRAINTS, ids=name_of)
def test_constraints(tables: Tables, case: Case) -> None:
    """What the model forbids is refused, then each table's keys and projection."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", SUCCESSES, ids=name_of)
def test_successes(tables: Tables, case: Case) -> None:
    """A batch answers what is there, table by table, and leaves nothing unsaid."""
    run(tables, OP, case)


def test_a_hundred_keys(tables: Tables) -> None:
    """A hundred keys are taken, and those that are there answered (AWS API page)."""
    keys = [{"p": {"S": f"hundred-{number}"}} for number in range(100)]
    name = tables.names["P"]
    for key in keys[::10]:
        tables.dynamodb.do("PutItem", {"TableName": name, "Item": key})
    answer = tables.dynamodb.do(OP, {"RequestItems": {name: {"Keys": keys}}})
    read = {item["p"]["S"] for item in answer["Responses"][name]}
    assert read == {key["p"]["S"] for key in keys[::10]}
    assert answer["UnprocessedKeys"] == {}


def test_what_does_not_fit_is_left(tables: Tables) -> None:
    """16 MB are answered; the keys beyond come back as UnprocessedKeys (AWS API page)."""
    keys = [{"p": {"S": f"large-{number}"}} for number in range(45)]
    name = tables.names["P"]
    for key in keys:
        item = {**key, "a": {"S": "a" * 400_000}}
        tables.dynamodb.do("PutItem", {"TableName": name, "Item": item})
    asked, read = keys, list[str]()
    rounds = 0
    while asked:
        answer = tables.dynamodb.do(OP, {"RequestItems": {name: {"Keys": asked}}})
        assert len(answer["Responses"][name]) >= 1
        assert len(answer["Responses"][name]) * 400_000 <= 16 * 2**20 + 400_000
        read += [item["p"]["S"] for item in answer["Responses"][name]]
        asked = answer["UnprocessedKeys"].get(name, {"Keys": []})["Keys"]
        rounds += 1
    assert rounds >= 2
    assert sorted(read) == sorted(key["p"]["S"] for key in keys)
