"""Secondary indexes as CreateTable and UpdateTable declare them, checked in AWS's order and words.

Source: DynamoDB API reference, LocalSecondaryIndex and GlobalSecondaryIndex; dynalite's recorded
answers (validations/createTable).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.key_schemas import (
    INVALID,
    check_defined,
    check_different,
    check_keys,
)
from dstore.api.dynamodb.table_setting_checks import on_demand_units, throughput_of, warm_units
from dstore.base.index_limits import INDEX_KEYS_OF_A_ROLE_MAX
from dstore.base.limits import (
    GLOBAL_INDEXES_MAX,
    LOCAL_INDEXES_MAX,
    PROJECTED_ATTRIBUTES_MAX,
)
from dstore.model.table_settings import BillingMode, Index, ProjectionType, Throughput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dstore.model.keys import KeyKind

Declaration = dict[str, Any]
"""One index's structure in a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an index is checked against: the table's billing, definitions and keys."""

    billing: BillingMode
    kinds: Mapping[str, KeyKind]
    table_keys: Sequence[str]


def local_indexes(given: Sequence[Declaration] | None, context: Context) -> tuple[Index, ...]:
    """Read LocalSecondaryIndexes. Raises: AwsError: a ValidationException."""
    if given is None:
        return ()
    if not given:
        raise validation(f"{INVALID}List of LocalSecondaryIndexes is empty")
    if len(context.table_keys) == 1:
        raise validation(
            f"{INVALID}Table KeySchema does not have a range key, which is required when "
            "specifying a LocalSecondaryIndex"
        )
    found = tuple(_local_index(declared, context) for declared in given)
    check_names(found)
    if len(found) > LOCAL_INDEXES_MAX:
        raise validation(
            f"{INVALID}Number of LocalSecondaryIndexes exceeds per-table limit of "
            f"{LOCAL_INDEXES_MAX}"
        )
    check_projected(found)
    return found


def global_indexes(
    given: Sequence[Declaration] | None, context: Context, *, local: tuple[Index, ...]
) -> tuple[Index, ...]:
    """Read GlobalSecondaryIndexes, which share names with `local`. Raises: AwsError."""
    if given is None:
        return ()
    found = tuple(global_index(declared, context) for declared in given)
    check_names(local + found)
    if len(found) > GLOBAL_INDEXES_MAX:
        raise validation(
            f"{INVALID}GlobalSecondaryIndex count exceeds the per-table limit of "
            f"{GLOBAL_INDEXES_MAX}"
        )
    check_projected(local + found)
    return found


def check_not_empty(given: Sequence[Declaration] | None) -> None:
    """Refuse an empty GlobalSecondaryIndexes, which is not the same as none."""
    if given is not None and not given:
        raise validation(f"{INVALID}List of GlobalSecondaryIndexes is empty")


def named_keys(given: Sequence[Declaration]) -> list[str]:
    """List the key attributes that indexes name, before anything is known to be right of them."""
    return [element["AttributeName"] for index in given for element in index["KeySchema"]]


def global_index(declared: Declaration, context: Context) -> Index:
    """Read one global index, of CreateTable or UpdateTable. Raises: AwsError."""
    name = declared["IndexName"]
    hash_keys, range_keys = _global_keys(declared, context)
    projection, included = _projection(declared["Projection"])
    throughput = _throughput(declared, name=name, billing=context.billing)
    return Index(
        name=name,
        hash_keys=hash_keys,
        range_keys=range_keys,
        projection=projection,
        included=included,
        throughput=throughput,
        on_demand=on_demand_units(
            declared.get("OnDemandThroughput"), billing=context.billing, where=f"index : {name}"
        ),
        warm=warm_units(
            declared.get("WarmThroughput"),
            billing=context.billing,
            provisioned=throughput,
            where=f"index {name}",
        ),
    )


def check_names(indexes: Sequence[Index]) -> None:
    """Refuse a name that comes twice; local and global indexes share their names."""
    seen: set[str] = set()
    for index in indexes:
        if index.name in seen:
            raise validation(f"{INVALID}Duplicate index name: {index.name}")
        seen.add(index.name)


def check_projected(indexes: Sequence[Index]) -> None:
    """Bound what all INCLUDE projections of a table name together."""
    projected = sum(len(index.included) for index in indexes)
    if projected > PROJECTED_ATTRIBUTES_MAX:
        raise validation(
            f"{INVALID}Number of NonKeyAttributes of all indexes exceeds per-table limit of "
            f"{PROJECTED_ATTRIBUTES_MAX}"
        )


def _local_index(declared: Declaration, context: Context) -> Index:
    name = declared["IndexName"]
    keys = _keys(declared, context)
    if len(keys) == 1:
        raise validation(f"{INVALID}Index KeySchema does not have a range key for index: {name}")
    if keys[0] != context.table_keys[0]:
        raise validation(
            f"{INVALID}Index KeySchema does not have the same leading hash key as table KeySchema "
            f"for index: {name}. index hash key: {keys[0]}, table hash key: {context.table_keys[0]}"
        )
    projection, included = _projection(declared["Projection"])
    return Index(
        name=name,
        hash_keys=(keys[0],),
        range_keys=(keys[1],),
        projection=projection,
        included=included,
    )


def _keys(declared: Declaration, context: Context) -> list[str]:
    schema = declared["KeySchema"]
    names = [element["AttributeName"] for element in schema]
    check_defined(names, list(context.kinds))
    check_keys(names, [element["KeyType"] for element in schema])
    return names


def _global_keys(
    declared: Declaration, context: Context
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read the keys of a global index, which may have several of either role.

    Two are checked as a table's are, whose words for what is wrong with them are AWS's.
    """
    schema = declared["KeySchema"]
    if len(schema) <= len(("HASH", "RANGE")) and schema[-1]["KeyType"] != "HASH":
        keys = _keys(declared, context)
        return (keys[0],), tuple(keys[1:])
    names = [element["AttributeName"] for element in schema]
    roles = [element["KeyType"] for element in schema]
    check_defined(names, list(context.kinds))
    hashes = roles.count("HASH")
    check_keys(names[:1], roles[:1])
    if roles != sorted(roles) or max(hashes, len(roles) - hashes) > INDEX_KEYS_OF_A_ROLE_MAX:
        raise validation(
            f"Invalid KeySchema: An index has up to {INDEX_KEYS_OF_A_ROLE_MAX} HASH keys, "
            f"which must precede up to {INDEX_KEYS_OF_A_ROLE_MAX} RANGE keys: "
            f"{declared['IndexName']}"
        )
    check_different(names)
    return tuple(names[:hashes]), tuple(names[hashes:])


