"""The shapes of what CreateTable and UpdateTable take.

The order of members is that of AWS's complaints, as dynalite recorded it (validations/createTable,
validations/updateTable); members that came later stand behind. Bounds: botocore's service model.
"""

from __future__ import annotations

from typing import Final

from dstore.api.dynamodb.members import NAME, Member, structure, words
from dstore.api.dynamodb.shapes import Boolean, ListOf, Long, Shape, String
from dstore.base.index_limits import INDEX_KEYS_OF_A_ROLE_MAX
from dstore.base.limits import (
    INCLUDED_ATTRIBUTES_MAX,
    KEY_ATTRIBUTE_NAME_CHARS_MAX,
    RESOURCE_ARN_CHARS_MAX,
)

__all__ = [
    "ATTRIBUTE_DEFINITIONS",
    "BILLING_MODE",
    "CREATE_ONLY",
    "GLOBAL_INDEX_UPDATES",
    "KEY_SCHEMA",
    "LATER_MEMBERS",
    "RESOURCE_ARN",
    "TAGS",
    "TAG_KEYS",
    "THROUGHPUT",
    "UPDATE_ONLY",
]

KEYS_MAX: Final = 2  # of a table or a local index: HASH and RANGE
GLOBAL_KEYS_MAX: Final = 2 * INDEX_KEYS_OF_A_ROLE_MAX

_KEY_NAME: Final = String(min=1, max=KEY_ATTRIBUTE_NAME_CHARS_MAX)
_NO_MEMBERS: Final = structure("")  # of what is refused as a whole: its members are dropped


def _key_schema(keys_max: int = KEYS_MAX) -> Member:
    element = structure(
        "KeySchemaElement",
        Member("AttributeName", _KEY_NAME, required=True),
        Member("KeyType", words("HASH", "RANGE"), required=True),
    )
    return Member("KeySchema", ListOf(element, min=1, max=keys_max), required=True)


def _pair(name: str, first: str, second: str) -> Member:
    """Make a structure of two numbers, either of which may be left out."""
    return Member(name, structure(name, Member(first, Long()), Member(second, Long())))


_INDEX_NAME: Final = Member("IndexName", NAME, required=True)
KEY_SCHEMA: Final = _key_schema()
_GLOBAL_KEY_SCHEMA: Final = _key_schema(GLOBAL_KEYS_MAX)
ATTRIBUTE_DEFINITIONS: Final = Member(
    "AttributeDefinitions",
    ListOf(
        structure(
            "AttributeDefinition",
            Member("AttributeName", _KEY_NAME, required=True),
            Member("AttributeType", words("B", "N", "S"), required=True),
        )
    ),
    required=True,
)
BILLING_MODE: Final = Member("BillingMode", words("PROVISIONED", "PAY_PER_REQUEST"))
THROUGHPUT: Final = Member(
    "ProvisionedThroughput",
    structure(
        "ProvisionedThroughput",
        Member("WriteCapacityUnits", Long(min=1), required=True),
        Member("ReadCapacityUnits", Long(min=1), required=True),
    ),
)
_ON_DEMAND: Final = _pair("OnDemandThroughput", "MaxReadRequestUnits", "MaxWriteRequestUnits")
_WARM: Final = _pair("WarmThroughput", "ReadUnitsPerSecond", "WriteUnitsPerSecond")
_PROJECTION: Final = Member(
    "Projection",
    structure(
        "Projection",
        Member("ProjectionType", words("ALL", "INCLUDE", "KEYS_ONLY")),
        Member("NonKeyAttributes", ListOf(_KEY_NAME, min=1, max=INCLUDED_ATTRIBUTES_MAX)),
    ),
    required=True,
)
_LOCAL_INDEXES: Final = Member(
    "LocalSecondaryIndexes",
    ListOf(structure("LocalSecondaryIndex", _INDEX_NAME, KEY_SCHEMA, _PROJECTION)),
)
_GLOBAL_INDEXES: Final = Member(
    "GlobalSecondaryIndexes",
    ListOf(
        structure(
            "GlobalSecondaryIndex",
            _INDEX_NAME,
            _GLOBAL_KEY_SCHEMA,
            _PROJECTION,
            THROUGHPUT,
            _ON_DEMAND,
            _WARM,
        )
    ),
)
GLOBAL_INDEX_UPDATES: Final = Member(
    "GlobalSecondaryIndexUpdates",
    ListOf(
        structure(
            "GlobalSecondaryIndexUpdate",
            Member(
                "Update",
                structure(
                    "UpdateGlobalSecondaryIndexAction", _INDEX_NAME, THROUGHPUT, _ON_DEMAND, _WARM
                ),
            ),
            Member(
                "Create",
                structure(
                    "CreateGlobalSecondaryIndexAction",
                    _PROJECTION,
                    _INDEX_NAME,
                    THROUGHPUT,
                    _GLOBAL_KEY_SCHEMA,
                    _ON_DEMAND,
                    _WARM,
                ),
            ),
            Member("Delete", structure("DeleteGlobalSecondaryIndexAction", _INDEX_NAME)),
        )
    ),
)
# The texts for tags and classes are not those of constraints: `table_tags` and
# `table_setting_checks` have them.
RESOURCE_ARN: Final = Member("ResourceArn", String(min=1, max=RESOURCE_ARN_CHARS_MAX))
TAGS: Final = Member(
    "Tags", ListOf(structure("Tag", Member("Key", String()), Member("Value", String())))
)
TAG_KEYS: Final = Member("TagKeys", ListOf(String()))


def _refused(name: str, shape: Shape) -> Member:
    """Make a member that `table_setting_checks.refuse_unoffered` refuses if it is there."""
    return Member(name, shape)


LATER_MEMBERS: Final = (
    Member(
        "StreamSpecification",
        structure(
            "StreamSpecification",
            Member("StreamEnabled", Boolean(), required=True),
            Member(
                "StreamViewType",
                words("OLD_IMAGE", "KEYS_ONLY", "NEW_AND_OLD_IMAGES", "NEW_IMAGE"),
            ),
        ),
    ),
    Member(
        "SSESpecification",
        structure(
            "SSESpecification",
            Member("Enabled", Boolean()),
            Member("SSEType", words("AES256", "KMS")),
            Member("KMSMasterKeyId", String(min=1)),
        ),
    ),
    Member("TableClass", String()),
    Member("DeletionProtectionEnabled", Boolean()),
    _ON_DEMAND,
    _WARM,
    _refused("GlobalTableSettingsReplicationMode", String()),
)
"""What both operations take beyond the members of the first years."""

CREATE_ONLY: Final = (
    _LOCAL_INDEXES,
    _GLOBAL_INDEXES,
    TAGS,
    _refused("ResourcePolicy", String()),
    _refused("GlobalTableSourceArn", String()),
    _refused("VectorIndexes", ListOf(_NO_MEMBERS)),
)

UPDATE_ONLY: Final = (
    _refused("ReplicaUpdates", ListOf(_NO_MEMBERS, min=1)),
    _refused("MultiRegionConsistency", words("EVENTUAL", "STRONG")),
    _refused("GlobalTableWitnessUpdates", ListOf(_NO_MEMBERS, min=1, max=1)),
    _refused("DisassociationProtectionEnabled", Boolean()),
    _refused("VectorIndexUpdates", ListOf(_NO_MEMBERS)),
)
