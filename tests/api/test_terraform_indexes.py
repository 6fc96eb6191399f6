"""Terraform's calls for a table with indexes (`tests.support.terraform`), each from its source."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.support.terraform import ACTIVE, READ, Config, Gsi, Lsi, Provider

OF_G: Final = Gsi(name="of-g", read_capacity=2, write_capacity=3)
OF_H: Final = Gsi(
    name="of-h",
    hash_key="h",
    range_key="p",
    projection_type="INCLUDE",
    non_key_attributes=("a", "b"),
    read_capacity=1,
    write_capacity=1,
)
OF_L: Final = Lsi(name="of-l")


@pytest.mark.parametrize(
    ("global_indexes", "local_indexes"),
    [((OF_G,), ()), ((OF_G, OF_H), ()), ((), (OF_L,)), ((OF_G, OF_H), (OF_L,))],
    ids=["one-global", "two-global", "a-local", "both-kinds"],
)
def test_create_with_indexes(
    provider: Provider,
    config: Config,
    global_indexes: tuple[Gsi, ...],
    local_indexes: tuple[Lsi, ...],
) -> None:
    """They are made with their table, and waited for; a second plan finds no change."""
    wanted = replace(config, global_indexes=global_indexes, local_indexes=local_indexes)
    assert provider.create(wanted) == wanted
    assert provider.taken() == ["CreateTable", *ACTIVE, *READ]
    assert provider.read(wanted.name) == wanted


INDEX_CHANGES: Final[dict[str, tuple[tuple[Gsi, ...], int]]] = {
    "one-more": ((OF_G, OF_H), 1),
    "none": ((), 1),
    "another": ((OF_H,), 2),
    "other-capacity": ((replace(OF_G, read_capacity=9),), 1),
    "other-projection": ((replace(OF_G, projection_type="KEYS_ONLY"),), 2),
    "other-key": ((replace(OF_G, hash_key="h"),), 2),
    "other-range": ((replace(OF_G, range_key="h"),), 2),
}


@pytest.mark.parametrize("name", INDEX_CHANGES)
def test_indexes_in_place(provider: Provider, config: Config, name: str) -> None:
    """Each change of indexes takes the calls of its phases, there and back, one index a call."""
    indexes, calls = INDEX_CHANGES[name]
    before = replace(config, global_indexes=(OF_G,))
    provider.create(before)
    provider.taken()
    wanted = replace(config, global_indexes=indexes)
    assert provider.update(before, wanted) == wanted
    taken = provider.taken()
    assert taken.count("UpdateTable") == calls
    assert taken[-len(READ) :] == list(READ)
    assert provider.update(wanted, before) == before
    provider.delete(config.name)


def test_billing_mode_with_indexes(provider: Provider, config: Config) -> None:
    """On demand their capacities are read as 0; back again each is given its own in one call."""
    provisioned = replace(config, global_indexes=(OF_G,))
    provider.create(provisioned)
    on_demand = replace(
        provisioned,
        billing_mode="PAY_PER_REQUEST",
        read_capacity=0,
        write_capacity=0,
        global_indexes=(replace(OF_G, read_capacity=0, write_capacity=0),),
    )
    assert provider.update(provisioned, on_demand) == on_demand
    provider.taken()
    assert provider.update(on_demand, provisioned) == provisioned
    assert provider.taken().count("UpdateTable") == 1
