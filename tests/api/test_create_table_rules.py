"""CreateTable's rules on keys, indexes and units, and their order, as the service was seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, invalid, name_of, run, violated
from tests.support.dynamodb_members import NAME_PATTERN, NOT_NULL, PARITY, enumeration
from tests.support.dynamodb_table_names import (
    LENGTH_3,
    LENGTH_255,
    QUIRKS,
    arn_cases,
    name_cases,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "CreateTable"
DYNALITE: Final = "dynalite test/createTable.js"
ORDERING: Final = f"{PARITY}/validation-ordering/createTable.test.ts"
INVALID: Final = "One or more parameter values were invalid: "
UNITS: Final[dict[str, int]] = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
ALL: Final[dict[str, Any]] = {"ProjectionType": "ALL"}
PROVISIONED: Final[dict[str, Any]] = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS}


def table(keys: str = "p", defined: str = "", **members: Any) -> dict[str, Any]:
    """Spell a table on demand; its keys, and what is defined, are letters."""
    return {
        "TableName": "cases.rules",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"} for name in defined or keys
        ],
        "KeySchema": schema(keys),
        "BillingMode": "PAY_PER_REQUEST",
        **members,
    }


def schema(keys: str) -> list[dict[str, str]]:
    """Spell a key schema; `ab` has the keys a, HASH, and b, RANGE."""
    return [
        {"AttributeName": name, "KeyType": kind}
        for name, kind in zip(keys, ("HASH", "RANGE"), strict=False)
    ]


def gsi(name: str = "gsi", keys: str = "a", **members: Any) -> dict[str, Any]:
    """Spell an index."""
    return {"IndexName": name, "KeySchema": schema(keys), "Projection": ALL, **members}


def indexed(*indexes: Any, **members: Any) -> dict[str, Any]:
    """Spell a table with these global indexes, whose keys are of a and b."""
    defined = "p" + "".join(
        letter for letter in "ab" if f"'{letter}'" in str([one["KeySchema"] for one in indexes])
    )
    return table("p", defined, GlobalSecondaryIndexes=list(indexes), **members)


def sorted_table(*indexes: Any, **members: Any) -> dict[str, Any]:
    """Spell a table with the keys p and s and these local indexes."""
    defined = "ps" + ("a" if "'a'" in str(indexes) else "")
    return table("ps", defined, LocalSecondaryIndexes=list(indexes), **members)


def refused(name: str, request: Mapping[str, Any], text: str, number: str) -> Case:
    """Make a case of a sentence behind "One or more parameter values were invalid"."""
    source = f"{QUIRKS} DDB-TABLE-{number}"
    return Case(name=name, request=request, error=invalid(INVALID + text), source=source)


def of_words(name: str, request: Mapping[str, Any], pattern: str, number: str) -> Case:
    """Make a case whose sentence the source quotes in part."""
    source = f"{QUIRKS} DDB-TABLE-{number}"
    return Case(name=name, request=request, error=invalid(re.compile(pattern)), source=source)


NAMES: Final = [*name_cases(OP, table()), *arn_cases(table(), gone=invalid(""))[:-1]]

SHAPES: Final = [
    *[
        Case(
            name=f"index-name-{kind[:5]}-{name[:4]}-of-{len(name)}",
            request=request,
            error=violated(*((name, f"{kind}.1.member.indexName", text) for text in broken)),
            source=DYNALITE,
        )
        for name, broken in (
            ("ab", [LENGTH_3]),
            ("a" * 256, [LENGTH_255]),
            ("abc;", [NAME_PATTERN]),
            ("h;", [NAME_PATTERN, LENGTH_3]),
            ("", [NAME_PATTERN, LENGTH_3]),
        )
        for kind, request in (
            ("globalSecondaryIndexes", indexed(gsi(name))),
            ("localSecondaryIndexes", sorted_table(gsi(name, "pa"))),
        )
    ],
    *[
        Case(
            name=f"global-names-first-{g}-{el}",
            request={**sorted_table(gsi(el, "pa")), "GlobalSecondaryIndexes": [gsi(g)]},
            error=violated(
                (g, "globalSecondaryIndexes.1.member.indexName", LENGTH_3),
                (el, "localSecondaryIndexes.1.member.indexName", LENGTH_3),
            ),
            source=ORDERING,
        )
        for g, el in (("g1", "l1"), ("zz", "aa"))
    ],
    *[
        Case(
            name=f"index-{kind[:5]}-{name}",
            request=request,
            error=violated((value, f"{kind}.1.member.{path}", text)),
            source=f"{QUIRKS} DDB-TABLE-126",
        )
        for name, change, value, path, text in (
            ("no-projection", {"Projection": None}, None, "projection", NOT_NULL),
            ("no-schema", {"KeySchema": None}, None, "keySchema", NOT_NULL),
            ("no-name", {"IndexName": None}, None, "indexName", NOT_NULL),
            (
                "empty-schema",
                {"KeySchema": []},
                "[]",
                "keySchema",
                "Member must have length greater than or equal to 1",
            ),
            (
                "projection-in-lower-case",
                {"Projection": {"ProjectionType": "all"}},
                "all",
                "projection.projectionType",
                enumeration("ALL, INCLUDE, KEYS_ONLY"),
            ),
            (
                "attributes-empty",
                {"Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": []}},
                "[]",
                "projection.nonKeyAttributes",
                "Member must have length greater than or equal to 1",
            ),
            (
                "21-attributes",
                {"Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"] * 21}},
                f"[{', '.join(['x'] * 21)}]",
                "projection.nonKeyAttributes",
                "Member must have length less than or equal to 20",
            ),
        )
        for kind, request in (
            (
                "globalSecondaryIndexes",
                {**indexed(gsi()), "GlobalSecondaryIndexes": [{**gsi(), **change}]},
            ),
            (
                "localSecondaryIndexes",
                {
                    **sorted_table(gsi(keys="pa")),
                    "LocalSecondaryIndexes": [{**gsi(keys="pa"), **change}],
                },
            ),
        )
    ],
    *[
        Case(
            name=f"units-{member}-{units}-of-{where}",
            request=request,
            error=violated(
                (
                    units,
                    f"{path}.{member[0].lower()}{member[1:]}",
                    "Member must have value greater than or equal to 1",
                )
            ),
            source=f"{QUIRKS} DDB-TABLE-128",
        )
        for member in UNITS
        for units in (0, -1)
        for where, path, request in (
            (
                "table",
                "provisionedThroughput",
                table(**{**PROVISIONED, "ProvisionedThroughput": {**UNITS, member: units}}),
            ),
            (
                "index",
                "globalSecondaryIndexes.1.member.provisionedThroughput",
                indexed(gsi(ProvisionedThroughput={**UNITS, member: units}), **PROVISIONED),
            ),
        )
    ],
]

UNUSED: Final = (
    r"^One or more parameter values were invalid: Some AttributeDefinitions are not used\. "
)
RULES: Final = [
    *[
        of_words(
            f"unused-before-{name}",
            {
                **indexed(index),
                "AttributeDefinitions": table("p", "pabq")["AttributeDefinitions"],
            },
            UNUSED + r"AttributeDefinitions: \[[abpq, ]{10}\], keys used: \[[ap, ]{4}\]$",
            "127",
        )
        for name, index in (
            ("projection", gsi(Projection={})),
            ("units", gsi(ProvisionedThroughput=UNITS)),
            ("attributes-of-all", gsi(Projection={**ALL, "NonKeyAttributes": ["x"]})),
        )
    ],
    of_words(
        "undefined-key-of-an-index",
        table("ps", GlobalSecondaryIndexes=[gsi(keys="q")]),
        r"^One or more parameter values were invalid: Some index key attributes are not defined in "
        r"AttributeDefinitions\. Keys: \[q\], AttributeDefinitions: \[(p, s|s, p)\]$",
        "127",
    ),
    *[
        Case(
            name=f"definition-twice-{kind}",
            request={
                **table(),
                "AttributeDefinitions": [
                    {"AttributeName": "p", "AttributeType": "S"},
                    {"AttributeName": "p", "AttributeType": kind},
                ],
            },
            error=invalid("Attribute Name is duplicated: p"),
            source=f"{QUIRKS} DDB-TABLE-127",
        )
        for kind in ("S", "N")
    ],
    refused(
        "unused-without-index",
        table("p", "pq"),
        "Number of attributes in KeySchema does not exactly match number of attributes defined in "
        "AttributeDefinitions",
        "127",
    ),
    *[
        Case(
            name=f"order-{name}",
            request=request,
            error=invalid(text),
            source=f"{QUIRKS} DDB-TABLE-124",
        )
        for name, request, text in (
            (
                "range-first",
                {**table("ps"), "KeySchema": schema("ps")[::-1]},
                "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
            ),
            (
                "range-first-in-index",
                indexed({**gsi(), "KeySchema": schema("ab")[::-1]}),
                "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
            ),
            (
                "range-alone-in-index",
                indexed({**gsi(), "KeySchema": [{"AttributeName": "a", "KeyType": "RANGE"}]}),
                "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
            ),
            (
                "two-hashes",
                {**table("ps"), "KeySchema": schema("p") + schema("s")},
                "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type",
            ),
        )
    ],
    *[
        refused(f"projection-{name}", indexed(gsi(Projection=projection)), text, "126")
        for name, projection, text in (
            ("nothing", {}, "Unknown ProjectionType: null"),
            ("attributes-alone", {"NonKeyAttributes": ["x"]}, "Unknown ProjectionType: null"),
            (
                "include-nothing",
                {"ProjectionType": "INCLUDE"},
                "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
            ),
            (
                "all-and-attributes",
                {**ALL, "NonKeyAttributes": ["x"]},
                "ProjectionType is ALL, but NonKeyAttributes is specified",
            ),
            (
                "keys-and-attributes",
                {"ProjectionType": "KEYS_ONLY", "NonKeyAttributes": ["x"]},
                "ProjectionType is KEYS_ONLY, but NonKeyAttributes is specified",
            ),
            (
                "same-attribute-twice",
                {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x", "y", "x"]},
                "Duplicate element in NonKeyAttributes: x",
            ),
        )
    ],
    *[
        refused(name, request, text, number)
        for name, request, text, number in (
            (
                "on-demand-units",
                table(ProvisionedThroughput=UNITS),
                (
                    "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
                    "BillingMode is PAY_PER_REQUEST"
                ),
                "128",
            ),
            (
                "on-demand-units-of-index",
                indexed(gsi(ProvisionedThroughput=UNITS)),
                (
                    "ProvisionedThroughput should not be specified for index: gsi when "
                    "BillingMode is PAY_PER_REQUEST"
                ),
                "128",
            ),
            (
                "provisioned-index-without-units",
                indexed(gsi(), **PROVISIONED),
                "ProvisionedThroughput is not specified for index: gsi",
                "128",
            ),
            (
                "maxima-of-provisioned",
                table(**PROVISIONED, OnDemandThroughput={"MaxReadRequestUnits": 5}),
                (
                    "MaxReadRequestUnits for OnDemandThroughput cannot be specified when table "
                    "BillingMode is PROVISIONED."
                ),
                "128",
            ),
            (
                "empty-global-indexes",
                table(GlobalSecondaryIndexes=[]),
                "List of GlobalSecondaryIndexes is empty",
                "043",
            ),
            (
                "empty-local-indexes",
                table("ps", LocalSecondaryIndexes=[]),
                "List of LocalSecondaryIndexes is empty",
                "043",
            ),
            (
                "21-global-indexes",
                indexed(*(gsi(f"gsi{number}") for number in range(21))),
                "GlobalSecondaryIndex count exceeds the per-table limit of 20",
                "129",
            ),
            (
                "6-local-indexes",
                sorted_table(*(gsi(f"lsi{number}", "pa") for number in range(6))),
                "Number of LocalSecondaryIndexes exceeds per-table limit of 5",
                "129",
            ),
            (
                "local-index-without-range",
                table("p", LocalSecondaryIndexes=[gsi(keys="p")]),
                (
                    "Table KeySchema does not have a range key, which is required when "
                    "specifying a LocalSecondaryIndex"
                ),
                "129",
            ),
            (
                "local-index-of-another-hash",
                sorted_table(gsi("l-a", "as")),
                (
                    "Index KeySchema does not have the same leading hash key as table KeySchema "
                    "for index: l-a. index hash key: a, table hash key: p"
                ),
                "129",
            ),
            (
                "local-index-of-a-hash-alone",
                sorted_table(gsi("l-a", "p")),
                "Index KeySchema does not have a range key for index: l-a",
                "129",
            ),
            ("same-names", indexed(gsi("dup"), gsi("dup")), "Duplicate index name: dup", "129"),
            (
                "same-names-of-both-kinds",
                sorted_table(gsi("dup", "pa"), GlobalSecondaryIndexes=[gsi("dup")]),
                "Duplicate index name: dup",
                "129",
            ),
        )
    ],
    *[
        of_words(
            f"{member}-{units}-of-{where}",
            request,
            rf"^{INVALID}Requested {member} for OnDemandThroughput for {where} ?:?.*is outside of "
            r"valid range$",
            "128",
        )
        for member in ("MaxReadRequestUnits", "MaxWriteRequestUnits")
        for units in (0, -1, -2)
        for where, request in (
            ("table", table(OnDemandThroughput={member: units})),
            ("index", indexed(gsi(OnDemandThroughput={member: units}))),
        )
    ],
    *[
        of_words(
            f"{member}-of-{where}-too-cold",
            request,
            rf"^{INVALID}Requested {member} for WarmThroughput for {where}.* is lower than initial "
            r"throughput for OnDemand\. See: https://docs\.aws\.amazon\.com/",
            "128",
        )
        for member, units in (("ReadUnitsPerSecond", 11_999), ("WriteUnitsPerSecond", 3_999))
        for where, request in (
            ("table", table(WarmThroughput={member: units})),
            ("index", indexed(gsi(WarmThroughput={member: units}))),
        )
    ],
]

ACCEPTED: Final[dict[str, dict[str, Any]]] = {
    "no-tags": table(Tags=[]),
    "no-stream": table(StreamSpecification={"StreamEnabled": False}),
    "empty-units": table(OnDemandThroughput={}, WarmThroughput={}),
    "empty-units-of-index": indexed(gsi(OnDemandThroughput={}, WarmThroughput={})),
    "read-maximum-of-index": indexed(gsi(OnDemandThroughput={"MaxReadRequestUnits": 5})),
    "local-index-on-the-sort-key": sorted_table(gsi(keys="ps")),
    "global-index-on-the-key": indexed(gsi(keys="p")),
    "projects-its-own-key": indexed(
        gsi(Projection={"ProjectionType": "INCLUDE", "NonKeyAttributes": ["p", "a"]})
    ),
    "20-global-indexes": indexed(*(gsi(f"gsi{number}") for number in range(20))),
    "5-local-indexes": sorted_table(*(gsi(f"lsi{number}", "pa") for number in range(5))),
    "50-tags": table(Tags=[{"Key": f"k{number}", "Value": "v"} for number in range(50)]),
}


@pytest.mark.parametrize("case", [*NAMES, *SHAPES], ids=name_of)
def test_constraints(tables: Tables, case: Case) -> None:
    """What the model forbids is refused with its path."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", RULES, ids=name_of)
def test_rules(tables: Tables, case: Case) -> None:
    """What contradicts itself or exceeds a bound is refused, in the service's order."""
    run(tables, OP, case)


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(tables: Tables, name: str) -> None:
    """What the service was seen to accept makes a table (ack-api-quirks DDB-TABLE-043 to 457)."""
    made = tables.new_name()
    described = tables.dynamodb.do(OP, {**ACCEPTED[name], "TableName": made})
    assert described["TableDescription"]["TableStatus"] == "CREATING"
    tables.wait_active(made)
    tables.dynamodb.do("DeleteTable", {"TableName": made})


def test_an_index_named_like_its_table(tables: Tables) -> None:
    """The two have names of their own (ack-api-quirks DDB-TABLE-129)."""
    made = tables.new_name()
    request = {**indexed(gsi(made)), "TableName": made}
    described = tables.dynamodb.do(OP, request)["TableDescription"]
    assert [index["IndexName"] for index in described["GlobalSecondaryIndexes"]] == [made]