def _projection(given: Mapping[str, Any]) -> tuple[ProjectionType, tuple[str, ...]]:
    stated = given.get("ProjectionType")
    if stated is None:
        raise validation(f"{INVALID}Unknown ProjectionType: null")
    kind, included = ProjectionType(stated), given.get("NonKeyAttributes")
    if kind is not ProjectionType.INCLUDE:
        if included is not None:
            raise validation(
                f"{INVALID}ProjectionType is {kind}, but NonKeyAttributes is specified"
            )
        return kind, ()
    if not included:
        raise validation(
            f"{INVALID}ProjectionType is INCLUDE, but NonKeyAttributes is not specified"
        )
    for place, name in enumerate(included):
        if name in included[:place]:
            raise validation(f"{INVALID}Duplicate element in NonKeyAttributes: {name}")
    return kind, tuple(included)


def _throughput(declared: Declaration, *, name: str, billing: BillingMode) -> Throughput:
    given = declared.get("ProvisionedThroughput")
    if billing is BillingMode.PAY_PER_REQUEST and given is not None:
        raise validation(
            f"{INVALID}ProvisionedThroughput should not be specified for index: {name} when "
            "BillingMode is PAY_PER_REQUEST"
        )
    if billing is BillingMode.PROVISIONED and given is None:
        raise validation(f"{INVALID}ProvisionedThroughput is not specified for index: {name}")
    return throughput_of(given)
