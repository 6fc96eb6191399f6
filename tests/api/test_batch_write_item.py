"""BatchWriteItem, case by case; every case names the public source of its answer."""

from __future__ import annotations

import re
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
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_values import BAD_VALUES, VALIDATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "BatchWriteItem"
SOURCE: Final = "dynalite test/batchWriteItem.js"
DOC: Final = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html"
)
MESSAGES: Final = f"{PARITY}/error-messages/batchWriteItem.test.ts"
SCHEMA: Final = "The provided key element does not match the schema"
P: Final[dict[str, Any]] = {"p": {"S": "<ID>"}}
PC: Final[dict[str, Any]] = {**P, "c": {"S": "c"}}


def put(**item: Any) -> dict[str, Any]:
    """Spell a put of a batch."""
    return {"PutRequest": {"Item": item}}


def delete(**key: Any) -> dict[str, Any]:
    """Spell a delete of a batch."""
    return {"DeleteRequest": {"Key": key}}


def batch(*requests: Mapping[str, Any], table: str = "P", **more: Any) -> dict[str, Any]:
    """Spell a batch of one table."""
    return {"RequestItems": {f"<{table}>": list(requests)}, **more}


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def _deleted(case: Case) -> Case:
    # A case of a Key becomes one of a batch that deletes it.
    request = case.request
    assert isinstance(request, dict)
    requests = {request["TableName"]: [{"DeleteRequest": {"Key": request["Key"]}}]}
    return Case(
        name=case.name, request={"RequestItems": requests}, error=case.error, source=case.source
    )


LENGTHS: Final = (
    r"failed to satisfy constraint: Map value must satisfy constraint: \[Member must have length "
    r"less than or equal to 25, Member must have length greater than or equal to 1\]$"
)
EMPTY: Final = (
    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
    "contain an empty {} value. Key: p"
)
INDEX_TYPE: Final = (
    "One or more parameter values were invalid: Type mismatch for Index Key x Expected: S Actual: "
    "{} IndexName: gsi"
)
CONSTRAINTS: Final = [
    *enum_cases(OP, batch(put(**P)), "ReturnConsumedCapacity", "ReturnItemCollectionMetrics"),
    *[_deleted(case) for case in key_cases({})],
    Case(
        name="nothing", request={}, error=violated((None, "requestItems", NOT_NULL)), source=SOURCE
    ),
    # A region gives either of both, and one has changed back and forth.
    Case(
        name="no-tables",
        request={"RequestItems": {}},
        error=invalid(
            re.compile(
                r"^The requestItems parameter is required for BatchWriteItem$|^1 validation error "
                r"detected: Value at 'RequestItems' failed to satisfy constraint: Member must have "
                r"length greater than or equal to 1$"
            )
        ),
        source=MESSAGES,
    ),
    Case(
        name="name-of-a-table",
        request={"RequestItems": {"bad!name": [put(**P)]}},
        error=invalid(
            re.compile(
                r"^1 validation error detected: Value '\{bad!name=.*' at 'requestItems' failed to "
                r"satisfy constraint: Map keys must satisfy constraint: \[Member must have length "
                r"less than or equal to 255, Member must have length greater than or equal to 3, "
                r"Member must satisfy regular expression pattern: \[a-zA-Z0-9_.-\]\+\]$",
                re.DOTALL,
            )
        ),
        source=MESSAGES,
    ),
    Case(
        name="26-requests",
        request=batch(*[put(p={"S": f"k{number}"}) for number in range(26)]),
        error=invalid(
            re.compile(
                r"^1 validation error detected: Value '\{.*=\[.+' at "
                rf"'requestItems' {LENGTHS}",
                re.DOTALL,
            )
        ),
        source=MESSAGES,
    ),
    Case(
        name="no-item",
        request=batch({"PutRequest": {}}),
        error=violated((None, "requestItems.<P>.member.1.member.putRequest.item", NOT_NULL)),
        source=SOURCE,
    ),
    Case(
        name="no-key",
        request=batch({"DeleteRequest": {}}),
        error=violated((None, "requestItems.<P>.member.1.member.deleteRequest.key", NOT_NULL)),
        source=SOURCE,
    ),
    Case(
        name="table-gone", request=batch(put(**P), table="GONE"), error=NOT_FOUND, source=MESSAGES
    ),
    Case(
        name="one-table-gone",
        request={"RequestItems": {"<P>": [put(**P)], "<GONE>": [put(**P)]}},
        error=NOT_FOUND,
        table="P",
        source=SOURCE,
    ),
    refused(
        "neither",
        batch({}),
        "Supplied AttributeValue has more than one datatypes set, must "
        "contain exactly one of the supported datatypes",
    ),
    refused(
        "both",
        batch({**put(**P), **delete(**P)}),
        "Supplied AttributeValue has more than one datatypes set, must contain exactly one of "
        "the supported datatypes",
    ),
    refused(
        "put-twice",
        batch(put(**P), put(**P, a={"S": "a"})),
        "Provided list of item keys contains duplicates",
    ),
    refused(
        "put-and-delete",
        batch(put(**P), delete(**P)),
        "Provided list of item keys contains duplicates",
        MESSAGES,
    ),
    refused(
        "delete-twice",
        batch(delete(**P), delete(**P)),
        "Provided list of item keys contains duplicates",
    ),
    refused(
        "equal-numbers",
        batch(put(p={"N": "1"}), delete(p={"N": "1.0"}), table="N"),
        "Provided list of item keys contains duplicates",
    ),
    refused("item-number-key", batch(put(p={"N": "5"})), SCHEMA, MESSAGES),
    refused("item-list-key", batch(put(p={"L": [{"S": "x"}]})), SCHEMA, MESSAGES),
    refused(
        "item-without-key",
        batch(put(a={"S": "a"})),
        SCHEMA,
        "LocalStack test_dynamodb.snapshot.json test_batch_write_not_matching_schema",
    ),
    refused(
        "item-without-sort-key",
        batch(put(**P), table="PC"),
        SCHEMA,
        "LocalStack test_dynamodb.snapshot.json test_batch_write_not_matching_schema",
    ),
    refused("item-empty-key", batch(put(p={"S": ""})), EMPTY.format("string"), MESSAGES),
    refused(
        "item-empty-binary-key",
        batch(put(p={"B": ""}), table="B"),
        EMPTY.format("binary"),
        MESSAGES,
    ),
    refused(
        "index-key-type",
        batch(put(**PC, x={"N": "5"}), table="INDEXED"),
        INDEX_TYPE.format("N"),
        MESSAGES,
    ),
    refused(
        "index-key-list",
        batch(put(**PC, x={"L": [{"S": "x"}]}), table="INDEXED"),
        INDEX_TYPE.format("L"),
        MESSAGES,
    ),
    refused(
        "index-key-empty",
        batch(put(**PC, x={"S": ""}), table="INDEXED"),
        "One or more parameter values are not valid. A value specified for a secondary index "
        "key is not supported. The AttributeValue for a key attribute cannot contain an empty "
        "string value. IndexName: gsi, IndexKey: x",
        MESSAGES,
    ),
    refused(
        "item-too-large",
        batch(put(**P, a={"S": "a" * 409_600})),
        "Item size has exceeded the maximum allowed size",
    ),
    refused(
        "size-before-table",
        batch(put(a={"S": "a" * 409_600}), table="GONE"),
        "Item size has exceeded the maximum allowed size",
    ),
    *[
        refused(f"put-value-{name}", batch(put(**P, a=value)), text, VALIDATIONS)
        for name, (value, text) in BAD_VALUES.items()
    ],
    *[
        refused(f"delete-value-{name}", batch(delete(p=value)), text, VALIDATIONS)
        for name, (value, text) in BAD_VALUES.items()
    ],
]

