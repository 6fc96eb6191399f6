"""Every noun comes back as it was written, refuses what it must, and lists in pages."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from dstore.base.limits import CONTROL_PAGE_MAX
from dstore.model.errors import Corrupt, RefusalKind, Refused
from dstore.model.hashing import HASH_MAX
from dstore.model.status import ResourceStatus
from dstore.storage.control import credentials, notices, planes, tables, tenants
from dstore.storage.control.components import CONTROLS, NODES, PROXIES
from dstore.storage.control.records import (
    ComponentState,
    HolderState,
    NodeUuid,
    NoticeRecord,
    RangeId,
)
from dstore.storage.control.store import ControlStore, Key
from tests.support import control_records as made
from tests.support.control_records import NOW_US

_COLUMNS = "tenant, name, table_id, definition, status, created_at_us, changed_at_us"


async def test_what_is_written_is_read(store: ControlStore) -> None:
    """A record is a row: every field of every noun survives."""
    table = made.table()
    async with store.transaction() as tx:
        await CONTROLS.insert(tx, made.control())
        await NODES.insert(tx, made.node())
        await PROXIES.insert(tx, made.proxy())
        await tenants.insert(tx, made.tenant())
        await tables.insert(tx, table, [made.whole_range(table)])
        await credentials.insert_access_key(tx, made.access_key())
        await credentials.insert_bearer(tx, made.bearer(tenant=None))
        await planes.create(tx, made.plane())
    async with store.snapshot() as tx:
        assert await planes.get(tx) == made.plane()
        assert await CONTROLS.get(tx, "control-1") == made.control()
        assert await NODES.get(tx, "node-1") == made.node()
        assert await PROXIES.get(tx, "proxy-1") == made.proxy()
        assert await tenants.get(tx, "acme") == made.tenant()
        assert await tables.get(tx, "acme", "orders") == table
        assert await tables.get_by_id(tx, table.table_id) == table
        assert await tables.ranges(tx, table.table_id) == (made.whole_range(table),)
        assert await credentials.get_access_key(tx, made.access_key().id) == made.access_key()
        assert (await credentials.bearers(tx)).records == (made.bearer(tenant=None),)


async def test_no_record_shows_what_is_sealed() -> None:
    """A record that lands in a log or an error has no key in it."""
    for record in (made.plane(), made.node(), made.proxy(), made.tenant(), made.access_key()):
        assert "sealed\\x00" not in repr(record)
    assert "digest" not in repr(made.bearer())
    assert "digest" not in repr(made.join_token())


async def test_two_controls_create_one_control_plane(store: ControlStore) -> None:
    """Two that start at once on an empty store end up with the same certificate authority."""
    async with store.transaction() as tx:
        first = await planes.create(tx, made.plane("plane-1"))
    async with store.transaction() as tx:
        second = await planes.create(tx, made.plane("plane-2"))
    assert first == second == made.plane("plane-1")


async def test_a_deposed_leader_is_fenced(store: ControlStore) -> None:
    """A control that was stopped while it led goes on afterwards, and must change nothing."""
    async with store.transaction() as tx:
        await planes.create(tx, made.plane())
    for epoch in (7, 7, 9):
        async with store.transaction() as tx:
            await planes.act_as_leader(tx, epoch)
    async with store.transaction() as tx:
        with pytest.raises(Refused) as refused:
            await planes.act_as_leader(tx, 8)
    assert refused.value.kind is RefusalKind.CONFLICT
    async with store.transaction() as tx:
        await planes.begin_recovery(tx, after=0)
        await planes.act_as_leader(tx, 1, recoveries=1)
        with pytest.raises(Refused):  # epochs of before count for nothing any more
            await planes.act_as_leader(tx, 1_000)
        with pytest.raises(Refused, match="recovered already"):
            await planes.begin_recovery(tx, after=1)
        await planes.end_recovery(tx, recoveries=1)
        await planes.begin_recovery(tx, after=1)


async def test_a_removed_component_stays_removed(store: ControlStore) -> None:
    """Its certificate is out in the world; no later change may let it in again."""
    async with store.transaction() as tx:
        await NODES.insert(tx, made.node(state=ComponentState.JOINING))
        await NODES.set_state(tx, "node-1", ComponentState.ACTIVE, now_us=NOW_US + 1)
        await NODES.set_state(tx, "node-1", ComponentState.REMOVED, now_us=NOW_US + 2)
        with pytest.raises(Refused) as removed:
            await NODES.set_state(tx, "node-1", ComponentState.ACTIVE, now_us=NOW_US + 3)
        with pytest.raises(Refused) as taken:
            await NODES.insert(tx, made.node())
        with pytest.raises(Refused) as unknown:
            await NODES.set_state(tx, "node-2", ComponentState.ACTIVE, now_us=NOW_US + 3)
        node = await NODES.get(tx, "node-1")
    assert node is not None
    assert (node.state, node.changed_at_us) == (ComponentState.REMOVED, NOW_US + 2)
    kinds = [each.value.kind for each in (removed, taken, unknown)]
    assert kinds == [RefusalKind.CONFLICT, RefusalKind.CONFLICT, RefusalKind.NOT_FOUND]


async def test_a_table_needs_its_tenant_and_its_nodes(store: ControlStore) -> None:
    """No row refers to what is not there, nor is what is referred to taken away."""
    table = made.table()

    async def insert() -> None:
        async with store.transaction() as tx:
            await tables.insert(tx, table, [made.whole_range(table)])

    with pytest.raises(Refused):
        await insert()
    async with store.transaction() as tx:
        await tenants.insert(tx, made.tenant())
    with pytest.raises(Refused):
        await insert()
    async with store.transaction() as tx:
        await NODES.insert(tx, made.node())
    await insert()

    async def delete_tenant() -> None:
        async with store.transaction() as tx:
            await tenants.delete(tx, "acme")

    with pytest.raises(Refused) as refused:
        await delete_tenant()
    assert refused.value.kind is RefusalKind.CONFLICT
    async with store.transaction() as tx:
        await credentials.insert_access_key(tx, made.access_key())
        await credentials.insert_bearer(tx, made.bearer())
        assert await tables.delete(tx, table.table_id)
        assert await tenants.delete(tx, "acme")
        assert not await tenants.delete(tx, "acme")
        assert (await credentials.access_keys(tx)).records == ()
        assert (await credentials.bearers(tx)).records == ()


async def test_ranges_share_out_all_hashes(store: ControlStore) -> None:
    """I8: a gap or an overlap never gets as far as the store."""
    table = made.table()
    whole = made.whole_range(table)
    low = replace(whole, range_id=RangeId("low"), high_hash=9)
    for wrong in (
        [low],
        [low, replace(whole, low_hash=11)],
        [low, replace(whole, low_hash=9)],
        [replace(whole, high_hash=HASH_MAX - 1)],
    ):
        async with store.transaction() as tx:
            with pytest.raises(AssertionError):
                await tables.insert(tx, table, wrong)
    async with store.transaction() as tx:
        await NODES.insert(tx, made.node())
        await tenants.insert(tx, made.tenant())
        await tables.insert(tx, table, [low, replace(whole, low_hash=10)])
        assert [each.low_hash for each in await tables.ranges(tx, table.table_id)] == [0, 10]
        assert await tables.primaries_by_node(tx) == {NodeUuid("node-1"): 2}
        assert await tables.count_ranges(tx) == 2


async def test_a_range_has_replicas_on_several_nodes(store: ControlStore) -> None:
    """Each node lists and counts what it is to hold, as the primary or not; a table takes all."""
    table, other = made.table(), made.table("other")
    whole, lone = made.whole_range(table), made.whole_range(other, node="node-3")
    low = replace(whole, range_id=RangeId("low"), high_hash=9)
    high = replace(whole, range_id=RangeId("high"), low_hash=10, node=NodeUuid("node-2"))
    one, two, three = (NodeUuid(f"node-{number}") for number in (1, 2, 3))
    async with store.transaction() as tx:
        await tenants.insert(tx, made.tenant())
        for node in (one, two, three):
            await NODES.insert(tx, made.node(node))
        secondaries = {low.range_id: [two, three], high.range_id: [one]}
        await tables.insert(tx, table, [low, high], secondaries=secondaries)
        await tables.insert(tx, other, [lone])
        found = await tables.replicas(tx, table.table_id)
        assert [(each.range_id, each.node, each.state) for each in found] == [
            (high.range_id, one, HolderState.HOLDING),
            (high.range_id, two, HolderState.HOLDING),
            (low.range_id, one, HolderState.HOLDING),
            (low.range_id, two, HolderState.HOLDING),
            (low.range_id, three, HolderState.HOLDING),
        ]
        assert await tables.replicas_by_node(tx) == {one: 2, two: 2, three: 2}
        assert await tables.primaries_by_node(tx) == {one: 1, two: 1, three: 1}
        assert (await tables.ranges_of_node(tx, one)).records == (high, low)
        first = await tables.ranges_of_node(tx, three, limit=1)
        rest = await tables.ranges_of_node(tx, three, limit=1, after=first.after)
        assert (first.records, rest.records, rest.after) == ((low,), (lone,), None)
        assert (await tables.ranges_of_node(tx, NodeUuid("node-4"))).records == ()
        assert await tables.delete(tx, table.table_id)
        assert await tables.replicas(tx, table.table_id) == ()
        assert await tables.replicas_by_node(tx) == {three: 1}


async def test_a_replica_comes_and_leaves(store: ControlStore) -> None:
    """It is forgotten only once it was told to leave, and does not come back in between."""
    table = made.table()
    whole = made.whole_range(table)
    place = (whole.range_id, NodeUuid("node-2"))
    async with store.transaction() as tx:
        await tenants.insert(tx, made.tenant())
        for node in ("node-1", "node-2"):
            await NODES.insert(tx, made.node(node))
        await tables.insert(tx, table, [whole])
        with pytest.raises(Refused) as absent:
            await tables.mark_leaving(tx, *place)
        assert absent.value.kind is RefusalKind.NOT_FOUND
        await tables.add_replica(tx, *place)
        with pytest.raises(Refused) as twice:
            await tables.add_replica(tx, *place)
        assert twice.value.kind is RefusalKind.CONFLICT
        assert not await tables.remove_replica(tx, *place)
        await tables.mark_leaving(tx, *place)
        await tables.mark_leaving(tx, *place)
        leaving = await tables.get_replica(tx, *place)
        assert leaving is not None
        assert leaving.state is HolderState.LEAVING
        with pytest.raises(Refused):
            await tables.add_replica(tx, *place)
        assert (await tables.ranges_of_node(tx, place[1])).records == (whole,)
        assert await tables.tenants_of_node(tx, place[1]) == {"acme"}, "it serves until it has left"
        assert await tables.remove_replica(tx, *place)
        assert not await tables.remove_replica(tx, *place)
        assert await tables.get_replica(tx, *place) is None
        assert (await tables.replicas(tx, table.table_id))[0].node == "node-1"
    with pytest.raises(Refused):
        async with store.transaction() as tx:
            await tables.add_replica(tx, whole.range_id, NodeUuid("unknown"))
    with pytest.raises(Refused):
        async with store.transaction() as tx:
            await tables.add_replica(tx, RangeId("unknown"), place[1])


async def test_lists_are_in_the_order_of_bytes(store: ControlStore) -> None:
    """Both engines, and whatever locale a database has, page through names in one order."""
    names = ["B", "a", "Z", "_", "é", "-", "aa", "~", "0", "\U0001f600", "\uffee"]
    async with store.transaction() as tx:
        for name in names:
            await tenants.insert(tx, made.tenant(name))
        listed: list[str] = []
        after: Key | None = None
        while True:
            page = await tenants.page(tx, after=after, limit=2)
            listed += [each.name for each in page.records]
            after = page.after
            if after is None:
                break
    assert listed == sorted(names, key=str.encode)


async def test_ten_thousand_tables_are_listed_in_pages(store: ControlStore) -> None:
    """A long list costs no more at its end than at its start, and misses nothing on the way."""
    names = [f"table-{number:05}" for number in range(10_000)]
    async with store.transaction() as tx:
        await tenants.insert(tx, made.tenant())
        await tenants.insert(tx, made.tenant("zeta"))
    for part in range(0, len(names), 2_500):
        async with store.transaction() as tx:
            values = ", ".join(f"('acme', '{n}', 'id-{n}', '', 'active', 1, 1)" for n in
                               names[part : part + 2_500])  # fmt: skip
            await tx.change(f"INSERT INTO table_definition ({_COLUMNS}) VALUES {values}")  # noqa: S608 - made here
    listed: list[str] = []
    spent: list[float] = []
    after: Key | None = None
    while True:
        began = time.monotonic()
        async with store.snapshot() as tx:
            page = await tables.page(tx, "acme", after=after)
        spent.append(time.monotonic() - began)
        assert len(page.records) == CONTROL_PAGE_MAX
        listed += [each.name for each in page.records]
        if page.after is None:
            break
        after = page.after
    assert listed == names
    assert len(spent) == 10
    async with store.snapshot() as tx:
        assert (await tables.page(tx, "zeta")).records == ()
        across = await tables.page_of_all(tx, after=("acme", names[-2]), limit=5)
        assert [each.name for each in across.records] == [names[-1]]


async def test_a_page_that_cannot_be_is_refused(store: ControlStore) -> None:
    """Limits and places come from clients."""
    async with store.snapshot() as tx:
        for limit in (0, CONTROL_PAGE_MAX + 1):
            with pytest.raises(Refused):
                await tenants.page(tx, limit=limit)
        with pytest.raises(Refused):
            await tables.page(tx, "acme", after=("acme", "orders"))


async def test_a_record_that_changes_is_written_anew(store: ControlStore) -> None:
    """What does not exist cannot be updated by mistake."""
    async with store.transaction() as tx:
        await tenants.insert(tx, made.tenant())
        changed = replace(made.tenant(), status=ResourceStatus.DELETING)
        await tenants.update(tx, changed)
        assert await tenants.get(tx, "acme") == changed
        with pytest.raises(Refused) as refused:
            await tenants.update(tx, made.tenant("other"))
    assert refused.value.kind is RefusalKind.NOT_FOUND


async def test_a_row_of_another_version_is_not_taken_for_data(store: ControlStore) -> None:
    """A word that this version does not know stops it, with the table's name and no content."""
    async with store.transaction() as tx:
        await tenants.insert(tx, made.tenant())
        await tx.change("UPDATE tenant SET status = 'canary-41'")
        with pytest.raises(Corrupt) as corrupt:
            await tenants.get(tx, "acme")
    assert corrupt.value.where == "tenant"
    assert "canary-41" not in str(corrupt.value)


async def test_the_newest_notices_are_kept_once(store: ControlStore) -> None:
    """Etcd delivers a notice again after every restart of control; a node may send thousands."""
    sent = [
        NoticeRecord(node=NodeUuid("n"), at_us=NOW_US + at, kind="disk_low", details="{}")
        for at in range(20)
    ]
    async with store.transaction() as tx:
        assert [await notices.insert(tx, each) for each in sent + sent] == [True] * 20 + [
            False
        ] * 20
        assert await notices.count_since(tx, NOW_US + 17) == 3
        assert await notices.trim(tx, kept=5) == 15
        first = await notices.page(tx, limit=3)
        rest = await notices.page(tx, limit=3, after=first.after)
    listed = [*first.records, *rest.records]
    assert [each.at_us - NOW_US for each in listed] == [19, 18, 17, 16, 15]
    assert rest.after is None
