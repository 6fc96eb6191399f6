"""The calls of Terraform's resource aws_dynamodb_table, in its order, each from its source.

The provider's functions stand here as they do in terraform-provider-aws, version 6, in
internal/service/dynamodb: `table.go`, `wait.go`, `status.go`, `find.go`; of tags, `tags_gen.go` and
internal/provider/sdkv2/tags_interceptor.go. A configuration that was applied is read back as it was
written, or every plan would have a change: that is what is asserted. Without indexes, streams,
replicas and point-in-time recovery.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from tests.support.dynamodb import Answer, DynamoDB
    from tests.support.dynamodb_cases import Tables

_READ: Final = (
    "DescribeTable",
    "DescribeContinuousBackups",
    "DescribeTimeToLive",
    "ListTagsOfResource",
)
_REFRESH_S: Final = 0.05
_ACTIVE: Final = ("DescribeTable",)  # once: the table is ACTIVE when it is looked at


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
            AttributeDefinitions=[
                {"AttributeName": config.hash_key, "AttributeType": "S"},
                {"AttributeName": config.range_key, "AttributeType": "N"},
            ],
            TableClass=config.table_class,
            **units,
            **optional,
        )
        self.wait_active(config.name)
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

    def read(self, name: str) -> Config:
        """Do table.go's resourceTableRead, and tags_interceptor.go's ListTags behind it."""
        table = self.do("DescribeTable", TableName=name)["Table"]
        keys = {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]}
        assert {one["AttributeName"] for one in table["AttributeDefinitions"]} == set(keys.values())
        for absent in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes", "Replicas"):
            assert not table.get(absent)
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
            ttl=expiry["AttributeName"] if is_expiring else "",
        )

    def update(self, old: Config, new: Config) -> Config:
        """Do table.go's resourceTableUpdate; the tags come first (tags_interceptor.go, Before)."""
        self.update_tags(old, new)
        if new.table_class != old.table_class:  # "cannot be changed concurrently with other values"
            self.do("UpdateTable", TableClass=new.table_class, TableName=new.name)
            self.wait_active(new.name)
        members: dict[str, Any] = {}
        if _capacity(old) != _capacity(new):
            members["BillingMode"] = new.billing_mode
            if new.billing_mode == "PROVISIONED":  # expandProvisionedThroughputUpdate
                members["ProvisionedThroughput"] = _units(new)
        if new.is_protected != old.is_protected:
            members["DeletionProtectionEnabled"] = new.is_protected
        if new.on_demand != old.on_demand and new.on_demand is not None:
            members["OnDemandThroughput"] = _maxima(new.on_demand)
        if members:
            self.do("UpdateTable", TableName=new.name, **members)
            self.wait_active(new.name)
        if new.is_encrypted != old.is_encrypted:
            asked = {"Enabled": new.is_encrypted}
            self.do("UpdateTable", TableName=new.name, SSESpecification=asked)
            self.wait_encrypted(new.name)
        if new.ttl != old.ttl:  # d.HasChange("ttl")
            self.update_time_to_live(new.name, new.ttl or old.ttl, is_enabled=bool(new.ttl))
        return self.read(new.name)

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


def _units(config: Config) -> dict[str, int]:
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


def _capacity(config: Config) -> tuple[str, int, int]:
    return config.billing_mode, config.read_capacity, config.write_capacity


@pytest.fixture
def provider(dynamodb: DynamoDB) -> Provider:
    """Give a provider."""
    return Provider(dynamodb)


@pytest.fixture
def config(own_tables: Tables) -> Config:
    """Give the configuration of a table that is not there yet."""
    return Config(name=own_tables.new_name(), tags={"Name": "planets", "env": "test"})


CREATED: Final[dict[str, dict[str, Any]]] = {
    "provisioned": {},
    "on-demand": {"billing_mode": "PAY_PER_REQUEST", "read_capacity": 0, "write_capacity": 0},
    "on-demand-with-maxima": {
        "billing_mode": "PAY_PER_REQUEST",
        "read_capacity": 0,
        "write_capacity": 0,
        "on_demand": (10, 20),
    },
    "infrequent": {"table_class": "STANDARD_INFREQUENT_ACCESS"},
    "encrypted": {"is_encrypted": True},
    "protected": {"is_protected": True},
    "without-tags": {"tags": {}},
}


@pytest.mark.parametrize("name", CREATED)
def test_create(provider: Provider, config: Config, name: str) -> None:
    """A table that was created is read as it was written, and a second plan finds the same."""
    wanted = replace(config, **CREATED[name])
    assert provider.create(wanted) == wanted
    assert provider.taken() == ["CreateTable", *_ACTIVE, *_READ]
    assert provider.read(wanted.name) == wanted
    assert provider.taken() == list(_READ)


