"""What UpdateTable makes of a table's settings: pure, run in the tenant's turn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.index_updates import IndexUpdates
from dstore.api.dynamodb.key_schemas import INVALID
from dstore.api.dynamodb.table_setting_checks import (
    check_changes,
    new_maxima,
    raised_warm,
    sse_is_asked,
    table_class_of,
    warm_at_start,
)
from dstore.api.dynamodb.update_checks import says_nothing
from dstore.model.table_settings import BillingMode, Index, TableSettings
from dstore.service.tables import changed_throughput

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Members
    from dstore.model.tables import TableDefinition


def changed_settings(
    members: Members, definition: TableDefinition, *, now_us: int
) -> TableSettings:
    """Give the settings that a checked request asks for.

    Raises: AwsError: the table is not such that they can be had; nothing changes then.
    """
    before = definition.settings
    billing = BillingMode(members.get("BillingMode", before.billing))
    if billing is BillingMode.PAY_PER_REQUEST and "ProvisionedThroughput" in members:
        raise validation(
            f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
            "BillingMode is PAY_PER_REQUEST"
        )
    if "StreamSpecification" in members:
        raise validation(f"Table has no stream to disable: TableName: {definition.name}")
    settings = _with_throughput(members, before, now_us=now_us)
    indexes = IndexUpdates(members=members, definition=definition, billing=billing, now_us=now_us)
    settings = indexes.applied(settings)
    if billing is not before.billing:
        settings = _with_billing(settings, definition, now_us=now_us)
    settings = _with_units(members, settings)
    return _with_labels(members, settings, now_us=now_us)


def _with_throughput(members: Members, before: TableSettings, *, now_us: int) -> TableSettings:
    given = members.get("ProvisionedThroughput")
    if given is None:
        return before
    check_changes(before.throughput, given, what="table")
    throughput = changed_throughput(
        before.throughput,
        given["ReadCapacityUnits"],
        given["WriteCapacityUnits"],
        now_us=now_us,
    )
    return replace(before, throughput=throughput)


def _with_billing(
    settings: TableSettings, definition: TableDefinition, *, now_us: int
) -> TableSettings:
    """Switch to the other billing mode; on-demand maxima do not outlive a switch."""
    if settings.billing is BillingMode.PROVISIONED:
        return replace(
            settings,
            billing=BillingMode.PAY_PER_REQUEST,
            on_demand_since_us=now_us,
            throughput=replace(
                settings.throughput, read_units=0, write_units=0, decreased_at_us=None
            ),
            global_indexes=tuple(_on_demand(one, now_us) for one in settings.global_indexes),
        )
    unset = [index.name for index in settings.global_indexes if not index.throughput.read_units]
    if unset:
        raise validation(
            f"{INVALID}ProvisionedThroughput must be specified for index: {','.join(unset)}"
        )
    since_us = settings.on_demand_since_us
    return replace(
        settings,
        billing=BillingMode.PROVISIONED,
        on_demand_since_us=definition.created_at_us if since_us is None else since_us,
        on_demand=None,
        global_indexes=tuple(replace(one, on_demand=None) for one in settings.global_indexes),
    )


def _on_demand(index: Index, now_us: int) -> Index:
    return replace(index, throughput=changed_throughput(index.throughput, 0, 0, now_us=now_us))


def _with_units(members: Members, settings: TableSettings) -> TableSettings:
    on_demand = new_maxima(
        settings.on_demand,
        members.get("OnDemandThroughput"),
        billing=settings.billing,
        where="table",
    )
    if "WarmThroughput" in members and says_nothing(members):
        raise validation(
            f"{INVALID}WarmThroughput must have at least one of ReadUnitsPerSecond or "
            "WriteUnitsPerSecond specified for table"
        )
    warm = raised_warm(
        settings.warm,
        members.get("WarmThroughput"),
        least=warm_at_start(settings.billing, settings.throughput),
        where="table",
    )
    return replace(settings, on_demand=on_demand, warm=warm)


def _with_labels(members: Members, settings: TableSettings, *, now_us: int) -> TableSettings:
    table_class = table_class_of(members)
    if table_class is not None and table_class is not settings.table_class:
        settings = replace(settings, table_class=table_class, class_changed_at_us=now_us)
    is_protected = members.get("DeletionProtectionEnabled", settings.is_protected)
    if "SSESpecification" not in members:
        return replace(settings, is_protected=is_protected)
    is_sse_asked = sse_is_asked(members["SSESpecification"])
    if is_sse_asked is settings.is_sse_asked:
        raise validation(
            f"{INVALID}Table is already encrypted with given KMSMasterKeyId. Use KMSMasterKeyId "
            "parameter if you want to change Master Key"
            if is_sse_asked
            else f"{INVALID}Table is already encrypted by default"
        )
    return replace(settings, is_protected=is_protected, is_sse_asked=is_sse_asked)
