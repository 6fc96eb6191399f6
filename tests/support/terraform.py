"""Terraform's resource aws_dynamodb_table: the calls that it makes, in its order.

The provider's functions stand here as they do in terraform-provider-aws, version 6, in
internal/service/dynamodb: `table.go`, `wait.go`, `status.go`, `find.go`; of tags, `tags_gen.go` and
internal/provider/sdkv2/tags_interceptor.go. Without streams, replicas, warm throughput and
point-in-time recovery.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from tests.support.dynamodb import Answer, DynamoDB
    from tests.support.dynamodb_cases import Tables

READ: Final = (
    "DescribeTable",
    "DescribeContinuousBackups",
    "DescribeTimeToLive",
    "ListTagsOfResource",
)
_REFRESH_S: Final = 0.05
ACTIVE: Final = ("DescribeTable",)  # once: the table is ACTIVE when it is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a configuration says of a table; the defaults are the resource's schema's."""

    name: str
    hash_key: str = "p"
    range_key: str = "c"
    billing_mode: str = "PROVISIONED"
    read_capacity: int = 5
    write_capacity: int = 6
    on_demand: tuple[int, int] | None = None  # max_read_request_units, max_write_request_units
    table_class: str = "STANDARD"
    is_protected: bool = False
    is_encrypted: bool = False  # server_side_encryption.enabled
    tags: dict[str, str] = field(default_factory=dict)
    ttl: str = ""  # ttl.attribute_name; "" without ttl.enabled
    global_indexes: tuple[Gsi, ...] = ()  # a set: by name
    local_indexes: tuple[Lsi, ...] = ()

    @property
    def attributes(self) -> list[dict[str, str]]:
        """The attribute blocks: every key of the table and of an index, of type S but the range."""
        names = {self.hash_key, self.range_key}
        for index in self.global_indexes:
            names |= {index.hash_key, index.range_key} - {""}
        names |= {index.range_key for index in self.local_indexes}
        return [
            {"AttributeName": name, "AttributeType": "N" if name == self.range_key else "S"}
            for name in sorted(names)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gsi:
    """A global_secondary_index block: its capacities are 0 on demand."""

    name: str
    hash_key: str = "g"
    range_key: str = ""
    projection_type: str = "ALL"
    non_key_attributes: tuple[str, ...] = ()
    read_capacity: int = 0
    write_capacity: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lsi:
    """A local_secondary_index block; all of it is ForceNew."""

    name: str
    range_key: str = "l"
    projection_type: str = "ALL"


class Provider:
    """The resource's four functions over a client whose calls are counted."""

    def __init__(self, dynamodb: DynamoDB) -> None:
        """Begin without a table."""
        self.dynamodb = dynamodb
        self.calls: list[str] = []

    def call(self, operation: str, **members: Any) -> Answer:
        """Send a request and note it."""
        self.calls.append(operation)
        return self.dynamodb.call(operation, members)

    def do(self, operation: str, **members: Any) -> dict[str, Any]:
        """Send a request that must succeed, and note it."""
        self.calls.append(operation)
        return self.dynamodb.do(operation, members)

    def create(self, config: Config) -> Config:
        """Do table.go's resourceTableCreate, of a table that is neither restored nor imported."""
        units = {}
        if config.billing_mode == "PROVISIONED":  # expandProvisionedThroughput: nil on demand
            units = {"ProvisionedThroughput": _units(config)}
        optional: dict[str, Any] = {}
        if config.is_protected:  # d.GetOk: what is false is not sent, here as below
            optional["DeletionProtectionEnabled"] = True
        if config.on_demand is not None:
            optional["OnDemandThroughput"] = _maxima(config.on_demand)
        if config.local_indexes:
            optional["LocalSecondaryIndexes"] = [
                _local_index(config, index) for index in config.local_indexes
            ]
        if config.global_indexes:  # expandGlobalSecondaryIndex
            optional["GlobalSecondaryIndexes"] = [
                _global_index(config, index) for index in config.global_indexes
            ]
        if config.is_encrypted:  # expandEncryptAtRestOptions
            optional["SSESpecification"] = {"Enabled": True}
        self.do(
            "CreateTable",
            BillingMode=config.billing_mode,
            KeySchema=[
                {"AttributeName": config.hash_key, "KeyType": "HASH"},
                {"AttributeName": config.range_key, "KeyType": "RANGE"},
            ],
            TableName=config.name,
            Tags=_tags(config.tags),
            AttributeDefinitions=config.attributes,
            TableClass=config.table_class,
            **units,
            **optional,
        )
        self.wait_active(config.name)
        for index in config.global_indexes:
            self.wait_index_active(config.name, index.name)
        if config.ttl:  # d.Get("ttl.0.enabled")
            self.update_time_to_live(config.name, config.ttl, is_enabled=True)
        return self.read(config.name)

    def update_time_to_live(self, name: str, attribute: str, *, is_enabled: bool) -> None:
        """Do table.go's updateTimeToLive and wait.go's waitTTLUpdated."""
        specification = {"AttributeName": attribute, "Enabled": is_enabled}
        self.do("UpdateTimeToLive", TableName=name, TimeToLiveSpecification=specification)
        target = "ENABLED" if is_enabled else "DISABLED"
        pending = {"DISABLED", "ENABLING"} if is_enabled else {"ENABLED", "DISABLING"}
        status = ""
        while status != target:
            told = self.do("DescribeTimeToLive", TableName=name)["TimeToLiveDescription"]
            status = told["TimeToLiveStatus"]
            assert status in {target, *pending}, "unexpected state"
            if status != target:
                time.sleep(_REFRESH_S)  # the provider's StateChangeConf waits too

    def wait_active(self, name: str) -> None:
        """Do wait.go's waitTableActive: CREATING and UPDATING go on, ACTIVE ends it."""
        status = ""
        while status != "ACTIVE":
            status = self.do("DescribeTable", TableName=name)["Table"]["TableStatus"]
            assert status in {"CREATING", "UPDATING", "ACTIVE"}, "unexpected state"

    def wait_index_active(self, name: str, index: str) -> None:
        """Do wait.go's waitGSIActive: CREATING and UPDATING go on, ACTIVE ends it."""
        while (status := self.index_status(name, index)) != "ACTIVE":
            assert status in {"CREATING", "UPDATING"}, "unexpected state"
            time.sleep(_REFRESH_S)

    def wait_index_gone(self, name: str, index: str) -> None:
        """Do wait.go's waitGSIDeleted: it ends when the index is not found any more."""
        while (status := self.index_status(name, index)) is not None:
            assert status in {"ACTIVE", "DELETING", "UPDATING"}, "unexpected state"
            time.sleep(_REFRESH_S)

    def index_status(self, name: str, index: str) -> str | None:
        """Do status.go's statusGSI; a look that finds it as before counts as none."""
        table = self.dynamodb.do("DescribeTable", {"TableName": name})["Table"]
        found = table.get("GlobalSecondaryIndexes", [])
        return next((one["IndexStatus"] for one in found if one["IndexName"] == index), None)

    def read(self, name: str) -> Config:
        """Do table.go's resourceTableRead, and tags_interceptor.go's ListTags behind it."""
        table = self.do("DescribeTable", TableName=name)["Table"]
        keys = {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]}
        assert not table.get("Replicas")
        assert not table.get("StreamSpecification", {}).get("StreamEnabled", False)
        assert "LatestStreamArn" not in table
        units, maxima = table["ProvisionedThroughput"], table.get("OnDemandThroughput")
        backups = self.do("DescribeContinuousBackups", TableName=name)
        recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        assert recovery["PointInTimeRecoveryStatus"] != "ENABLED"  # flattenPITR
        expiry = self.do("DescribeTimeToLive", TableName=name)["TimeToLiveDescription"]
        is_expiring = expiry["TimeToLiveStatus"] == "ENABLED"  # flattenTTL
        assert is_expiring or "AttributeName" not in expiry
        tags = self.do("ListTagsOfResource", ResourceArn=table["TableArn"])
        assert "NextToken" not in tags
        return Config(
            name=table["TableName"],
            hash_key=keys["HASH"],
            range_key=keys["RANGE"],
            billing_mode=table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
            read_capacity=units["ReadCapacityUnits"],
            write_capacity=units["WriteCapacityUnits"],
            on_demand=None if maxima is None else _flat_maxima(maxima),
            table_class=table.get("TableClassSummary", {}).get("TableClass", "STANDARD"),
            is_protected=table["DeletionProtectionEnabled"],
            is_encrypted=table.get("SSEDescription", {}).get("Status") == "ENABLED",
            tags={tag["Key"]: tag["Value"] for tag in tags["Tags"]},
            global_indexes=_flat_global(table.get("GlobalSecondaryIndexes", [])),
            local_indexes=_flat_local(table.get("LocalSecondaryIndexes", [])),
            ttl=expiry["AttributeName"] if is_expiring else "",
        )

    def update(self, old: Config, new: Config) -> Config:
        """Do table.go's resourceTableUpdate; the tags come first (tags_interceptor.go, Before)."""
        self.update_tags(old, new)
        deleted, updated, created = _index_changes(old, new)
        self.remove_indexes(new, deleted)
        if new.table_class != old.table_class:  # "cannot be changed concurrently with other values"
            self.do("UpdateTable", TableClass=new.table_class, TableName=new.name)
            self.wait_active(new.name)
        members: dict[str, Any] = {}
        if capacity_of(old) != capacity_of(new):
            members["BillingMode"] = new.billing_mode
            if new.billing_mode == "PROVISIONED":  # expandProvisionedThroughputUpdate
                members["ProvisionedThroughput"] = _units(new)
        if new.is_protected != old.is_protected:
            members["DeletionProtectionEnabled"] = new.is_protected
        if new.on_demand != old.on_demand and new.on_demand is not None:
            members["OnDemandThroughput"] = _maxima(new.on_demand)
        if updated:  # phase 2: together with the table's own capacity
            members["GlobalSecondaryIndexUpdates"] = [
                {"Update": {"IndexName": one.name, "ProvisionedThroughput": _units(one)}}
                for one in updated
            ]
        if members:
            self.do("UpdateTable", TableName=new.name, **members)
            self.wait_active(new.name)
        for index in updated:
            self.wait_index_active(new.name, index.name)
        for index in created:  # phase 3: one at a time
            self.change_index(new.name, attributes=new.attributes, Create=_global_index(new, index))
            self.wait_index_active(new.name, index.name)
        if new.is_encrypted != old.is_encrypted:
            asked = {"Enabled": new.is_encrypted}
            self.do("UpdateTable", TableName=new.name, SSESpecification=asked)
            self.wait_encrypted(new.name)
        if new.ttl != old.ttl:  # d.HasChange("ttl")
            self.update_time_to_live(new.name, new.ttl or old.ttl, is_enabled=bool(new.ttl))
        return self.read(new.name)

    def remove_indexes(self, config: Config, indexes: list[Gsi]) -> None:
        """Do phase 1 of resourceTableUpdate's indexes: one goes at a time."""
        for index in indexes:
            self.change_index(config.name, Delete={"IndexName": index.name})
            self.wait_index_gone(config.name, index.name)

    def add_indexes(self, config: Config, indexes: list[Gsi]) -> None:
        """Do phase 3: one comes at a time."""
        for index in indexes:
            create = _global_index(config, index)
            self.change_index(config.name, attributes=config.attributes, Create=create)
            self.wait_index_active(config.name, index.name)

    def change_index(
        self, name: str, *, attributes: list[dict[str, str]] | None = None, **action: Any
    ) -> None:
        """Have one index come or go."""
        defined = {} if attributes is None else {"AttributeDefinitions": attributes}
        self.do("UpdateTable", TableName=name, GlobalSecondaryIndexUpdates=[action], **defined)

    def update_tags(self, old: Config, new: Config) -> None:
        """Do tags_gen.go's updateTags: what is gone is removed, what is new or other is set."""
        if new.tags == old.tags:
            return
        arn = self.dynamodb.do("DescribeTable", {"TableName": new.name})["Table"]["TableArn"]
        removed = [key for key in old.tags if key not in new.tags]
        if removed:
            self.do("UntagResource", ResourceArn=arn, TagKeys=removed)
        changed = {key: text for key, text in new.tags.items() if old.tags.get(key) != text}
        if changed:
            self.do("TagResource", ResourceArn=arn, Tags=_tags(changed))

    def wait_encrypted(self, name: str) -> None:
        """Do wait.go's waitSSEUpdated; status.go: no SSEDescription is DISABLED."""
        status = ""
        while status not in {"ENABLED", "DISABLED"}:
            table = self.do("DescribeTable", TableName=name)["Table"]
            status = table.get("SSEDescription", {}).get("Status", "DISABLED")
            assert status in {"ENABLING", "DISABLING", "UPDATING", "ENABLED", "DISABLED"}

    def delete(self, name: str) -> None:
        """Do table.go's resourceTableDelete and wait.go's waitTableDeleted."""
        self.do("DeleteTable", TableName=name)
        answer = self.call("DescribeTable", TableName=name)
        while answer.status == 200:
            assert answer.body["Table"]["TableStatus"] in {"ACTIVE", "DELETING"}
            answer = self.call("DescribeTable", TableName=name)
        assert answer.error == "ResourceNotFoundException"  # find.go, findTable

    def taken(self) -> list[str]:
        """Give the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


def _schema(hash_key: str, range_key: str) -> list[dict[str, str]]:
    keys = [{"AttributeName": hash_key, "KeyType": "HASH"}]
    return keys + ([{"AttributeName": range_key, "KeyType": "RANGE"}] if range_key else [])


def _global_index(config: Config, index: Gsi) -> dict[str, Any]:
    """Do expandGlobalSecondaryIndex, and of an update updateDiffGSI's Create."""
    projection: dict[str, Any] = {"ProjectionType": index.projection_type}
    if index.non_key_attributes:
        projection["NonKeyAttributes"] = list(index.non_key_attributes)
    made = {
        "IndexName": index.name,
        "KeySchema": _schema(index.hash_key, index.range_key),
        "Projection": projection,
    }
    if config.billing_mode != "PROVISIONED":
        return made
    return made | {"ProvisionedThroughput": _units(index)}


