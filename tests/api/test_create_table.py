"""CreateTable, case by case; every case names the public source of its answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, invalid, name_of, run, violated
from tests.support.dynamodb_members import NAME_PATTERN, NOT_NULL, PARITY, enumeration
from tests.support.dynamodb_retypes import retypes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "CreateTable"
SOURCE: Final = "dynalite test/createTable.js"
MESSAGES: Final = f"{PARITY}/error-messages/createTable.test.ts"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html"
TABLE_CLASS: Final = "the CloudFormation rule pf-dynamodb-table-class, which quotes the service"
INVALID: Final = "One or more parameter values were invalid: "
LEAST_1: Final = "Member must have value greater than or equal to 1"
LENGTH_1: Final = "Member must have length greater than or equal to 1"
LENGTH_3: Final = "Member must have length greater than or equal to 3"
LENGTH_255: Final = "Member must have length less than or equal to 255"


def attribute(name: str, kind: str = "S") -> dict[str, str]:
    """Spell an attribute's definition."""
    return {"AttributeName": name, "AttributeType": kind}


def key(name: str, kind: str = "HASH") -> dict[str, str]:
    """Spell an element of a key schema."""
    return {"AttributeName": name, "KeyType": kind}


A: Final = [attribute("a")]
AB: Final = [attribute("a"), attribute("b")]
ABC: Final = [*AB, attribute("c")]
HASH: Final = [key("a")]
RANGE: Final = [key("a"), key("b", "RANGE")]
UNITS: Final[dict[str, int]] = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
ALL: Final[dict[str, Any]] = {"ProjectionType": "ALL"}
TABLE: Final[dict[str, Any]] = {
    "TableName": "cases.refused",
    "AttributeDefinitions": A,
    "KeySchema": HASH,
    "BillingMode": "PAY_PER_REQUEST",
}
SORTED: Final[dict[str, Any]] = {**TABLE, "AttributeDefinitions": ABC, "KeySchema": RANGE}


def without(request: Mapping[str, Any], *members: str) -> dict[str, Any]:
    """Leave members out."""
    return {name: value for name, value in request.items() if name not in members}


def index(name: str = "abc", keys: Any = None, projection: Any = None, **more: Any) -> Any:
    """Spell an index; by default a local one of the sorted table."""
    schema = keys if keys is not None else [key("a"), key("c", "RANGE")]
    chosen = ALL if projection is None else projection
    return {"IndexName": name, "KeySchema": schema, "Projection": chosen, **more}


def local(*indexes: Any, **changes: Any) -> dict[str, Any]:
    """Spell a sorted table with these local indexes."""
    return {**SORTED, "LocalSecondaryIndexes": list(indexes), **changes}


def of_all(*indexes: Any, **changes: Any) -> dict[str, Any]:
    """Spell a sorted table with these global indexes."""
    return {**SORTED, "GlobalSecondaryIndexes": list(indexes), **changes}


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def broken(
    name: str,
    request: Mapping[str, Any],
    *violations: tuple[object, str, str],
    source: str = SOURCE,
) -> Case:
    """Make a case of constraints of the model."""
    return Case(name=name, request=request, error=violated(*violations), source=source)


