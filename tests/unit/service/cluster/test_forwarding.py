"""Accepted writes whose range has gone to another node: done there, once, in order, or later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from dstore.base.clock import SystemClock
from dstore.model.errors import Unknown
from dstore.model.ranges import RangeRef
from dstore.model.tables import IdType
from dstore.replication.peers.calls import Methods
from dstore.service.cluster.forwarding import Forwarding
from dstore.service.deferred_store import DeferredOutcome, DeferredWrite, Verb
from dstore.service.peer_pool import PeerPool
from dstore.service.read_answers import PLAIN_ENTRY
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.values import RangePlacement, Replica
from tests.support.control import eventually
from tests.support.peers import NODE, direct
from tests.support.proxies import Gate, KeepingNode, ProxyCluster, answered_by, proxy_cluster

TENANT, TABLE = "acme", "entries"


@dataclass
class Moved:
    """A cluster of two; the table's only range was at `before`, and `now` is its primary."""

    cluster: ProxyCluster
    before: KeepingNode
    now: KeepingNode
    gate: Gate  # of `now`, as `before` calls it
    table_id: str

    async def accept(self, entry_id: str, verb: Verb = Verb.CREATE, body: bytes = b"{}") -> str:
        return await self.before.real.deferred.accept(
            DeferredWrite(
                tenant=TENANT,
                table=TABLE,
                table_id=self.table_id,
                id=entry_id,
                verb=verb,
                body=body,
            )
        )

    async def outcome(self, request_id: str) -> DeferredOutcome:
        async with asyncio.timeout(20):
            while True:
                found = await self.before.real.deferred.outcome(TENANT, request_id)
                if found is not None:
                    return found
                await asyncio.sleep(0.01)

    async def body(self, entry_id: str) -> bytes | None:
        items = self.cluster.proxy.items
        found = await items.read(items.locate(TENANT, TABLE, entry_id), PLAIN_ENTRY)
        return None if found is None else bytes(found.body)


@asynccontextmanager
async def moved(directory: Path) -> AsyncIterator[Moved]:
    async with proxy_cluster(directory, ranges_per_table=1) as cluster:
        await cluster.proxy.registrar.create_tenant(TENANT)
        table, _ = await cluster.proxy.registrar.create_table(TENANT, TABLE, id_type=IdType.STRING)
        [ref] = table.ranges.refs
        before, now = sorted(cluster.nodes, key=lambda node: node.node != ref.node)
        definition = table.definition
        tenant = cluster.proxy.directory.tenant(TENANT)
        await now.real.duties.ensure_tenant(TENANT, tenant_id=tenant.uuid)
        await now.real.duties.ensure_range(
            definition, RangeRef(range_id=ref.range_id, epoch=ref.epoch + 1)
        )
        await before.real.duties.drop_range(ref.range_id)
        path = keys.RangePath(TENANT, TABLE, 0)
        found = await cluster.coordinator.get(path.path)
        assert found.kv is not None
        value: Any = values.decode(path, found.kv.value)
        assert isinstance(value, RangePlacement)
        replica = Replica(
            node=now.node,
            incarnation=value.replicas[0].incarnation,
            uri=now.uri,
            state=value.replicas[0].state,
        )
        placed = structs.replace(
            value, node=now.node, uri=now.uri, epoch=ref.epoch + 1, replicas=(replica,)
        )
        await cluster.coordinator.put(path.path, values.encode(placed))
        gate = Gate(direct(Methods(answered_by(now.real)), here=NODE))
        peers = PeerPool(cluster.watcher, dial=lambda _node, _uri: gate, tasks=cluster.tasks)
        forwarding = Forwarding(
            before.node,
            cluster.watcher,
            peers,
            clock=SystemClock(),
            tasks=cluster.tasks,
            metrics=cluster.metrics,
        )
        forwarding.begin(before.real)
        shown = cluster.proxy.directory
        await eventually(lambda: shown.table(TENANT, TABLE).ranges.refs[0].node == now.node)
        try:
            yield Moved(cluster, before, now, gate, definition.table_id)
        finally:
            forwarding.close()
            await peers.close()


async def test_a_write_goes_where_its_range_has_gone(tmp_path: Path) -> None:
    """Who has accepted it does not hold the range any more, and tells how it went."""
    async with moved(tmp_path) as here:
        told = await here.outcome(await here.accept("a", body=b'{"n":1}'))
        assert told.error is None
        assert not told.existed
        assert await here.body("a") == b'{"n":1}'
        again = await here.outcome(await here.accept("a"))
        assert again.error == "conflict"


async def test_a_lost_answer_is_asked_for(tmp_path: Path) -> None:
    """The write goes by the name of its acceptance, so it is done once, and not told to exist."""
    async with moved(tmp_path) as here:
        here.gate.losses = [Unknown("lost"), Unknown("lost")]
        told = await here.outcome(await here.accept("a"))
        assert told.error is None
        assert not told.existed
        assert here.gate.calls == 3
        names = {one.request.request_id for one in here.gate.asked}
        assert len(names) == 1


async def test_a_range_that_is_away_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write stays in the queue, however often it is tried, and those behind it too."""
    monkeypatch.setattr("dstore.service.proxy.node_calls.PROXY_CALL_TIMEOUT_S", 0.2)
    async with moved(tmp_path) as here:
        here.gate.is_shut = True
        first = await here.accept("a", body=b'{"n":1}')
        second = await here.accept("a", Verb.REPLACE, body=b'{"n":2}')
        await eventually(lambda: here.gate.calls > 5)
        assert await here.before.real.deferred.outcome(TENANT, first) is None
        assert here.before.real.deferred.depth == 2
        here.gate.is_shut = False
        assert (await here.outcome(first)).error is None
        assert (await here.outcome(second)).error is None
        assert await here.body("a") == b'{"n":2}'


async def test_a_table_that_is_gone(tmp_path: Path) -> None:
    """It was deleted before the write ran: that is its outcome, and it does not wait for ever."""
    async with moved(tmp_path) as here:
        here.gate.is_shut = True
        request_id = await here.accept("a")
        await here.cluster.proxy.registrar.delete_table(TENANT, TABLE)
        assert (await here.outcome(request_id)).error == "not_found"


async def test_own_ranges_are_asked_by_reference(tmp_path: Path) -> None:
    """A range that has come back is written here, and nobody is called."""
    async with moved(tmp_path) as here:
        forwarding = Forwarding(
            here.now.node,
            here.cluster.watcher,
            PeerPool(here.cluster.watcher, dial=_nobody, tasks=here.cluster.tasks),
            clock=SystemClock(),
            tasks=here.cluster.tasks,
            metrics=here.cluster.metrics,
        )
        forwarding.begin(here.now.real)
        here.before = here.now
        told = await here.outcome(await here.accept("a"))
        assert told.error is None
        assert here.gate.calls == 0
        forwarding.close()


def _nobody(_node: str, _uri: str) -> Any:
    raise AssertionError
