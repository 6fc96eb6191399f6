"""TableDescription, as CreateTable, DescribeTable, UpdateTable and DeleteTable answer it.

ItemCount is exact where the table's file was opened by now, else as last noted. TableSizeBytes is
the size of the table's database, whose pages hold the items and the log of the newest changes; it
is 0 while there is no item. A local index has its count from the table's files, and as its size
the bytes of its rows, which lie in them. A global index counts what it holds by now. It is CREATING
until all that the table had is in it, and Backfilling while that goes on, unless it was made with
its table. One that goes is there until nothing is left of it.
Source: DynamoDB API reference, TableDescription and GlobalSecondaryIndexDescription; developer
guide, "Managing Global Secondary Indexes" (resource allocation, backfilling); Alternator's suite
(test_describe_table.py, test_gsi_updatetable.py) for what an answer leaves out, and for how long
the table is UPDATING.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.table_names import ACCOUNT, table_arn
from dstore.api.dynamodb.table_setting_checks import MANAGED_KEY, warm_at_start
from dstore.base.clock import US_PER_MS
from dstore.model.index_rows import IndexSize
from dstore.model.status import ResourceStatus
from dstore.model.table_settings import BillingMode, Index, Throughput, UnitPair
from dstore.service.tables import decreases_today

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call
    from dstore.model.ranges import Table
    from dstore.model.tables import TableDefinition
    from dstore.service.directory import KnownIndex

Description = dict[str, Any]

_MS_PER_S = 1_000
_CHANGING: Final = frozenset({ResourceStatus.CREATING, ResourceStatus.DELETING})


class TableStatus(StrEnum):
    """What a table is doing; UPDATING is one whose index is being placed, or given up."""

    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    UPDATING = "UPDATING"
    DELETING = "DELETING"


_INDEX_STATUS: Final = {
    ResourceStatus.CREATING: TableStatus.CREATING,
    ResourceStatus.UPDATING: TableStatus.CREATING,
    ResourceStatus.ACTIVE: TableStatus.ACTIVE,
    ResourceStatus.DELETING: TableStatus.DELETING,
}


def status_of(call: Call, table: Table) -> TableStatus:
    """Say what a table is doing. While an index is filled it is ACTIVE, as at AWS."""
    directory = call.cases.directory
    if directory.status(table) is ResourceStatus.CREATING:
        return TableStatus.CREATING
    is_changing = any(index.status in _CHANGING for index in directory.indexes(table))
    return TableStatus.UPDATING if is_changing else TableStatus.ACTIVE


def described(call: Call, table: Table, status: TableStatus) -> Description:
    """Describe a table that is there."""
    definition, settings = table.definition, table.definition.settings
    answer = deleted(call, table) | {
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in sorted(definition.attributes.items())
        ],
        "KeySchema": _key_schema(
            (definition.partition.name,),
            () if definition.sort is None else (definition.sort.name,),
        ),
        "TableStatus": status,
        "CreationDateTime": seconds(definition.created_at_us),
    }
    if settings.local_indexes:
        sizes = call.cases.directory.index_sizes(table)
        answer["LocalSecondaryIndexes"] = [
            _described_index(call, definition, index, size=sizes.get(index.name, IndexSize()))
            for index in settings.local_indexes
        ]
    if global_indexes := _global_indexes(call, table):
        answer["GlobalSecondaryIndexes"] = global_indexes
    answer["WarmThroughput"] = _warm(settings.warm, settings.billing, settings.throughput)
    return answer


def created(call: Call, table: Table) -> Description:
    """Describe a table as CreateTable does: without what AWS knows only when it is made."""
    settings = table.definition.settings
    answer = described(call, table, TableStatus.CREATING)
    if settings.billing is BillingMode.PAY_PER_REQUEST:
        answer["BillingModeSummary"] = {"BillingMode": settings.billing}
    if settings.warm is None:
        del answer["WarmThroughput"]
    for index, entry in zip(
        settings.global_indexes, answer.get("GlobalSecondaryIndexes", ()), strict=True
    ):
        entry["IndexStatus"] = TableStatus.CREATING
        if index.warm is None:
            del entry["WarmThroughput"]
    return answer


def deleted(call: Call, table: Table) -> Description:
    """Describe a table as DeleteTable does: without its keys, indexes and birthday."""
    definition, settings = table.definition, table.definition.settings
    count = call.cases.directory.quantity(table)
    answer = {
        "TableName": definition.name,
        "TableStatus": TableStatus.DELETING,
        "TableArn": table_arn(call.region, definition.name),
        "TableId": definition.table_id,
        "ItemCount": count,
        "TableSizeBytes": call.cases.directory.size_bytes(table) if count else 0,
        "ProvisionedThroughput": _throughput(call, settings.throughput),
        "DeletionProtectionEnabled": settings.is_protected,
    }
    answer |= _billing(definition)
    if settings.on_demand is not None:
        answer["OnDemandThroughput"] = _maxima(settings.on_demand)
    if settings.table_class is not None:
        answer["TableClassSummary"] = {"TableClass": settings.table_class} | _at(
            "LastUpdateDateTime", settings.class_changed_at_us
        )
    if settings.is_sse_asked:
        answer["SSEDescription"] = {
            "Status": "ENABLED",
            "SSEType": "KMS",
            "KMSMasterKeyArn": f"arn:aws:kms:{call.region}:{ACCOUNT}:{MANAGED_KEY}",
        }
    return answer


def updated(
    call: Call, before: TableDefinition, after: Table, *, status: TableStatus
) -> Description:
    """Describe a table as UpdateTable does, which answers while AWS is still at it.

    Units are those from before, dated as changed now; an index that comes is there as CREATING,
    one that goes as DELETING, and one whose units change as UPDATING.
    """
    old, new = before.settings, after.definition.settings
    answer = described(call, after, status)
    answer["ProvisionedThroughput"] = _between(call, old.throughput, new.throughput)
    was = {index.name: index for index in old.global_indexes}
    will = {index.name for index in new.global_indexes}
    entries = [
        entry for entry in answer.pop("GlobalSecondaryIndexes", []) if entry["IndexName"] in will
    ]
    for index, entry in zip(new.global_indexes, entries, strict=True):
        if index.name not in was:
            entry |= {"IndexStatus": TableStatus.CREATING, "Backfilling": False}
            continue
        if index != was[index.name]:
            entry["IndexStatus"] = TableStatus.UPDATING
        entry["ProvisionedThroughput"] = _between(
            call, was[index.name].throughput, index.throughput
        )
    entries += [
        _described_global(call, before, index) | {"IndexStatus": TableStatus.DELETING}
        for name, index in was.items()
        if name not in will
    ]
    if entries:
        answer["GlobalSecondaryIndexes"] = entries
    return answer


def _between(call: Call, old: Throughput, new: Throughput) -> Description:
    count = decreases_today(old, now_us=call.cases.tables.now_us())
    return _throughput(call, new) | {
        "NumberOfDecreasesToday": count,
        "ReadCapacityUnits": old.read_units,
        "WriteCapacityUnits": old.write_units,
    }


def _global_indexes(call: Call, table: Table) -> list[Description]:
    """Describe the global indexes that a table declares, then those that are on their way out."""
    definition = table.definition
    known = {index.name: index for index in call.cases.directory.indexes(table)}
    declared = [
        _described_global(call, definition, index) | _state(call, table, known.get(index.name))
        for index in definition.settings.global_indexes
    ]
    names = {index.name for index in definition.settings.global_indexes}
    going = [
        _described_global(call, definition, _was_declared(index)) | _state(call, table, index)
        for name, index in known.items()
        if name not in names
    ]
    return declared + going


def _state(call: Call, table: Table, known: KnownIndex | None) -> Description:
    """Describe how an index is, and what it holds; one that is not made yet is nothing so far."""
    if known is None:
        return {"IndexStatus": TableStatus.CREATING}
    count = call.cases.directory.quantity(known.table)
    size_bytes = call.cases.directory.size_bytes(known.table) if count else 0
    state: Description = {
        "IndexStatus": _INDEX_STATUS[known.status],
        "IndexSizeBytes": size_bytes,
        "ItemCount": count,
    }
    if known.table.definition.created_at_us == table.definition.created_at_us:
        return state
    if known.status in {ResourceStatus.CREATING, ResourceStatus.UPDATING}:
        state["Backfilling"] = known.is_backfilling
    return state


def _was_declared(known: KnownIndex) -> Index:
    """Make out of an index that is being deleted what was declared of it."""
    index_of = known.table.definition.index_of
    assert index_of is not None
    return Index(
        name=index_of.name,
        hash_keys=tuple(key.name for key in index_of.hash_keys),
        range_keys=tuple(key.name for key in index_of.range_keys),
        projection=index_of.projection,
        included=index_of.included,
    )


def _described_global(call: Call, definition: TableDefinition, index: Index) -> Description:
    answer = _described_index(call, definition, index, size=IndexSize()) | {
        "IndexStatus": TableStatus.CREATING,
        "ProvisionedThroughput": _throughput(call, index.throughput),
    }
    if index.on_demand is not None:
        answer["OnDemandThroughput"] = _maxima(index.on_demand)
    billing = definition.settings.billing
    answer["WarmThroughput"] = _warm(index.warm, billing, index.throughput)
    return answer


def _throughput(call: Call, stated: Throughput) -> Description:
    return (
        _at("LastIncreaseDateTime", stated.increased_at_us)
        | _at("LastDecreaseDateTime", stated.decreased_at_us)
        | {
            "NumberOfDecreasesToday": decreases_today(stated, now_us=call.cases.tables.now_us()),
            "ReadCapacityUnits": stated.read_units,
            "WriteCapacityUnits": stated.write_units,
        }
    )


def _key_schema(hash_keys: tuple[str, ...], range_keys: tuple[str, ...]) -> list[Description]:
    roles = [(name, "HASH") for name in hash_keys] + [(name, "RANGE") for name in range_keys]
    return [{"AttributeName": name, "KeyType": role} for name, role in roles]


def seconds(time_us: int) -> float:
    """Spell a time as AWS does: epoch seconds, with milliseconds behind the point."""
    return time_us // US_PER_MS / _MS_PER_S


def _described_index(
    call: Call, definition: TableDefinition, index: Index, *, size: IndexSize
) -> Description:
    projection: Description = {"ProjectionType": index.projection}
    if index.included:
        projection["NonKeyAttributes"] = sorted(index.included)
    return {
        "IndexName": index.name,
        "KeySchema": _key_schema(index.hash_keys, index.range_keys),
        "Projection": projection,
        "IndexSizeBytes": size.size_bytes,
        "ItemCount": size.entries,
        "IndexArn": f"{table_arn(call.region, definition.name)}/index/{index.name}",
    }


def _billing(definition: TableDefinition) -> Description:
    """Describe billing; a table that was never on demand says nothing, as at AWS."""
    settings, since_us = definition.settings, definition.settings.on_demand_since_us
    if settings.billing is BillingMode.PAY_PER_REQUEST and since_us is None:
        since_us = definition.created_at_us
    if since_us is None:
        return {}
    since = {"LastUpdateToPayPerRequestDateTime": seconds(since_us)}
    return {"BillingModeSummary": {"BillingMode": settings.billing} | since}


def _warm(stated: UnitPair | None, billing: BillingMode, provisioned: Throughput) -> Description:
    units = stated or warm_at_start(billing, provisioned)
    return {
        "ReadUnitsPerSecond": units.read_units,
        "WriteUnitsPerSecond": units.write_units,
        "Status": "ACTIVE",
    }


def _maxima(units: UnitPair) -> Description:
    stated = {"MaxReadRequestUnits": units.read_units, "MaxWriteRequestUnits": units.write_units}
    return {name: value for name, value in stated.items() if value is not None}


def _at(name: str, time_us: int | None) -> Description:
    return {} if time_us is None else {name: seconds(time_us)}