CONSTRAINTS: Final = [
    refused(
        "nothing",
        {},
        "The parameter 'TableName' is required but was not present in the request",
        MESSAGES,
    ),
    refused(
        "no-name",
        without(TABLE, "TableName"),
        "The parameter 'TableName' is required but was not present in the request",
        MESSAGES,
    ),
    broken(
        "name-of-2", {**TABLE, "TableName": "ab"}, ("ab", "tableName", LENGTH_3), source=MESSAGES
    ),
    broken(
        "name-of-256",
        {**TABLE, "TableName": "a" * 256},
        ("a" * 256, "tableName", LENGTH_255),
        source=MESSAGES,
    ),
    broken("name-pattern", {**TABLE, "TableName": "abc;"}, ("abc;", "tableName", NAME_PATTERN)),
    broken(
        "no-definitions",
        without(TABLE, "AttributeDefinitions"),
        (None, "attributeDefinitions", NOT_NULL),
    ),
    broken("no-schema", without(TABLE, "KeySchema"), (None, "keySchema", NOT_NULL)),
    broken("empty-schema", {**TABLE, "KeySchema": []}, ("[]", "keySchema", LENGTH_1)),
    broken(
        "no-attribute-name",
        {**TABLE, "AttributeDefinitions": [{"AttributeType": "S"}]},
        (None, "attributeDefinitions.1.member.attributeName", NOT_NULL),
    ),
    broken(
        "no-attribute-type",
        {**TABLE, "AttributeDefinitions": [{"AttributeName": "a"}]},
        (None, "attributeDefinitions.1.member.attributeType", NOT_NULL),
    ),
    broken(
        "attribute-type",
        {**TABLE, "AttributeDefinitions": [attribute("a", "INVALID")]},
        ("INVALID", "attributeDefinitions.1.member.attributeType", enumeration("B, N, S")),
        source=MESSAGES,
    ),
    broken(
        "no-key-name",
        {**TABLE, "KeySchema": [{"KeyType": "HASH"}]},
        (None, "keySchema.1.member.attributeName", NOT_NULL),
    ),
    broken(
        "no-key-type",
        {**TABLE, "KeySchema": [{"AttributeName": "a"}]},
        (None, "keySchema.1.member.keyType", NOT_NULL),
    ),
    broken(
        "key-type",
        {**TABLE, "KeySchema": [key("a", "INVALID")]},
        ("INVALID", "keySchema.1.member.keyType", enumeration("HASH, RANGE")),
        source=MESSAGES,
    ),
    broken(
        "billing-mode",
        {**TABLE, "BillingMode": "hi"},
        ("hi", "billingMode", enumeration("PROVISIONED, PAY_PER_REQUEST")),
    ),
    refused(
        "table-class",
        {**TABLE, "TableClass": "hi"},
        "Invalid table-class parameter provided. Please try again with a valid table-class value: "
        "[STANDARD, STANDARD_INFREQUENT_ACCESS].",
        TABLE_CLASS,
    ),
    broken(
        "read-units-0",
        {
            **without(TABLE, "BillingMode"),
            "ProvisionedThroughput": {**UNITS, "ReadCapacityUnits": 0},
        },
        (0, "provisionedThroughput.readCapacityUnits", LEAST_1),
    ),
    broken(
        "write-units-minus-1",
        {
            **without(TABLE, "BillingMode"),
            "ProvisionedThroughput": {**UNITS, "WriteCapacityUnits": -1},
        },
        (-1, "provisionedThroughput.writeCapacityUnits", LEAST_1),
    ),
    broken(
        "both-units-0",
        {
            **without(TABLE, "BillingMode"),
            "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        },
        (0, "provisionedThroughput.writeCapacityUnits", LEAST_1),
        (0, "provisionedThroughput.readCapacityUnits", LEAST_1),
    ),
    broken(
        "no-units",
        {**without(TABLE, "BillingMode"), "ProvisionedThroughput": {}},
        (None, "provisionedThroughput.writeCapacityUnits", NOT_NULL),
        (None, "provisionedThroughput.readCapacityUnits", NOT_NULL),
    ),
    *[
        broken(
            f"{kind}-{name}", {**SORTED, member: [one]}, (value, f"{path}.1.member.{part}", text)
        )
        for kind, member, path in (
            ("local", "LocalSecondaryIndexes", "localSecondaryIndexes"),
            ("global", "GlobalSecondaryIndexes", "globalSecondaryIndexes"),
        )
        for name, one, value, part, text in (
            ("no-name", without(index(), "IndexName"), None, "indexName", NOT_NULL),
            ("name-of-2", index("ab"), "ab", "indexName", LENGTH_3),
            ("name-of-256", index("a" * 256), "a" * 256, "indexName", LENGTH_255),
            ("name-pattern", index("abc;"), "abc;", "indexName", NAME_PATTERN),
            ("no-schema", without(index(), "KeySchema"), None, "keySchema", NOT_NULL),
            ("empty-schema", index(keys=[]), "[]", "keySchema", LENGTH_1),
            ("no-projection", without(index(), "Projection"), None, "projection", NOT_NULL),
            (
                "projection-type",
                index(projection={"ProjectionType": "hi"}),
                "hi",
                "projection.projectionType",
                enumeration("ALL, INCLUDE, KEYS_ONLY"),
            ),
            (
                "no-non-keys",
                index(projection={"ProjectionType": "INCLUDE", "NonKeyAttributes": []}),
                "[]",
                "projection.nonKeyAttributes",
                LENGTH_1,
            ),
        )
    ],
]

RULES: Final = [
    refused(
        "throughput-missing",
        without(TABLE, "BillingMode"),
        INVALID + "ReadCapacityUnits and WriteCapacityUnits must both be specified when "
        "BillingMode is PROVISIONED",
    ),
    refused(
        "throughput-too-much",
        {**TABLE, "ProvisionedThroughput": UNITS},
        INVALID + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
        "BillingMode is PAY_PER_REQUEST",
        "LocalStack test_dynamodb.snapshot.json test_dynamodb_pay_per_request",
    ),
    refused(
        "read-units-out-of-bounds",
        {
            **without(TABLE, "BillingMode"),
            "ProvisionedThroughput": {**UNITS, "ReadCapacityUnits": 1_000_000_000_001},
        },
        "Given value 1000000000001 for ReadCapacityUnits is out of bounds",
    ),
    refused(
        "write-units-out-of-bounds",
        {
            **without(TABLE, "BillingMode"),
            "ProvisionedThroughput": {**UNITS, "WriteCapacityUnits": 1_000_000_000_001},
        },
        "Given value 1000000000001 for WriteCapacityUnits is out of bounds",
    ),
    refused(
        "more-keys-than-definitions",
        {**TABLE, "KeySchema": RANGE},
        "Invalid KeySchema: Some index key attribute have no definition",
    ),
    refused(
        "same-key-one-definition",
        {**TABLE, "KeySchema": [key("a"), key("a", "RANGE")]},
        "Invalid KeySchema: Some index key attribute have no definition",
        MESSAGES,
    ),
    refused(
        "undefined-key",
        {**TABLE, "KeySchema": [key("b")]},
        INVALID + "Some index key attributes are not defined in AttributeDefinitions. Keys: "
        "[b], AttributeDefinitions: [a]",
    ),
    refused(
        "same-key",
        {**SORTED, "KeySchema": [key("a"), key("a", "RANGE")]},
        "Both the Hash Key and the Range Key element in the KeySchema have the same name",
    ),
    refused(
        "first-is-range",
        {**TABLE, "KeySchema": [key("a", "RANGE")]},
        "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
    ),
    refused(
        "second-is-hash",
        {**TABLE, "AttributeDefinitions": AB, "KeySchema": [key("a"), key("b")]},
        "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type",
    ),
    refused(
        "spare-definition",
        {**TABLE, "AttributeDefinitions": AB},
        INVALID + "Number of attributes in KeySchema does not exactly match number of "
        "attributes defined in AttributeDefinitions",
    ),
    refused("no-locals", local(), INVALID + "List of LocalSecondaryIndexes is empty"),
    refused("no-globals", of_all(), INVALID + "List of GlobalSecondaryIndexes is empty"),
    refused(
        "local-without-range",
        {**TABLE, "AttributeDefinitions": AB, "LocalSecondaryIndexes": [index(keys=RANGE)]},
        INVALID + "Table KeySchema does not have a range key, which is required when "
        "specifying a LocalSecondaryIndex",
        MESSAGES,
    ),
    refused(
        "local-undefined",
        local(index(keys=[key("a"), key("d", "RANGE")])),
        INVALID + "Some index key attributes are not defined in AttributeDefinitions. Keys: "
        "[a, d], AttributeDefinitions: [a, b, c]",
    ),
    refused(
        "local-same",
        local(index(keys=[key("a"), key("a", "RANGE")])),
        "Both the Hash Key and the Range Key element in the KeySchema have the same name",
    ),
    refused(
        "local-first-is-range",
        local(index(keys=[key("a", "RANGE"), key("c", "RANGE")])),
        "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
    ),
    refused(
        "local-second-is-hash",
        local(index(keys=[key("a"), key("c")])),
        "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type",
    ),
    refused(
        "local-of-one",
        local(index(keys=[key("a")])),
        INVALID + "Index KeySchema does not have a range key for index: abc",
    ),
    refused(
        "local-other-hash",
        local(index(keys=[key("c"), key("a", "RANGE")])),
        INVALID + "Index KeySchema does not have the same leading hash key as table KeySchema "
        "for index: abc. index hash key: c, table hash key: a",
    ),
    refused(
        "local-no-projection-type",
        local(index(projection={})),
        INVALID + "Unknown ProjectionType: null",
    ),
    refused(
        "local-non-keys-of-all",
        local(index(projection={"ProjectionType": "ALL", "NonKeyAttributes": ["d"]})),
        INVALID + "ProjectionType is ALL, but NonKeyAttributes is specified",
    ),
    refused(
        "local-non-keys-of-keys-only",
        local(index(projection={"ProjectionType": "KEYS_ONLY", "NonKeyAttributes": ["d"]})),
        INVALID + "ProjectionType is KEYS_ONLY, but NonKeyAttributes is specified",
    ),
    refused("local-same-name", local(index(), index()), INVALID + "Duplicate index name: abc"),
    refused(
        "local-six",
        local(*[index(f"index-{number}") for number in range(6)]),
        INVALID + "Number of LocalSecondaryIndexes exceeds per-table limit of 5",
    ),
    refused(
        "global-undefined",
        of_all(index(keys=[key("c"), key("d", "RANGE")])),
        INVALID + "Some index key attributes are not defined in AttributeDefinitions. Keys: "
        "[c, d], AttributeDefinitions: [a, b, c]",
    ),
    refused(
        "global-first-is-range",
        of_all(index(keys=[key("c", "RANGE")])),
        "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
    ),
    refused(
        "global-no-projection-type",
        of_all(index(projection={})),
        INVALID + "Unknown ProjectionType: null",
    ),
    refused(
        "global-non-keys-of-all",
        of_all(index(projection={"ProjectionType": "ALL", "NonKeyAttributes": ["d"]})),
        INVALID + "ProjectionType is ALL, but NonKeyAttributes is specified",
    ),
    refused(
        "global-same-name",
        of_all(index("sameIndex"), index("sameIndex")),
        INVALID + "Duplicate index name: sameIndex",
        MESSAGES,
    ),
    refused(
        "global-twenty-one",
        of_all(*[index(f"index-{number}") for number in range(21)]),
        INVALID + "GlobalSecondaryIndex count exceeds the per-table limit of 20",
    ),
    refused(
        "global-throughput-of-on-demand",
        of_all(index(ProvisionedThroughput=UNITS)),
        INVALID + "ProvisionedThroughput should not be specified for index: abc when "
        "BillingMode is PAY_PER_REQUEST",
    ),
    Case(
        name="key-name-of-256",
        request={
            **TABLE,
            "AttributeDefinitions": [attribute("a" * 256)],
            "KeySchema": [key("a" * 256)],
        },
        error=invalid(re.compile("25[56]")),
        source="Alternator test/alternator/test_limits.py::test_limit_attribute_length_key_bad",
    ),
    Case(
        name="three-keys",
        request={**SORTED, "KeySchema": [*RANGE, key("c", "RANGE")]},
        error=invalid(
            re.compile(
                r"^1 validation error detected: Value '\[KeySchemaElement\(attributeName=a, "
                r"keyType=HASH\), .*\]' at 'keySchema' failed to satisfy constraint: Member must "
                r"have length less than or equal to 2$"
            )
        ),
        source=MESSAGES,
    ),
    Case(
        name="stream-view-without-stream",
        request={
            **TABLE,
            "StreamSpecification": {"StreamEnabled": False, "StreamViewType": "NEW_IMAGE"},
        },
        error=invalid(re.compile(r"StreamViewType|UpdateTable|stream", re.IGNORECASE)),
        source=f"{PARITY.replace('tier3', 'tier1')}/createTable/basic.test.ts",
    ),
]


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", [*CONSTRAINTS, *RULES], ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """What the model forbids is refused, then what keys and indexes make impossible together."""
    run(tables, OP, case)