def _local_index(config: Config, index: Lsi) -> dict[str, Any]:
    """Do expandLocalSecondaryIndexes: its hash key is the table's."""
    return {
        "IndexName": index.name,
        "KeySchema": _schema(config.hash_key, index.range_key),
        "Projection": {"ProjectionType": index.projection_type},
    }


def _flat_global(found: list[dict[str, Any]]) -> tuple[Gsi, ...]:
    """Do flattenTableGlobalSecondaryIndex."""
    made = []
    for one in found:
        keys = {key["KeyType"]: key["AttributeName"] for key in one["KeySchema"]}
        units = one["ProvisionedThroughput"]
        made.append(
            Gsi(
                name=one["IndexName"],
                hash_key=keys["HASH"],
                range_key=keys.get("RANGE", ""),
                projection_type=one["Projection"]["ProjectionType"],
                non_key_attributes=tuple(sorted(one["Projection"].get("NonKeyAttributes", ()))),
                read_capacity=units["ReadCapacityUnits"],
                write_capacity=units["WriteCapacityUnits"],
            )
        )
    return tuple(sorted(made, key=lambda index: index.name))


def _flat_local(found: list[dict[str, Any]]) -> tuple[Lsi, ...]:
    """Do flattenTableLocalSecondaryIndex."""
    return tuple(
        Lsi(
            name=one["IndexName"],
            range_key=one["KeySchema"][1]["AttributeName"],
            projection_type=one["Projection"]["ProjectionType"],
        )
        for one in sorted(found, key=lambda one: str(one["IndexName"]))
    )