CHANGES: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "read-capacity": ({"read_capacity": 7}, ["UpdateTable", *_ACTIVE]),
    "both-capacities": ({"read_capacity": 1, "write_capacity": 1}, ["UpdateTable", *_ACTIVE]),
    "table-class": (
        {"table_class": "STANDARD_INFREQUENT_ACCESS"},
        ["UpdateTable", *_ACTIVE],
    ),
    "protection": ({"is_protected": True}, ["UpdateTable", *_ACTIVE]),
    "encryption": ({"is_encrypted": True}, ["UpdateTable", *_ACTIVE]),
    "a-tag-more": ({"tags": {"Name": "planets", "env": "test", "more": ""}}, ["TagResource"]),
    "another-tag": ({"tags": {"Name": "moons", "env": "test"}}, ["TagResource"]),
    "a-tag-less": ({"tags": {"Name": "planets"}}, ["UntagResource"]),
    "tags-replaced": ({"tags": {"new": "1"}}, ["UntagResource", "TagResource"]),
    "several": (
        {
            "tags": {},
            "table_class": "STANDARD_INFREQUENT_ACCESS",
            "write_capacity": 9,
            "is_encrypted": True,
        },
        [
            "UntagResource",
            *("UpdateTable", *_ACTIVE) * 3,
        ],
    ),
}


def test_create_with_time_to_live(provider: Provider, config: Config) -> None:
    """It is enabled behind the creation, waited for, and read as it was written."""
    wanted = replace(config, ttl="expires")
    assert provider.create(wanted) == wanted
    calls = provider.taken()
    waits = len(calls) - len(["CreateTable", *_ACTIVE, "UpdateTimeToLive", *_READ])
    assert waits >= 1
    assert calls == [
        "CreateTable",
        *_ACTIVE,
        "UpdateTimeToLive",
        *["DescribeTimeToLive"] * waits,
        *_READ,
    ]
    assert provider.read(wanted.name) == wanted


def test_time_to_live_added_in_place(provider: Provider, config: Config) -> None:
    """A plan that adds it changes nothing else; taking it away so soon AWS refuses as well."""
    provider.create(config)
    wanted = replace(config, ttl="expires")
    assert provider.update(config, wanted) == wanted
    # As the provider's own tests have it (table_test.go).
    answer = provider.call(
        "UpdateTimeToLive",
        TableName=config.name,
        TimeToLiveSpecification={"AttributeName": "expires", "Enabled": False},
    )
    assert answer.error == "ValidationException"
    assert provider.read(wanted.name) == wanted


@pytest.mark.parametrize("name", CHANGES)
def test_update_in_place(provider: Provider, config: Config, name: str) -> None:
    """Each change is made by the calls that it takes, there and back, and read as it was made."""
    members, calls = CHANGES[name]
    provider.create(config)
    provider.taken()
    wanted = replace(config, **members)
    assert provider.update(config, wanted) == wanted
    assert provider.taken() == [*calls, *_READ]
    assert provider.update(wanted, config) == config
    assert provider.read(config.name) == config


def test_billing_mode_there_and_back(provider: Provider, config: Config) -> None:
    """On demand there are no units: table.go reads the zeros that AWS answers."""
    provider.create(config)
    provider.taken()
    on_demand = replace(config, billing_mode="PAY_PER_REQUEST", read_capacity=0, write_capacity=0)
    assert provider.update(config, on_demand) == on_demand
    assert provider.taken() == ["UpdateTable", *_ACTIVE, *_READ]
    bounded = replace(on_demand, on_demand=(100, 50))
    assert provider.update(on_demand, bounded) == bounded
    assert provider.taken() == ["UpdateTable", *_ACTIVE, *_READ]
    again = provider.update(replace(bounded, on_demand=None), config)
    assert _capacity(again) == _capacity(config)


def test_destroy(provider: Provider, config: Config) -> None:
    """A table is deleted and waited for; of one that is gone, AWS's own words are looked for."""
    provider.create(config)
    provider.taken()
    provider.delete(config.name)
    assert provider.taken() == ["DeleteTable", "DescribeTable"]
    gone = provider.call("DeleteTable", TableName=config.name)
    assert gone.error == "ResourceNotFoundException"
    assert (gone.message or "").startswith("Requested resource not found: Table: ")
    again = replace(config, billing_mode="PAY_PER_REQUEST", read_capacity=0, write_capacity=0)
    assert provider.create(again) == again


def test_a_protected_table_is_not_destroyed(provider: Provider, config: Config) -> None:
    """Terraform fails, as with AWS, until the protection is taken off in place."""
    protected = replace(config, is_protected=True)
    provider.create(protected)
    refused = provider.call("DeleteTable", TableName=config.name)
    assert refused.error == "ValidationException"
    assert provider.update(protected, config) == config
    provider.delete(config.name)