A: Final[dict[str, Any]] = {**P, "a": {"S": "a"}}
DONE: Final[dict[str, Any]] = {"UnprocessedItems": {}}
SUCCESSES: Final = [
    Case(name="put", request=batch(put(**A)), table="P", answer=DONE, source=DOC),
    Case(name="delete", request=batch(delete(**P)), given=[A], table="P", answer=DONE, source=DOC),
    Case(name="delete-nothing", request=batch(delete(**P)), answer=DONE, source=DOC),
    Case(
        name="put-in-two-tables",
        request={"RequestItems": {"<P>": [put(**P)], "<PC>": [put(**PC)]}},
        table="P",
        answer=DONE,
        source=DOC,
    ),
    *[
        Case(
            name=f"capacity-{name}",
            request=batch(*requests, ReturnConsumedCapacity="TOTAL"),
            given=given,
            table="P",
            answer={**DONE, "ConsumedCapacity": [capacity(units)]},
            source=SOURCE,
        )
        for name, requests, given, units in (
            ("of-put", [put(**P)], [], 1),
            ("of-two", [put(**P), put(p={"S": "other"})], [], 2),
            ("of-2-kb", [put(**P, a={"S": "a" * 2000})], [], 2),
            ("of-larger-before", [put(**P)], [{**P, "a": {"S": "a" * 2000}}], 2),
            ("of-delete", [delete(**P)], [{**P, "a": {"S": "a" * 2000}}], 2),
            ("of-delete-of-nothing", [delete(**P)], [], 1),
        )
    ],
    Case(
        name="capacity-indexes",
        request=batch(put(**P), ReturnConsumedCapacity="INDEXES"),
        table="P",
        answer={**DONE, "ConsumedCapacity": [capacity_of_table(1)]},
        source=SOURCE,
    ),
]


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CONSTRAINTS, ids=name_of)
def test_constraints(tables: Tables, case: Case) -> None:
    """What the model forbids is refused, then what each put and delete says."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", SUCCESSES, ids=name_of)
def test_successes(tables: Tables, case: Case) -> None:
    """A batch is done and answers what it costs."""
    run(tables, OP, case)


def test_a_batch_is_written(tables: Tables) -> None:
    """25 puts and deletes of one table are all done (AWS API page)."""
    name, dynamodb = tables.names["PC"], tables.dynamodb
    key = {"p": {"S": tables.new_name()}}
    old = [{**key, "c": {"S": f"old-{number}"}} for number in range(5)]
    new = [{**key, "c": {"S": f"new-{number:02}"}, "n": {"N": "1.50"}} for number in range(20)]
    for item in old:
        dynamodb.do("PutItem", {"TableName": name, "Item": item})
    requests = [delete(**item) for item in old] + [put(**item) for item in new]
    assert dynamodb.do(OP, {"RequestItems": {name: requests}}) == DONE
    query = {
        "TableName": name,
        "KeyConditionExpression": "p = :p",
        "ExpressionAttributeValues": {":p": key["p"]},
    }
    kept = dynamodb.do("Query", query)["Items"]
    assert kept == [{**item, "n": {"N": "1.5"}} for item in new]


def test_nothing_is_written_if_one_is_refused(tables: Tables) -> None:
    """The whole batch is checked before its first write (AWS API page)."""
    name, dynamodb = tables.names["P"], tables.dynamodb
    good = {"p": {"S": tables.new_name()}}
    requests = [put(**good), put(p={"N": "1"})]
    assert dynamodb.call(OP, {"RequestItems": {name: requests}}).message == SCHEMA
    assert dynamodb.do("GetItem", {"TableName": name, "Key": good}) == {}
