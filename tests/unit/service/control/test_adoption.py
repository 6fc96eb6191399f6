"""What a stand-alone node kept becomes control's, wherever a crash cuts that short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dstore import __version__
from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import Corrupt, Refused
from dstore.model.status import ResourceStatus
from dstore.security.control_key import Sealed
from dstore.security.keys import Key256
from dstore.security.sealer import KeySealer
from dstore.service.control.adoption import Adoption, check_keeper
from dstore.service.control.placement import Candidate
from dstore.service.control.residents import Residents, enter_residents
from dstore.service.control.sites import Site
from dstore.service.node import Node
from dstore.storage.control import credentials, tables, tenants
from dstore.storage.control.records import TenantRecord
from dstore.storage.control.store import ControlStore, Transaction
from dstore.storage.control.vaulted import open_vaulted
from dstore.storage.vault.layout import FileKey
from dstore.storage.vault.vault import Vault
from dstore.topology.embedded import EmbeddedCoordinator
from tests.support.control import CONTROL_KEY, ControlProcess, control_process, eventually
from tests.support.standalone_directory import StandaloneDirectory, unpacked
from tests.support.topology import uuid
from tests.unit.service.nodes import a_node

KEY = FileKey(file_uuid=bytes(16), generation=0, secret=bytes(range(32)))


class PowerCut(Exception):
    """The process is gone; nothing after this happens."""


class CuttingStore:
    """A store that goes down before or after the n-th transaction of one task."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store
        self.transactions_left: int | None = None
        self.is_after = False
        self._task = asyncio.current_task()

    @asynccontextmanager
    async def transaction(self, *, timeout_s: float | None = None) -> AsyncIterator[Transaction]:
        is_counted = asyncio.current_task() is self._task  # the leader's own work goes on
        left = self.transactions_left if is_counted else None
        if left is not None:
            self.transactions_left = left - 1
            if left == 0 and not self.is_after:
                raise PowerCut
        async with self._store.transaction(timeout_s=timeout_s) as tx:
            yield tx
        if left == 0:
            raise PowerCut

    def snapshot(
        self, *, timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        return self._store.snapshot(timeout_s=timeout_s)

    async def close(self) -> None:
        await self._store.close()


@dataclass(kw_only=True)
class Whole:
    """One process of control and a node on one directory."""

    process: ControlProcess
    node: Node
    residents: Residents
    store: CuttingStore
    adoption: Adoption


@asynccontextmanager
async def a_whole(data: Path) -> AsyncIterator[Whole]:
    """Start it as a process does, up to the adoption."""
    clock, entropy = SystemClock(), SystemEntropy()
    async with AsyncExitStack() as stack:
        vault = Vault(entropy=entropy, page_cache_bytes=4 << 20)
        opened = await open_vaulted(data / "control.db", key=KEY, vault=vault, on_fatal=_fail)
        stack.push_async_callback(opened.close)
        store = CuttingStore(opened)
        coordinator = await EmbeddedCoordinator.open(
            data / "topology.db",
            clock=clock,
            entropy=entropy,
            on_failure=_fail,
            sealer=KeySealer(key=Key256(bytes(range(32))), entropy=entropy),
        )
        stack.push_async_callback(coordinator.close)
        process = await stack.enter_async_context(control_process(coordinator, store, data))
        node = await stack.enter_async_context(a_node(data))
        residents = await enter_residents(
            process.plane,
            node=node.uuid,
            zone="here",
            version=__version__,
            clock=clock,
            entropy=entropy,
        )
        site = Site(candidate=Candidate(node=node.uuid), uri="direct://node", incarnation=uuid(1))
        await eventually(lambda: process.leads)
        yield Whole(
            process=process,
            node=node,
            residents=residents,
            store=store,
            adoption=Adoption(process.control.realm, node, site),
        )


@pytest.fixture
def old(tmp_path: Path) -> StandaloneDirectory:
    """Give a directory of the time before."""
    return unpacked(tmp_path)


async def assert_adopted(whole: Whole, old: StandaloneDirectory) -> None:
    """Compare what control has and shows with what a client of the stand-alone node saw."""
    plane, view = whole.process.plane, whole.process.watcher.view
    assert await check_keeper(whole.node, plane.uuid)
    async with plane.store.snapshot() as tx:
        found = (await tenants.page(tx)).records
        assert {one.name: one.uuid for one in found} == {
            name: facts["uuid"] for name, facts in old.facts["tenants"].items()
        }
        listed = (await tables.page_of_all(tx)).records
        assert {f"{one.tenant}/{one.name}" for one in listed} == {
            *old.facts["tables"],
            "default/orders",
        }
        keys = (await credentials.access_keys(tx)).records
        bearers = (await credentials.bearers(tx)).records
    secrets = {
        key.id: plane.control_key.open(
            key.sealed_secret, what=Sealed.ACCESS_KEY, record_id=key.id
        ).decode()
        for key in keys
    }
    env = old.facts["env"]
    assert secrets == {
        env["AWS_ACCESS_KEY_ID"]: env["AWS_SECRET_ACCESS_KEY"],
        old.facts["acme_key"]["id"]: old.facts["acme_key"]["secret"],
    }
    owners = {bearer.id: bearer.tenant for bearer in bearers}
    assert owners[old.facts["acme_token"]["id"]] == "acme"
    assert sorted(owner or "" for owner in owners.values()) == ["", "acme"]
    for tenant in whole.node.holdings.tenants.values():
        shown = view.tenant(tenant.name)
        assert shown is not None
        assert shown.known is not None
        assert shown.known.value.uuid == tenant.uuid == tenant.record.tenant_id
        for name, table in tenant.tables.items():
            seen = view.table(tenant.name, name)
            assert seen is not None
            assert (seen.definition, seen.status) == (table.definition, ResourceStatus.ACTIVE)
            assert [each.range_id for each in seen.ranges] == [
                ref.range_id for ref in table.ranges.refs
            ]
    held = view.node(whole.node.uuid)
    assert held is not None
    assert len(list(held.held)) == 5


async def test_a_directory_of_the_time_before_is_taken_over(old: StandaloneDirectory) -> None:
    """Tenants, tables, ranges and credentials keep their identities; a later start finds it so."""
    async with a_whole(old.data) as whole:
        assert not await check_keeper(whole.node, whole.process.plane.uuid)
        adopted = await whole.adoption.run()
        assert (adopted.tenants, adopted.tables) == (2, 5)
        await assert_adopted(whole, old)
    async with a_whole(old.data) as whole:
        await assert_adopted(whole, old)
        assert whole.node.access.tokens(None) == []  # control has them
        assert whole.node.access.access_keys("default") == []


@pytest.mark.parametrize("is_after", [False, True])
async def test_a_crash_at_any_step_loses_nothing(
    old: StandaloneDirectory, *, is_after: bool
) -> None:
    """Cut off before or after each transaction in turn, it goes on at the next start."""
    cut = 0
    while True:
        async with a_whole(old.data) as whole:
            whole.store.is_after = is_after
            whole.store.transactions_left = cut
            try:
                await whole.adoption.run()
            except PowerCut:
                assert not await check_keeper(whole.node, whole.process.plane.uuid)
            else:
                whole.store.transactions_left = None
                await assert_adopted(whole, old)
                break
        cut += 1
    assert cut > 5


async def test_a_crash_before_the_node_notes_it_loses_nothing(
    old: StandaloneDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control has everything and the node does not know: it is found there, and noted."""
    async with a_whole(old.data) as whole:

        async def cut(_control_plane: str) -> None:
            raise PowerCut

        monkeypatch.setattr(whole.node.holdings, "hand_over", cut)
        with pytest.raises(PowerCut):
            await whole.adoption.run()
    async with a_whole(old.data) as whole:
        assert not await check_keeper(whole.node, whole.process.plane.uuid)
        await whole.adoption.run()
        await assert_adopted(whole, old)


async def test_what_was_revoked_since_an_adoption_was_cut_short_stays_revoked(
    old: StandaloneDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node may have stood alone again in between; its copies must not come back to life."""
    key_id, token_id = old.facts["acme_key"]["id"], old.facts["acme_token"]["id"]
    async with a_whole(old.data) as whole:

        async def cut(_control_plane: str) -> None:
            raise PowerCut

        monkeypatch.setattr(whole.node.holdings, "hand_over", cut)
        with pytest.raises(PowerCut):
            await whole.adoption.run()
        monkeypatch.undo()
    async with a_node(old.data) as node:
        await node.access.delete_access_key("acme", key_id)
        await node.access.delete_token("acme", token_id)
    async with a_whole(old.data) as whole:
        await whole.adoption.run()
        async with whole.process.plane.store.snapshot() as tx:
            assert key_id not in {one.id for one in (await credentials.access_keys(tx)).records}
            assert token_id not in {one.id for one in (await credentials.bearers(tx)).records}


async def test_what_was_changed_since_an_adoption_was_cut_short_stays_so(
    old: StandaloneDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and tenants that went do not come back, and settings are the latest ones."""
    async with a_whole(old.data) as whole:

        async def cut(_control_plane: str) -> None:
            raise PowerCut

        monkeypatch.setattr(whole.node.holdings, "hand_over", cut)
        with pytest.raises(PowerCut):
            await whole.adoption.run()
        monkeypatch.undo()
        assert whole.process.watcher.view.table("default", "numbers") is not None
    async with a_node(old.data) as node:
        await node.catalog.delete_table("default", "numbers")
        await node.catalog.delete_tenant("acme", force=True)
        again, _ = await node.catalog.create_tenant("acme")
        changed = await node.catalog.set_table(
            "default", "orders", lambda known: replace(known.settings, is_protected=True)
        )
    async with a_whole(old.data) as whole:
        await whole.adoption.run()
        view = whole.process.watcher.view
        async with whole.process.plane.store.snapshot() as tx:
            found = (await tenants.page(tx)).records
            listed = (await tables.page_of_all(tx)).records
        held = whole.node.holdings.tenants
        assert {one.name: one.uuid for one in found} == {
            name: tenant.uuid for name, tenant in held.items()
        }
        assert held["acme"].uuid == again.uuid != old.facts["tenants"]["acme"]["uuid"]
        assert [(one.tenant, one.name) for one in listed] == [
            ("default", "names"),
            ("default", "orders"),
        ]
        assert view.table("default", "numbers") is None
        assert view.table("acme", "names") is None
        shown = view.table("default", "orders")
        assert shown is not None
        assert shown.definition == changed.definition
        node_view = view.node(whole.node.uuid)
        assert node_view is not None
        assert len(list(node_view.held)) == 2


async def test_another_control_store_is_refused(old: StandaloneDirectory) -> None:
    """A store that knows nothing of the tables would have the node give all of them up."""
    async with a_whole(old.data) as whole:
        await whole.adoption.run()
    for name in ("control.db", "control.db-wal", "topology.db", "topology.db-wal"):
        (old.data / name).unlink(missing_ok=True)
    async with a_whole(old.data) as whole:
        with pytest.raises(Corrupt, match="restore control's store"):
            await check_keeper(whole.node, whole.process.plane.uuid)


async def test_a_store_with_other_tenants_is_refused(
    old: StandaloneDirectory,
) -> None:
    """Two installations are never mixed into one."""
    async with a_whole(old.data) as whole:
        async with whole.store.transaction() as tx:
            await tenants.insert(tx, _tenant("acme-2"))
        with pytest.raises(Refused, match="has a tenant acme-2"):
            await whole.adoption.run()
        async with whole.store.transaction() as tx:
            assert await tenants.get(tx, "acme-2") is not None
            assert await tenants.get(tx, "acme") is None
        assert not await check_keeper(whole.node, whole.process.plane.uuid)


def _tenant(name: str) -> TenantRecord:
    sealed = CONTROL_KEY.seal_key(
        Key256(bytes(range(1, 33))),
        what=Sealed.TENANT,
        record_id=uuid(70),
        entropy=SystemEntropy(),
    )
    return TenantRecord(
        name=name,
        uuid=uuid(70),
        sealed_key=sealed,
        status=ResourceStatus.ACTIVE,
        created_at_us=1,
    )


def _fail(error: BaseException) -> None:
    raise AssertionError from error