def _index_changes(old: Config, new: Config) -> tuple[list[Gsi], list[Gsi], list[Gsi]]:
    """Do updateDiffGSI: what is other than its capacity makes an index anew.

    Returns: the indexes to delete, to update, and to create.
    """
    before = {index.name: index for index in old.global_indexes}
    after = {index.name: index for index in new.global_indexes}
    deleted = [index for name, index in before.items() if name not in after]
    created = [index for name, index in after.items() if name not in before]
    updated = []
    for name in before.keys() & after.keys():
        index = after[name]
        same = replace(
            before[name], read_capacity=index.read_capacity, write_capacity=index.write_capacity
        )
        if same != index:
            deleted.append(index)
            created.append(index)
        elif before[name] != index and new.billing_mode == "PROVISIONED":
            updated.append(index)
    return deleted, updated, created


def _units(config: Config | Gsi) -> dict[str, int]:
    return {
        "ReadCapacityUnits": config.read_capacity,
        "WriteCapacityUnits": config.write_capacity,
    }


def _maxima(pair: tuple[int, int]) -> dict[str, int]:
    return {"MaxReadRequestUnits": pair[0], "MaxWriteRequestUnits": pair[1]}


def _flat_maxima(maxima: dict[str, int]) -> tuple[int, int]:
    return maxima["MaxReadRequestUnits"], maxima["MaxWriteRequestUnits"]


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": text} for key, text in tags.items()]


def capacity_of(config: Config) -> tuple[str, int, int]:
    return config.billing_mode, config.read_capacity, config.write_capacity


@pytest.fixture
def provider(dynamodb: DynamoDB) -> Provider:
    """Give a provider."""
    return Provider(dynamodb)


@pytest.fixture
def config(own_tables: Tables) -> Config:
    """Give the configuration of a table that is not there yet."""
    return Config(name=own_tables.new_name(), tags={"Name": "planets", "env": "test"})
