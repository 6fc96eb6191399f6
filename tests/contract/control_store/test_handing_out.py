"""What control looks at before it hands out keys: changes counted, holders named, removals told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from dstore.model.status import ResourceStatus
from dstore.storage.control import credentials, tables, tenants
from dstore.storage.control.components import NODES
from dstore.storage.control.records import ComponentState, NodeUuid
from dstore.storage.control.store import ControlStore, Transaction
from tests.support import control_records as made
from tests.support.control_records import NOW_US

Change = Callable[[Transaction], Awaitable[object]]

KEY = made.access_key()
BEARER = made.bearer(tenant=None)
CHANGES: dict[str, Change] = {
    "access key made": lambda tx: credentials.insert_access_key(tx, replace(KEY, id="B" * 20)),
    "access key revoked": lambda tx: credentials.delete_access_key(tx, KEY.id),
    "token made": lambda tx: credentials.insert_bearer(tx, replace(BEARER, id="other")),
    "token revoked": lambda tx: credentials.delete_bearer(tx, BEARER.id),
    "tenant changed": lambda tx: tenants.update(
        tx, replace(made.tenant(), status=ResourceStatus.DELETING)
    ),
    "tenant deleted": lambda tx: tenants.delete(tx, "acme"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_every_change_of_credentials_is_counted(store: ControlStore, change: Change) -> None:
    """One number tells every control that it has to look; a change that fails counts nothing."""
    async with store.transaction() as tx:
        await tenants.insert(tx, made.tenant())
        await credentials.insert_access_key(tx, KEY)
        await credentials.insert_bearer(tx, BEARER)
        before = await credentials.version(tx)

    async def fail() -> None:
        async with store.transaction() as tx:
            await change(tx)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with store.snapshot() as tx:
        assert await credentials.version(tx) == before
    async with store.transaction() as tx:
        await change(tx)
        assert await credentials.version(tx) > before


async def test_a_node_is_told_apart_by_the_ranges_that_it_has(store: ControlStore) -> None:
    """Whose keys a node may have follows from where ranges are, and from nothing else."""
    acme, globex = made.table(tenant="acme"), made.table(tenant="globex")
    second = made.table("parts", tenant="acme")
    async with store.transaction() as tx:
        for node in ("node-1", "node-2", "node-4"):
            await NODES.insert(tx, made.node(node))
        for tenant in ("acme", "globex", "initech"):
            await tenants.insert(tx, made.tenant(tenant))
        await tables.insert(tx, acme, [made.whole_range(acme)])
        await tables.insert(tx, second, [made.whole_range(second)])
        last = made.whole_range(globex, node="node-2")
        secondaries = {last.range_id: [NodeUuid("node-4")]}
        await tables.insert(tx, globex, [last], secondaries=secondaries)
    async with store.snapshot() as tx:
        assert await tables.tenants_of_node(tx, NodeUuid("node-1")) == {"acme"}
        assert await tables.tenants_of_node(tx, NodeUuid("node-2")) == {"globex"}
        assert await tables.tenants_of_node(tx, NodeUuid("node-4")) == {"globex"}, "no primary"
        assert await tables.tenants_of_node(tx, NodeUuid("node-3")) == frozenset()


async def test_who_was_removed_is_told_as_long_as_its_certificate_lives(
    store: ControlStore,
) -> None:
    """The latest first; those from long ago have no certificate to show any more."""
    async with store.transaction() as tx:
        for number in range(4):
            await NODES.insert(tx, made.node(f"node-{number}"))
        for number, at_us in ((0, NOW_US), (1, NOW_US + 10), (2, NOW_US + 20)):
            await NODES.set_state(tx, f"node-{number}", ComponentState.REMOVED, now_us=at_us)
    async with store.snapshot() as tx:
        told = await NODES.removed(tx, since_us=NOW_US + 10, limit=10)
        assert told == ("node-2", "node-1")
        assert await NODES.removed(tx, since_us=0, limit=1) == ("node-2",)
