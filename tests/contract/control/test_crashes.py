"""Control dies at any point of any change; the next leader finishes it, and asking again helps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

import pytest

from dstore.model.errors import DStoreError, RefusalKind, Refused
from dstore.model.status import ResourceStatus
from dstore.service.calls.control_calls import CreateTable, DeleteTable
from dstore.service.control.control import Control
from dstore.service.control.publications import (
    definition_of,
    table_publications,
    tenant_publication,
)
from dstore.service.control.sites import sites
from dstore.storage.control import outbox, tables, tenants
from dstore.storage.control.records import TaskState
from dstore.topology import keyspace as keys
from tests.contract.control.conftest import Place
from tests.support.control import (
    ControlProcess,
    eventually,
    new_table,
    new_tenant,
    obedient_nodes,
)
from tests.support.topology import uuid

TABLES = 6
KILLS = 4

Change = Callable[[Control], Awaitable[object]]


async def _create(ask: CreateTable, control: Control) -> None:
    await control.tables.create(ask)


async def _delete(ask: DeleteTable, control: Control) -> None:
    await control.tables.delete(ask)


def _leads(process: ControlProcess) -> bool:
    return process.leads


def _changes() -> list[Change]:
    """Make some tables, and delete every other one of them again."""
    made: list[Change] = []
    for number in range(TABLES):
        ask = new_table(f"orders{number}", number=100 + number)
        made.append(partial(_create, ask))
    for number in range(0, TABLES, 2):
        gone = DeleteTable(tenant="acme", name=f"orders{number}", table_id=uuid(100 + number))
        made.append(partial(_delete, gone))
    return made


async def _one_by_one(process: ControlProcess, changes: list[Change]) -> None:
    """Do what is left, in order; what is done leaves the list."""
    await eventually(lambda: process.leads)
    await process.control.tenants.create(new_tenant())
    while changes:
        try:
            await changes[0](process.control)
        except DStoreError:
            await asyncio.sleep(0.05)
            continue
        changes.pop(0)


async def _shown(place: Place) -> dict[str, bytes]:
    listing = await place.coordinator.list(keys.EVERYTHING)
    decided = ("tenant/", "table/")
    return {
        kv.key: kv.value
        for kv in listing.kvs
        if kv.key.startswith(decided) or kv.key.endswith("/hash")
    }


async def _recorded(process: ControlProcess) -> dict[str, bytes]:
    """Make what the coordinator should show, from the store alone."""
    expected: dict[str, bytes] = {}
    async with process.plane.store.snapshot() as tx:
        assert await outbox.depth(tx) == 0
        found = await sites(tx, process.watcher.view)
        for tenant in (await tenants.page(tx)).records:
            publication = tenant_publication(tenant, tenant.status)
            expected[publication.key] = publication.value or b""
        for table in (await tables.page_of_all(tx)).records:
            ranges = await tables.ranges(tx, table.table_id)
            for each in table_publications(
                definition_of(table), table.status, ranges=ranges, sites=found
            ):
                expected[each.key] = each.value or b""
    return expected


@pytest.mark.parametrize("seed", range(4))
async def test_control_may_die_anywhere(place: Place, seed: int) -> None:
    """Killed at random points of its changes, control loses none and does none twice."""
    random = Random(seed)
    changes = _changes()
    async with obedient_nodes(place.coordinator, await place.store(), 2) as nodes:
        for _ in range(KILLS):
            async with place.control() as process:
                await eventually(partial(_leads, process))
                work = process.tasks.spawn(_one_by_one(process, changes), name="changes")
                await asyncio.wait((work,), timeout=random.uniform(0.0, 0.15))
                await process.kill()
        async with place.leader() as process:
            await _one_by_one(process, changes)
            survey = process.control.survey
            async with asyncio.timeout(15):
                while (await survey.status()).topology.waiting_writes or any(  # noqa: ASYNC110
                    task.state is not TaskState.DONE for task in (await survey.tasks())[0]
                ):
                    await asyncio.sleep(0.05)
            placement = await survey.placement(tenant="acme")
            assert [table.name for table in placement.tables] == ["orders1", "orders3", "orders5"]
            assert {table.status for table in placement.tables} == {ResourceStatus.ACTIVE}
            assert await _shown(place) == await _recorded(process)
            for node in nodes:
                assert {name for _, name in node.held} == {"orders1", "orders3", "orders5"}
            with pytest.raises(Refused) as caught:
                await process.control.tables.create(new_table("x" * 300, number=999))
            assert caught.value.kind is RefusalKind.INVALID
