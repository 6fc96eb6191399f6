"""A node's ranges are replicas before anything can be asked of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import DStoreError, Unavailable
from dstore.replication.replica import Replica
from dstore.service.cluster.assignments import Assignments
from dstore.service.entry_writes import create
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.embedded import EmbeddedCoordinator
from tests.support.cluster_nodes import (
    ME,
    OTHER,
    TENANT,
    LivingNode,
    Placement,
    ScriptedControl,
    a_definition,
    keys_of,
    living,
    uuid,
)

ORDERS = a_definition("orders")
RANGE = keys.RangePath(TENANT, "orders", 0)


@pytest.fixture
async def placement() -> AsyncIterator[Placement]:
    failures: list[BaseException] = []
    opened = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=failures.append
    )
    made = Placement(opened)
    await made.add_tenant()
    await made.add_table(ORDERS)
    yield made
    await opened.close()
    assert failures == []


async def read_eventually(node: LivingNode, range_id: str) -> None:
    """Ask as a proxy does that knows this node as one of the range's replicas."""
    [ref] = node.node.holdings.table_of(range_id).ranges.refs
    await node.node.ranges.read(ref, bytes(16), is_eventual=True)


async def test_a_read_before_a_range_is_a_replica_does_not_part_its_file_from_it(
    tmp_path: Path, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written later is shipped, however early any replica of the range was asked."""
    early: list[DStoreError | None] = []
    shipped: list[int] = []
    ship, hold = Replica.ship, Assignments._held

    def counting(replica: Replica, prepared: Any) -> Any:
        shipped.append(prepared.end.seq - prepared.before.seq)
        return ship(replica, prepared)

    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()

    async def asked_early(self: Assignments, name: Any, wanted: Any, ref: Any) -> Any:
        status = await hold(self, name, wanted, ref)  # the range is held, its key is at hand
        if not early:
            try:
                await read_eventually(node, ref.range_id)
            except DStoreError as error:
                early.append(error)
            else:
                early.append(None)
        return status

    monkeypatch.setattr(Replica, "ship", counting)
    monkeypatch.setattr(Assignments, "_held", asked_early)
    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        items = node.node.items
        key = items.locate(TENANT, "orders", "a")
        await items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))
        assert len(early) == 1
        assert shipped == [1]
        [range_id] = node.held()
        await read_eventually(node, range_id)


async def test_who_has_everything_alone_is_read_after_a_restart(
    tmp_path: Path, placement: Placement
) -> None:
    """The others have lost their disks, which is no reason to lose the last one's data as well."""
    data = tmp_path / "data"
    async with living(data, placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        items = node.node.items
        key = items.locate(TENANT, "orders", "a")
        await items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))
    await be_left(placement)
    async with living(data, placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        items = node.node.items
        key = items.locate(TENANT, "orders", "a")
        assert await items.read(key) is not None
        key = items.locate(TENANT, "orders", "b")
        with pytest.raises(Unavailable, match="Fewer replicas"):
            await items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))


async def test_who_was_taken_away_while_it_was_down_is_not_remembered(
    tmp_path: Path, placement: Placement
) -> None:
    """Else a recovery of the topology waits for ever for who has nothing of the range any more."""
    data = tmp_path / "data"
    async with living(data, placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        [range_id] = node.held()
    await be_left(placement)
    async with living(data, placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        assert len((await remembered(node, range_id)).replicas) == 2
    path, value = await shown(placement)
    alone = tuple(each for each in value.replicas if each.node == ME)
    await placement.put(path, msgspec.structs.replace(value, replicas=alone, factor=1))
    async with living(data, placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        noted = await remembered(node, range_id)
        assert [each.node for each in noted.replicas] == [ME]
        told = (await node.node.holdings.standing(range_id)).promised_epoch
        assert noted.epoch == told


async def remembered(node: LivingNode, range_id: str) -> values.RangePlacement:
    """Read what a node would tell a recovery of a range."""
    found = await node.node.holdings.noted_placements([range_id])
    noted = found[range_id].value
    assert noted is not None
    return values.decode(RANGE, noted)


async def shown(placement: Placement) -> tuple[keys.RangePath, values.RangePlacement]:
    """Read the range's value."""
    kv = (await placement.coordinator.get(RANGE.path)).kv
    assert kv is not None
    return RANGE, values.decode(RANGE, kv.value)


async def be_left(placement: Placement) -> None:
    """Let the node be the only one in sync of a range of three."""
    disk = await placement.incarnation(ME)
    [(path, value)] = [
        (path, value)
        for path, value in keys_of(ORDERS, disks={ME: disk})
        if isinstance(value, values.RangePlacement)
    ]
    assert isinstance(path, keys.RangePath)
    other = values.Replica(
        node=OTHER,
        incarnation=uuid("d", 7),
        uri="https://other:8001",
        state=values.ReplicaState.LEARNER,
    )
    replicas = (*value.replicas, other)
    await placement.put(path, msgspec.structs.replace(value, replicas=replicas, factor=3))
