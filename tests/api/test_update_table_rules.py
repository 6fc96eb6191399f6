"""UpdateTable's rules on what may be changed together, and on indexes, as the service was seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, Error, invalid, name_of, run, violated
from tests.support.dynamodb_members import NAME_PATTERN, NOT_NULL, enumeration
from tests.support.dynamodb_table_names import LENGTH_3, LENGTH_255, QUIRKS, no_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "UpdateTable"
DYNALITE: Final = "dynalite test/updateTable.js"
SENTENCES: Final = f"{QUIRKS} DDB-TABLE-442"
INVALID: Final = "One or more parameter values were invalid: "
GSI: Final = "GlobalSecondaryIndexUpdates"
AT: Final = "globalSecondaryIndexUpdates.1.member"
UNITS: Final[dict[str, int]] = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
PROVISIONED: Final[dict[str, Any]] = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS}
KEYS: Final = [{"AttributeName": "x", "KeyType": "HASH"}]
CREATE: Final[dict[str, Any]] = {
    "IndexName": "new",
    "KeySchema": KEYS,
    "Projection": {"ProjectionType": "ALL"},
}
NEEDED: Final = (
    "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, "
    "GlobalSecondaryIndexUpdates, SSESpecification, ReplicaUpdates, MultiAccountReplicaReady, "
    "ReplicaTransitRoleArn, MultiRegionConsistency, DeletionProtectionEnabled, "
    "OnDemandThroughput, WarmThroughput or TableClass is required"
)
ONE_AT_A_TIME: Final = Error(
    name="LimitExceededException",
    text="Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously "
    "per table",
)
ON_DEMAND_INDEX: Final = (
    "The only Updates for index: gsi when TableThroughputMode is PAY_PER_REQUEST can be to "
    "OnDemandThroughput, WarmThroughput"
)


def changing(*updates: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Spell a request for <INDEXED> that changes indexes."""
    return {"TableName": "<INDEXED>", GSI: list(updates), **more}


def on(table: str = "P", /, **members: Any) -> dict[str, Any]:
    """Spell a request for a shared table."""
    return {"TableName": f"<{table}>", **members}


def refused(name: str, request: Mapping[str, Any], text: str, number: str) -> Case:
    """Make a case of a sentence behind "One or more parameter values were invalid"."""
    return Case(
        name=name,
        request=request,
        error=invalid(INVALID + text),
        source=f"{QUIRKS} DDB-TABLE-{number}",
    )


def broken(name: str, update: Mapping[str, Any], *violations: tuple[object, str, str]) -> Case:
    """Make a case of constraints of the model, all in the first of the index updates."""
    paths = [(value, f"{AT}.{path}", text) for value, path, text in violations]
    return Case(name=name, request=changing(update), error=violated(*paths), source=DYNALITE)


def delete(name: str = "gsi") -> dict[str, Any]:
    """Spell the update that deletes an index."""
    return {"Delete": {"IndexName": name}}


def create(name: str = "new", **changes: Any) -> dict[str, Any]:
    """Spell the update that creates an index."""
    return {"Create": {**CREATE, "IndexName": name, **changes}}


def update(name: str = "gsi", **members: Any) -> dict[str, Any]:
    """Spell the update that changes an index."""
    return {"Update": {"IndexName": name, **members}}


