"""The calls of Terraform's resource aws_dynamodb_table, in its order (`tests.support.terraform`).

A configuration that was applied is read back as it was written, or every plan would have a change:
that is what is asserted. Those with indexes are in `test_terraform_indexes`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from tests.support.terraform import ACTIVE, READ, Config, Provider, capacity_of

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
    assert provider.taken() == ["CreateTable", *ACTIVE, *READ]
    assert provider.read(wanted.name) == wanted
    assert provider.taken() == list(READ)


CHANGES: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "read-capacity": ({"read_capacity": 7}, ["UpdateTable", *ACTIVE]),
    "both-capacities": ({"read_capacity": 1, "write_capacity": 1}, ["UpdateTable", *ACTIVE]),
    "table-class": (
        {"table_class": "STANDARD_INFREQUENT_ACCESS"},
        ["UpdateTable", *ACTIVE],
    ),
    "protection": ({"is_protected": True}, ["UpdateTable", *ACTIVE]),
    "encryption": ({"is_encrypted": True}, ["UpdateTable", *ACTIVE]),
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
            *("UpdateTable", *ACTIVE) * 3,
        ],
    ),
}


def test_create_with_time_to_live(provider: Provider, config: Config) -> None:
    """It is enabled behind the creation, waited for, and read as it was written."""
    wanted = replace(config, ttl="expires")
    assert provider.create(wanted) == wanted
    calls = provider.taken()
    waits = len(calls) - len(["CreateTable", *ACTIVE, "UpdateTimeToLive", *READ])
    assert waits >= 1
    assert calls == [
        "CreateTable",
        *ACTIVE,
        "UpdateTimeToLive",
        *["DescribeTimeToLive"] * waits,
        *READ,
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
    assert provider.taken() == [*calls, *READ]
    assert provider.update(wanted, config) == config
    assert provider.read(config.name) == config


def test_billing_mode_there_and_back(provider: Provider, config: Config) -> None:
    """On demand there are no units: table.go reads the zeros that AWS answers."""
    provider.create(config)
    provider.taken()
    on_demand = replace(config, billing_mode="PAY_PER_REQUEST", read_capacity=0, write_capacity=0)
    assert provider.update(config, on_demand) == on_demand
    assert provider.taken() == ["UpdateTable", *ACTIVE, *READ]
    bounded = replace(on_demand, on_demand=(100, 50))
    assert provider.update(on_demand, bounded) == bounded
    assert provider.taken() == ["UpdateTable", *ACTIVE, *READ]
    again = provider.update(replace(bounded, on_demand=None), config)
    assert capacity_of(again) == capacity_of(config)


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
