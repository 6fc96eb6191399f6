"""A node of a cluster and what befalls it: twins, crashes, damage, a coordinator that is away."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import Corrupt, Refused, Unknown
from dstore.replication.peers.calls import Methods
from dstore.security.identity import ComponentRole, Identity
from dstore.service.calls.range_calls import ReadEntry
from dstore.service.cluster_node import (
    WAITING_FOR_COORDINATOR,
    WAITING_FOR_TWIN,
)
from dstore.service.entry_writes import create
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.storage.node_database import NodeDatabase
from dstore.storage.range_files import RangeFiles
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import CoordinatorUnavailable
from dstore.topology.embedded import EmbeddedCoordinator
from tests.support.cluster_nodes import (
    ME,
    OTHER,
    PLANE,
    TENANT,
    LivingNode,
    Placement,
    ScriptedControl,
    a_definition,
    living,
    uuid,
)
from tests.support.peers import direct

ORDERS = a_definition("orders")
HELD = keys.NodeRangesPath(ME, TENANT, "orders")
REPORTED = keys.NodeTablePath(ME, TENANT, "orders")
DETAILS = keys.DetailsPath(ComponentRole.NODE, ME)
BOOT = keys.NodeBootPath(ME)


@pytest.fixture
async def coordinator() -> AsyncIterator[EmbeddedCoordinator]:
    failures: list[BaseException] = []
    opened = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=failures.append
    )
    yield opened
    await opened.close()
    assert failures == []


@pytest.fixture
def control() -> ScriptedControl:
    return ScriptedControl()


@pytest.fixture
async def placement(coordinator: EmbeddedCoordinator) -> Placement:
    made = Placement(coordinator)
    await made.add_tenant()
    return made


async def write(node: LivingNode, name: str, table: str = "orders") -> None:
    items = node.node.items
    key = items.locate(TENANT, table, name)
    await items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))


async def count(node: LivingNode, table: str = "orders") -> int:
    listing = await node.node.items.list(TENANT, table, after=b"", limit=100)
    return listing.count


async def reported(coordinator: EmbeddedCoordinator) -> values.NodeTableDetails | None:
    kv = (await coordinator.get(REPORTED.path)).kv
    return None if kv is None else values.decode(REPORTED, kv.value)


async def details(coordinator: EmbeddedCoordinator) -> values.Details | None:
    kv = (await coordinator.get(DETAILS.path)).kv
    return None if kv is None else values.decode(DETAILS, kv.value)


async def test_the_second_of_two_refuses_to_serve(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
) -> None:
    """A copy of a running node's directory waits; it goes on as another disk once alone."""
    await placement.add_table(ORDERS)
    data, copied = tmp_path / "data", tmp_path / "copied"
    async with living(data, coordinator, control) as node:
        await node.settled()
        first = (await coordinator.get(BOOT.path)).kv
    shutil.copytree(data, copied)
    async with living(data, coordinator, control) as node:
        await node.settled()
        async with living(copied, coordinator, control) as twin:
            await twin.until(lambda: twin.cluster.node is not None)
            await asyncio.sleep(0.3)
            assert twin.cluster.problem == WAITING_FOR_TWIN
            await write(node, "a")
            await node.end()
            await twin.settled()
            second = (await coordinator.get(BOOT.path)).kv
            assert first is not None
            assert second is not None
            before, after = (values.decode(BOOT, kv.value) for kv in (first, second))
            assert after.number == before.number + 2
            assert after.incarnation != before.incarnation
            notices = (await coordinator.list(keys.notices_prefix(ME))).kvs
            assert b"old_copy" in notices[0].value


async def test_a_superseded_node_ends(
    tmp_path: Path, coordinator: EmbeddedCoordinator, control: ScriptedControl
) -> None:
    """Whoever sees that another process has started under its UUID stops at once."""
    node = LivingNode(tmp_path / "data", coordinator, control)
    node.begin()
    await node.settled()
    kv = (await coordinator.get(BOOT.path)).kv
    assert kv is not None
    mine = values.decode(BOOT, kv.value)
    await Placement(coordinator).put(
        BOOT, values.NodeBoot(number=mine.number + 1, nonce="x", incarnation=uuid("1", 9))
    )
    async with asyncio.timeout(5.0):
        while not node.failures:  # noqa: ASYNC110 - a test looks from outside
            await asyncio.sleep(0.01)
    [error] = node.failures
    assert isinstance(error, BaseExceptionGroup)
    assert error.subgroup(Refused) is not None
    assert node.cluster.problem == WAITING_FOR_TWIN
    await node.end()