SHAPES: Final = [
    *[
        broken(f"{kind}-name-{case}", {kind: {**rest, "IndexName": name}}, *violations)
        for kind, rest in (
            ("Delete", {}),
            ("Update", {"ProvisionedThroughput": UNITS}),
            ("Create", CREATE),
        )
        for case, name, violations in (
            ("of-2", "ab", [("ab", f"{kind.lower()}.indexName", LENGTH_3)]),
            ("of-256", "a" * 256, [("a" * 256, f"{kind.lower()}.indexName", LENGTH_255)]),
            ("pattern", "abc;", [("abc;", f"{kind.lower()}.indexName", NAME_PATTERN)]),
            ("slash", "a/bc", [("a/bc", f"{kind.lower()}.indexName", NAME_PATTERN)]),
            (
                "pattern-and-length",
                "a;",
                [
                    ("a;", f"{kind.lower()}.indexName", NAME_PATTERN),
                    ("a;", f"{kind.lower()}.indexName", LENGTH_3),
                ],
            ),
        )
    ],
    broken("update-no-name", {"Update": {}}, (None, "update.indexName", NOT_NULL)),
    broken("delete-no-name", {"Delete": {}}, (None, "delete.indexName", NOT_NULL)),
    *[
        broken(
            f"create-{name}",
            create(Projection=projection),
            (value, f"create.projection.{path}", text),
        )
        for name, projection, value, path, text in (
            (
                "projection-lower-case",
                {"ProjectionType": "all"},
                "all",
                "projectionType",
                enumeration("ALL, INCLUDE, KEYS_ONLY"),
            ),
            (
                "no-attributes",
                {"ProjectionType": "INCLUDE", "NonKeyAttributes": []},
                "[]",
                "nonKeyAttributes",
                "Member must have length greater than or equal to 1",
            ),
            (
                "21-attributes",
                {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a"] * 21},
                f"[{', '.join(['a'] * 21)}]",
                "nonKeyAttributes",
                "Member must have length less than or equal to 20",
            ),
        )
    ],
    *[
        broken(
            f"{kind}-{member}-{units}",
            {kind: {**rest, "ProvisionedThroughput": {**UNITS, member: units}}},
            (
                units,
                f"{kind.lower()}.provisionedThroughput.{member[0].lower()}{member[1:]}",
                "Member must have value greater than or equal to 1",
            ),
        )
        for kind, rest in (("Update", {"IndexName": "gsi"}), ("Create", CREATE))
        for member in UNITS
        for units in (0, -1)
    ],
    broken(
        "create-key-type",
        create(KeySchema=[{"AttributeName": "x", "KeyType": "hash"}]),
        ("hash", "create.keySchema.1.member.keyType", enumeration("HASH, RANGE")),
    ),
    broken(
        "create-key-without-type",
        create(KeySchema=[{"AttributeName": "x"}]),
        (None, "create.keySchema.1.member.keyType", NOT_NULL),
    ),
    broken(
        "create-key-without-name",
        create(KeySchema=[{"KeyType": "HASH"}]),
        (None, "create.keySchema.1.member.attributeName", NOT_NULL),
    ),
]

RULES: Final = [
    *[
        Case(
            name=f"needs-something-{name}",
            request=request,
            error=invalid(NEEDED),
            source=f"{QUIRKS} DDB-TABLE-{number}",
        )
        for name, request, number in (
            ("name-alone", on(), "015"),
            ("no-updates", on(**{GSI: []}), "359"),
            (
                "definitions-alone",
                on(AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}]),
                "162",
            ),
            ("definitions-and-no-updates", on(AttributeDefinitions=[], **{GSI: []}), "359"),
            ("table-gone", on("GONE"), "015"),
            ("nulls", on(BillingMode=None, TableClass=None), "015"),
        )
    ],
    *[
        refused(
            f"empty-list-beside-{name}",
            on(**{GSI: []}, **{name: value}),
            "List of GlobalSecondaryIndexUpdates is empty",
            "359",
        )
        for name, value in (
            ("DeletionProtectionEnabled", False),
            ("BillingMode", "PAY_PER_REQUEST"),
            ("OnDemandThroughput", {"MaxReadRequestUnits": 5}),
        )
    ],
    *[
        refused(
            f"{member}-beside-{other}",
            on(**{member: value, other: beside}),
            f"{what} must be the only operation in the request",
            "442",
        )
        for member, value, what in (
            ("SSESpecification", {"Enabled": True}, "Server-Side Encryption modification"),
            ("TableClass", "STANDARD", "TableClass modification"),
            ("DeletionProtectionEnabled", True, "DeletionProtection modification"),
            ("WarmThroughput", {"ReadUnitsPerSecond": 13_000}, "WarmThroughput"),
        )
        for other, beside in (
            ("BillingMode", "PAY_PER_REQUEST"),
            ("OnDemandThroughput", {"MaxReadRequestUnits": 5}),
            (GSI, [delete("abc")]),
        )
    ],
    *[
        refused(
            f"OnDemandThroughput-beside-{name}",
            on(OnDemandThroughput={"MaxReadRequestUnits": 5}, **more),
            "OnDemandThroughput can only be combined with BillingMode in an UpdateTable request",
            "442",
        )
        for name, more in (
            ("ProvisionedThroughput", PROVISIONED),
            ("StreamSpecification", {"StreamSpecification": {"StreamEnabled": False}}),
            (GSI, {GSI: [delete("abc")]}),
        )
    ],
    *[
        refused(
            f"create-beside-{name}",
            changing(create(), **more),
            text,
            "174",
        )
        for name, more, text in (
            (
                "ProvisionedThroughput",
                {"ProvisionedThroughput": UNITS},
                "You cannot create or delete index while updating table IOPS",
            ),
            (
                "StreamSpecification",
                {
                    "StreamSpecification": {
                        "StreamEnabled": True,
                        "StreamViewType": "NEW_IMAGE",
                    }
                },
                "You cannot create or delete index while changing stream status",
            ),
            (
                "DeletionProtectionEnabled",
                {"DeletionProtectionEnabled": True},
                "DeletionProtection modification must be the only operation in the request",
            ),
            (
                "SSESpecification",
                {"SSESpecification": {"Enabled": True}},
                "Server-Side Encryption modification must be the only operation in the request",
            ),
            (
                "TableClass",
                {"TableClass": "STANDARD"},
                "TableClass modification must be the only operation in the request",
            ),
            (
                "WarmThroughput",
                {"WarmThroughput": {"ReadUnitsPerSecond": 13_000}},
                "Create global secondary index cannot be specified when updating WarmThroughput",
            ),
        )
    ],
    refused(
        "stream-beside-throughput",
        on(
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            **PROVISIONED,
        ),
        "You cannot modify stream status while updating table IOPS",
        "442",
    ),
    *[
        refused(
            f"same-index-{name}",
            changing(*updates),
            "Only one global secondary index update per index is allowed simultaneously. "
            "Index: gsi",
            "160",
        )
        for name, updates in (
            ("deleted-and-created", [delete(), create("gsi")]),
            (
                "updated-twice",
                [update(ProvisionedThroughput=UNITS), update(ProvisionedThroughput=UNITS)],
            ),
            ("deleted-and-updated", [delete(), update(ProvisionedThroughput=UNITS)]),
        )
    ],
    refused(
        "two-actions",
        changing({**delete(), **update(ProvisionedThroughput=UNITS)}),
        "Only one global secondary index action is allowed per GlobalSecondaryIndexUpdate object",
        "160",
    ),
    refused(
        "no-action",
        changing({}),
        "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, "
        "GlobalSecondaryIndexUpdate.Delete must not be null",
        "160",
    ),
    *[
        Case(name=f"one-index-{name}", request=request, error=ONE_AT_A_TIME, source=source)
        for name, request, source in (
            ("two-created", changing(create("g3x"), create("g4x")), f"{QUIRKS} DDB-TABLE-159"),
            ("created-and-deleted", changing(create(), delete()), f"{QUIRKS} DDB-TABLE-159"),
            ("six-deleted", changing(*map(delete, ("a1x", "a2x", "a3x"))), DYNALITE),
        )
    ],
    *[
        refused(f"on-demand-index-{name}", changing(update(**more)), ON_DEMAND_INDEX, number)
        for name, more, number in (
            ("nothing", {}, "456"),
            ("empty-maxima", {"OnDemandThroughput": {}}, "456"),
            ("units", {"ProvisionedThroughput": UNITS}, "152"),
        )
    ],
    *[
        refused(
            f"empty-warmth-of-{name}",
            {**changing(update(index, WarmThroughput={})), "TableName": f"<{table}>"},
            "WarmThroughput must have at least one of ReadUnitsPerSecond or WriteUnitsPerSecond "
            f"specified for index: {index}",
            "456",
        )
        for name, table, index in (
            ("an-index", "INDEXED", "gsi"),
            ("no-index", "INDEXED", "ghost"),
            ("no-table", "GONE", "gsi"),
        )
    ],
    refused(
        "create-without-definitions",
        changing(create()),
        "AttributeDefinitions is not specified for index: new",
        "162",
    ),
    Case(
        name="create-an-index-that-is-there",
        request=changing(
            create("gsi"), AttributeDefinitions=[{"AttributeName": "x", "AttributeType": "S"}]
        ),
        error=invalid("Attempting to create an index which already exists"),
        source=SENTENCES,
    ),
    *[
        Case(
            name=f"{name}-a-local-index",
            request=changing(action),
            error=invalid(f"Cannot {name} an index that is not a GlobalSecondaryIndex: lsi"),
            source=SENTENCES,
        )
        for name, action in (
            ("delete", delete("lsi")),
            ("update", update("lsi", OnDemandThroughput={"MaxReadRequestUnits": 5})),
        )
    ],
    *[
        Case(
            name=f"{name}-an-index-that-is-not-there",
            request=changing(action),
            error=Error(
                name="ResourceNotFoundException",
                text="Requested resource not found: Index ghost for table <INDEXED>",
            ),
            source=f"{QUIRKS} DDB-TABLE-446",
        )
        for name, action in (
            ("delete", delete("ghost")),
            ("update", update("ghost", OnDemandThroughput={"MaxReadRequestUnits": 5})),
        )
    ],
    *[
        Case(
            name=f"shape-before-table-{name}",
            request=on("GONE", **members),
            error=invalid(text),
            source=f"{QUIRKS} DDB-TABLE-070",
        )
        for name, members, text in (
            (
                "zero-units",
                {"ProvisionedThroughput": {**UNITS, "WriteCapacityUnits": 0}},
                re.compile(r"^1 validation error detected: Value '0' at 'provisionedThroughput\."),
            ),
            (
                "too-many-units",
                {"ProvisionedThroughput": {**UNITS, "WriteCapacityUnits": 10**12 + 1}},
                "Given value 1000000000001 for WriteCapacityUnits is out of bounds",
            ),
            (
                "class",
                {"TableClass": "GOLD"},
                (
                    "Invalid table-class parameter provided. Please try again with a valid "
                    "table-class value: [STANDARD, STANDARD_INFREQUENT_ACCESS]."
                ),
            ),
        )
    ],
    *[
        Case(name=f"table-gone-{name}", request=on("GONE", **members), error=no_table(), source=src)
        for name, members, src in (
            ("units", {"ProvisionedThroughput": UNITS}, DYNALITE),
            ("protection", {"DeletionProtectionEnabled": True}, f"{QUIRKS} DDB-TABLE-070"),
            ("empty-warmth", {"WarmThroughput": {}}, f"{QUIRKS} DDB-TABLE-446"),
        )
    ],
    *[
        Case(name=name, request=request, error=invalid(text), source=SENTENCES)
        for name, request, text in (
            (
                "stream-without-view",
                on(StreamSpecification={"StreamEnabled": True}),
                f"{INVALID}If stream is being enabled then UpdateViewType is required",
            ),
            (
                "view-without-stream",
                on(StreamSpecification={"StreamEnabled": False, "StreamViewType": "KEYS_ONLY"}),
                f"{INVALID}If stream is being disabled, then UpdateViewType must not be specified",
            ),
            (
                "no-stream-to-disable",
                on(StreamSpecification={"StreamEnabled": False}),
                "Table has no stream to disable: TableName: <P>",
            ),
            (
                "encrypted-by-default",
                on(SSESpecification={}),
                f"{INVALID}Table is already encrypted by default",
            ),
            (
                "not-encrypted",
                on(SSESpecification={"Enabled": False}),
                f"{INVALID}Table is already encrypted by default",
            ),
            (
                "encryption-type-of-none",
                on(SSESpecification={"Enabled": False, "SSEType": "KMS"}),
                f"{INVALID}SSEType can not be specified if Enabled is false",
            ),
            (
                "key-of-no-encryption",
                on(SSESpecification={"Enabled": False, "KMSMasterKeyId": "k"}),
                f"{INVALID}KMSMasterKeyId can not be specified if Enabled is false",
            ),
            (
                "key-without-type",
                on(SSESpecification={"Enabled": True, "KMSMasterKeyId": "k"}),
                f"{INVALID}SSEType KMS is required if KMSMasterKeyId is specified",
            ),
            (
                "aes",
                on(SSESpecification={"Enabled": True, "SSEType": "AES256"}),
                f"{INVALID}SSEType AES256 is not supported",
            ),
        )
    ],
]


@pytest.mark.parametrize("case", SHAPES, ids=name_of)
def test_constraints(tables: Tables, case: Case) -> None:
    """What the model forbids in an index's update is refused with its path."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", RULES, ids=name_of)
def test_rules(tables: Tables, case: Case) -> None:
    """What cannot be had together, or is not there to be changed, is refused."""
    run(tables, OP, case)
