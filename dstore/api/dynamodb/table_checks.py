"""What CreateTable is asked for, checked in AWS's order and words.

The order is that of the real service as its answers show it: throughput, keys, local indexes,
global indexes, what no key uses, and the table's other settings.
Sources: DynamoDB API reference, CreateTable; dynalite's recorded answers (validations/createTable);
public issue threads with the service's own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.index_checks import (
    Context,
    check_not_empty,
    global_indexes,
    local_indexes,
    named_keys,
)
from dstore.api.dynamodb.key_schemas import INVALID, attribute_kinds, key_names, listed
from dstore.api.dynamodb.table_names import name_of
from dstore.api.dynamodb.table_setting_checks import (
    check_billing,
    check_stream,
    on_demand_units,
    refuse_unoffered,
    sse_is_asked,
    table_class_of,
    throughput_of,
    warm_units,
)
from dstore.api.dynamodb.table_tags import tags_at_creation
from dstore.model.table_settings import BillingMode, TableSettings
from dstore.model.tables import KeyAttribute
from dstore.service.directory import Declared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.api.dynamodb.action import Members
    from dstore.model.keys import KeyKind


def declared_table(members: Members) -> Declared:
    """Read a CreateTable request whose members have the right types.

    Raises: AwsError: a ValidationException, for the first of what is wrong.
    """
    name = name_of(members["TableName"])
    refuse_unoffered(members)
    billing = BillingMode(members.get("BillingMode", BillingMode.PROVISIONED))
    check_billing(billing, members.get("ProvisionedThroughput"))
    kinds = attribute_kinds(members["AttributeDefinitions"])
    keys = key_names(members["KeySchema"], kinds)
    if "LocalSecondaryIndexes" not in members and "GlobalSecondaryIndexes" not in members:
        _check_all_are_keys(keys, kinds)
    context = Context(billing=billing, kinds=kinds, table_keys=keys)
    local = local_indexes(members.get("LocalSecondaryIndexes"), context)
    declared = members.get("GlobalSecondaryIndexes")
    check_not_empty(declared)
    used = [*keys, *(name for index in local for name in index.keys), *named_keys(declared or [])]
    _check_all_are_used(used, kinds)
    global_ = global_indexes(declared, context, local=local)
    check_stream(members.get("StreamSpecification"), is_new=True)
    throughput = throughput_of(members.get("ProvisionedThroughput"))
    settings = TableSettings(
        billing=billing,
        throughput=throughput,
        on_demand=on_demand_units(members.get("OnDemandThroughput"), billing=billing),
        warm=warm_units(members.get("WarmThroughput"), billing=billing, provisioned=throughput),
        table_class=table_class_of(members),
        is_protected=members.get("DeletionProtectionEnabled", False),
        is_sse_asked=sse_is_asked(members.get("SSESpecification")),
        index_attributes=tuple(
            KeyAttribute(name=name, kind=kind) for name, kind in kinds.items() if name not in keys
        ),
        local_indexes=local,
        global_indexes=global_,
        tags=tags_at_creation(members.get("Tags", [])),
    )
    attributes = [KeyAttribute(name=key, kind=kinds[key]) for key in keys]
    return Declared(
        name=name,
        partition=attributes[0],
        sort=attributes[1] if len(attributes) > 1 else None,
        settings=settings,
    )


def _check_all_are_keys(keys: Sequence[str], kinds: dict[str, KeyKind]) -> None:
    if len(keys) != len(kinds):
        raise validation(
            f"{INVALID}Number of attributes in KeySchema does not exactly match number of "
            "attributes defined in AttributeDefinitions"
        )


def _check_all_are_used(used: Sequence[str], kinds: dict[str, KeyKind]) -> None:
    if not set(kinds) <= set(used):
        raise validation(
            f"{INVALID}Some AttributeDefinitions are not used. AttributeDefinitions: "
            f"{listed(sorted(kinds))}, keys used: {listed(sorted(set(used)))}"
        )