async def test_a_crash_half_way_is_made_good(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A start that fails at any step of holding a table leaves what the next one brings to an end.

    Each life breaks one step further: the tenant's record, each range's file, its record, the
    report; nothing that was held before is lost.
    """
    data = tmp_path / "data"
    await placement.add_table(ORDERS, [ME, ME, ME])
    breaking = Breaking(monkeypatch)
    for step in range(12):
        breaking.after(step)
        async with living(data, coordinator, control) as node:
            await node.until(lambda: node.cluster.problem == "")
            await node.until(lambda: breaking.is_broken or node.cluster.is_settled)
            breaking.stop()
            before = node.held()
            await node.end()
        if not breaking.is_broken:
            break
        async with living(data, coordinator, control) as node:
            await node.settled()
            assert before <= node.held()
            assert len(node.held()) == 3
            await write(node, f"k{step}")
            assert await count(node) == 1
            await placement.remove_table(ORDERS, 3)
            await node.until(lambda: not node.held())
            await coordinator.delete(keys.TenantPath(TENANT).path)
            await node.until(lambda: not node.node.holdings.tenants)
        await placement.add_tenant()
        await placement.add_table(ORDERS, [ME, ME, ME])
    assert step > 4


class Breaking:
    """Lets the node's database and files do so many steps, and none behind them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left: int | None = None
        self.is_broken = False
        run, create = NodeDatabase.run, RangeFiles.create
        breaking = self

        async def counted_run(database: NodeDatabase, step: Any, **further: Any) -> Any:
            breaking.count()
            return await run(database, step, **further)

        async def counted_create(files: RangeFiles, *args: Any, **further: Any) -> None:
            breaking.count()
            await create(files, *args, **further)

        monkeypatch.setattr(NodeDatabase, "run", counted_run)
        monkeypatch.setattr(RangeFiles, "create", counted_create)

    def after(self, steps: int) -> None:
        # The record of the start comes first: it is written twice.
        self._left, self.is_broken = steps + 2, False

    def stop(self) -> None:
        self._left = None

    def count(self) -> None:
        if self._left is None:
            return
        if self._left == 0:
            self.is_broken = True
            raise Unknown("The power is gone.")
        self._left -= 1


async def test_etcd_away_at_the_start(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A start is counted before anything is served; so a node waits for the coordinator."""
    await placement.add_table(ORDERS)
    real = EmbeddedCoordinator.grant

    async def away(*_args: Any, **_further: Any) -> Any:
        raise CoordinatorUnavailable("No answer.")

    monkeypatch.setattr(EmbeddedCoordinator, "grant", away)
    async with living(tmp_path / "data", coordinator, control) as node:
        await node.until(lambda: node.cluster.node is not None)
        await asyncio.sleep(0.2)
        assert node.cluster.problem == WAITING_FOR_COORDINATOR
        monkeypatch.setattr(EmbeddedCoordinator, "grant", real)
        await node.settled()
        assert len(node.held()) == 1


async def test_notices_are_told(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Control hears of a full disk once, and of damage in a range; status and report say so."""
    data = tmp_path / "data"
    await placement.add_table(ORDERS)
    async with living(data, coordinator, control) as node:
        await node.settled()
        for number in range(200):
            await write(node, f"k{number}")
        [range_id] = node.held()
    [path] = (data / "ranges").glob(f"??/{range_id}.db")
    content = bytearray(path.read_bytes())
    for page in range(4_096, len(content), 4_096):
        content[page + 100] ^= 1
    path.write_bytes(content)
    async with living(data, coordinator, control) as node:
        await node.settled()
        proxy = Identity(control_plane=PLANE, role=ComponentRole.PROXY, uuid=OTHER)
        peer = direct(Methods(node.cluster.answered()), here=proxy)
        key = node.node.items.locate(TENANT, "orders", "k1")
        with pytest.raises(Corrupt):  # its log can't be read, and nobody else has it
            await peer.call(ReadEntry(range_id, 1, key.rid_id), deadline_s=5.0)
        monkeypatch.setattr(node.node.disk, "_free_bytes_min", 1 << 60)
        kinds: list[str] = []
        while sorted(kinds) != ["damaged", "disk_low"]:
            await asyncio.sleep(0.05)
            found = (await coordinator.list(keys.notices_prefix(ME))).kvs
            kinds = [json.loads(kv.value)["kind"] for kv in found]
        told = await reported(coordinator)
        assert told is not None
        assert told.status is values.HeldStatus.DAMAGED
        said = await details(coordinator)
        assert said is not None
        assert said.status is values.ComponentStatus.NO_SPACE
        await asyncio.sleep(1.5)
        assert len((await coordinator.list(keys.notices_prefix(ME))).kvs) == 2
        await peer.close()
