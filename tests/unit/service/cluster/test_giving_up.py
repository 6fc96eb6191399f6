"""A node destroys nothing because the coordinator has forgotten it: control has to say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.service.calls.key_calls import AskOfRange, AskOfTenant, Verdict
from dstore.service.entry_writes import create
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.service.range_duties import RangeDuties
from dstore.topology import keyspace as keys
from dstore.topology.coordinator import Delete
from dstore.topology.embedded import EmbeddedCoordinator
from tests.support.cluster_nodes import (
    ME,
    TENANT,
    TENANT_ID,
    LivingNode,
    Placement,
    ScriptedControl,
    a_definition,
    keys_of,
    living,
)

ORDERS = a_definition("orders")


@pytest.fixture
async def placement() -> AsyncIterator[Placement]:
    failures: list[BaseException] = []
    opened = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=failures.append
    )
    made = Placement(opened)
    await made.add_tenant()
    await made.add_table(ORDERS, [ME, ME])
    yield made
    await opened.close()
    assert failures == []


async def forget(placement: Placement, *, tenant: bool = False) -> None:
    """Do what a snapshot of before does, whose revision has grown past the last one meanwhile."""
    paths = [path.path for path, _ in keys_of(ORDERS, [ME, ME])]
    if tenant:
        paths.append(keys.TenantPath(TENANT).path)
    await placement.commit(*(Delete(key=path) for path in paths))


def asked(control: ScriptedControl, kind: type) -> int:
    return sum(1 for one in control.asked if isinstance(one, kind))


@pytest.mark.parametrize("verdict", [Verdict.HELD, Verdict.UNKNOWN, None])
async def test_what_the_coordinator_has_forgotten_is_kept(
    tmp_path: Path, placement: Placement, verdict: Verdict | None
) -> None:
    """While control's store gives it to the node, or knows nothing, or nobody answers (None)."""
    control = ScriptedControl()
    async with living(tmp_path / "data", placement.coordinator, control) as node:
        await node.settled()
        held = node.held()
        assert len(held) == 2
        control.verdict = verdict
        await forget(placement, tenant=True)
        await node.until(lambda: asked(control, AskOfRange) >= 3)  # and it asks again
        assert node.held() == held
        assert len(list((tmp_path / "data" / "ranges").glob("??/*.db"))) == 2
        control.verdict = Verdict.GONE
        await node.until(lambda: not node.held())
        await node.until(lambda: not node.node.holdings.tenants)


@pytest.mark.parametrize("verdict", [Verdict.HELD, Verdict.UNKNOWN, None])
async def test_a_restart_changes_nothing_of_it(
    tmp_path: Path, placement: Placement, verdict: Verdict | None
) -> None:
    """A node that starts beside such a coordinator keeps its files, and serves them again."""
    control = ScriptedControl()
    async with living(tmp_path / "data", placement.coordinator, control) as node:
        await node.settled()
        held = node.held()
    await forget(placement)
    control = ScriptedControl()
    control.verdict = verdict
    async with living(tmp_path / "data", placement.coordinator, control) as node:
        await node.until(lambda: asked(control, AskOfRange) >= 2)
        assert node.held() == held
        await placement.add_table(ORDERS, [ME, ME])
        await node.settled()
        assert node.held() == held


async def test_a_tenant_of_which_nothing_is_held_is_kept_as_well(
    tmp_path: Path, placement: Placement
) -> None:
    """Its share of the keys goes with it, so that what is left of its files opens no more."""
    control = ScriptedControl()
    async with living(tmp_path / "data", placement.coordinator, control) as node:
        await node.settled()
        await placement.remove_table(ORDERS, 2)
        await node.until(lambda: not node.held())
        control.verdict = Verdict.UNKNOWN
        await placement.coordinator.delete(keys.TenantPath(TENANT).path)
        await node.until(lambda: asked(control, AskOfTenant) >= 2)
        assert list(node.node.holdings.tenants) == [TENANT]
        assert AskOfTenant(TENANT, TENANT_ID) in control.asked
        control.verdict = Verdict.GONE
        await node.until(lambda: not node.node.holdings.tenants)


async def test_what_is_asked_names_the_range_and_its_table(
    tmp_path: Path, placement: Placement
) -> None:
    """By their UUIDs, with what tells an old store from a new one."""
    control = ScriptedControl()
    async with living(tmp_path / "data", placement.coordinator, control) as node:
        await node.settled()
        held = node.held()
        await forget(placement)
        await node.until(lambda: not node.held())
        asks = [one for one in control.asked if isinstance(one, AskOfRange)]
        assert {one.range_id for one in asks} == held
        assert {one.table_id for one in asks} == {ORDERS.table_id}
        assert {(one.tenant, one.tenant_id, one.table) for one in asks} == {
            (TENANT, TENANT_ID, "orders")
        }
        assert {(one.epoch, one.created_at_us) for one in asks} == {(1, ORDERS.created_at_us)}


async def test_what_could_not_be_deleted_is_written_to_when_it_is_given_again(
    tmp_path: Path, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file, open as it was, must not go on asking the replica that has ended."""
    refused: list[str] = []

    async def refuse(_duties: RangeDuties, range_id: str) -> None:
        refused.append(range_id)
        await asyncio.sleep(0)
        raise Unavailable(UnavailableKind.NO_SPACE, "The disk is full.")

    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        await write_all(node, "a")
        with monkeypatch.context() as full:
            full.setattr(RangeDuties, "drop_range", refuse)
            await forget(placement)
            await node.until(lambda: len(set(refused)) == 2)
            await placement.add_table(ORDERS, [ME, ME])
            await node.settled()
        await write_all(node, "b")


async def write_all(node: LivingNode, prefix: str) -> None:
    """Write something to every range."""
    items = node.node.items
    for number in range(20):
        key = items.locate(TENANT, "orders", f"{prefix}{number}")
        await items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))
