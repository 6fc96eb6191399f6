"""What an operator sees and does, and what the leader does by itself beside tables."""

from __future__ import annotations

import asyncio

import pytest

from dstore.base.clock import SystemClock
from dstore.model.errors import RefusalKind, Refused
from dstore.security.identity import ComponentRole
from dstore.service.calls.control_calls import DeleteTable
from dstore.service.control import tasks as control_tasks
from dstore.service.control.leader import NotLeading
from dstore.service.control.plane import register_control
from dstore.service.control.status import Health
from dstore.service.control.tasks import NotYet, Step, TaskRunner, new_task
from dstore.storage.control import tasks
from dstore.storage.control.components import PROXIES
from dstore.storage.control.records import ControlUuid, NodeUuid, ProxyUuid, TaskId, TaskState
from dstore.topology import keyspace as keys
from dstore.topology import values
from tests.contract.control.conftest import Place
from tests.support import control_records
from tests.support.control import eventually, new_table, new_tenant, obedient_nodes
from tests.support.topology import uuid


async def test_the_one_page(place: Place) -> None:
    """Status counts components, tables and ranges, and says how many failures are survivable."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 2) as nodes,
        place.leader() as leader,
    ):
        survey = leader.control.survey
        empty = await survey.status()
        assert empty.sentence == "0 node failures survivable: there are no ranges yet."
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.create(new_table())
        status = await survey.status()
        assert (status.leader, status.control_plane) == (leader.plane.process, leader.plane.uuid)
        assert (status.tenant_count, status.ranges.total, status.ranges.unavailable) == (1, 2, 0)
        assert (status.failures_survivable, status.failures_without_loss) == (0, 0)
        assert status.problems == ()
        assert "single living replica" in status.sentence
        health = {row.uuid: row.health for row in status.components}
        assert set(health.values()) == {Health.OKAY}
        await nodes[0].die()
        await eventually(
            lambda: (
                (seen := leader.watcher.view.node(nodes[0].node)) is not None and seen.alive is None
            )
        )
        status = await survey.status()
        assert (status.failures_survivable, status.ranges.unavailable) == (-1, 1)
        assert any(nodes[0].node in problem for problem in status.problems)
        row, ranges = await survey.node(nodes[0].node)
        assert (row.health, row.ranges, row.primaries, len(ranges)) == (Health.DEAD, 1, 1, 1)
        assert "not alive" in ranges[0].why


async def test_a_node_with_ranges_is_not_removed(place: Place) -> None:
    """Nobody else has the data of a node's ranges, so it stays; an empty one goes without trace."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 1) as nodes,
        place.leader() as leader,
    ):
        survey, node = leader.control.survey, NodeUuid(nodes[0].node)
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.create(new_table())
        with pytest.raises(Refused, match="still has ranges"):
            await survey.remove_node(node, actor="x")
        await leader.control.tables.delete(
            DeleteTable(tenant="acme", name="orders", table_id=uuid(100))
        )
        await nodes[0].die()
        assert (await survey.remove_node(node, actor="x")).health is Health.REMOVED
        await eventually(lambda: leader.watcher.view.node(node) is None)
        with pytest.raises(Refused) as caught:
            await survey.set_maintenance(node, is_on=False, actor="x")
        assert caught.value.kind is RefusalKind.CONFLICT
        assert [row.health for row in await survey.nodes()] == [Health.REMOVED]


async def test_a_proxy_is_removed(place: Place) -> None:
    """A removed proxy is shown as such and leaves no key."""
    store = await place.store()
    async with place.leader() as leader:
        async with store.transaction() as tx:
            await PROXIES.insert(tx, control_records.proxy(uuid(40)))
        path = keys.DetailsPath(ComponentRole.PROXY, keys.ComponentId(uuid(40)))
        details = values.Details(status=values.ComponentStatus.OKAY, uri="https://p:1/")
        await place.coordinator.put(path.path, values.encode(details))
        await leader.control.survey.remove_proxy(ProxyUuid(uuid(40)), actor="x")
        assert [row.health for row in await leader.control.survey.proxies()] == [Health.REMOVED]
        await eventually(lambda: not leader.watcher.view.proxies)


async def test_a_control_that_has_ended_is_removed(place: Place) -> None:
    """One that lives is refused, the leader and the one that is asked too; then it is no more."""
    async with place.leader() as first, place.control() as second:
        survey, second_id = second.control.survey, second.plane.process
        await eventually(lambda: len(second.watcher.view.controls) == 2)
        await eventually(lambda: second.watcher.view.leader is not None)
        for uuid_, why in ((first.plane.process, "leads"), (second_id, "is alive")):
            with pytest.raises(Refused, match=why) as caught:
                await survey.remove_control(uuid_, actor="x")
            assert caught.value.kind is RefusalKind.CONFLICT
        with pytest.raises(Refused) as unknown:
            await survey.remove_control(ControlUuid(uuid(77)), actor="x")
        assert unknown.value.kind is RefusalKind.NOT_FOUND
        await first.kill()
        await eventually(lambda: second.leads)
        gone = first.plane.process
        await eventually(
            lambda: (seen := second.watcher.view.controls.get(gone)) and seen.alive is None
        )
        removed = await survey.remove_control(gone, actor="x")
        assert (removed.uuid, removed.health) == (gone, Health.REMOVED)
        again = await survey.remove_control(gone, actor="x")
        assert again.health is Health.REMOVED, "safe to repeat"
        listed = {row.uuid: row.health for row in await survey.controls()}
        assert listed == {gone: Health.REMOVED, second_id: Health.OKAY}
        assert {row.uuid for row in (await survey.status()).components} == {second_id}
        await eventually(lambda: gone not in second.watcher.view.controls)
        with pytest.raises(Refused, match="removed"):
            await register_control(
                first.plane, uri="https://x:1/", version="1", certificate_serial="0b", now_us=1
            )


async def test_the_oldest_scrub_of_all_ranges_is_told(place: Place) -> None:
    """As their primaries say; a table that was made later is whole since then."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 2) as nodes,
        place.leader() as leader,
    ):
        survey = leader.control.survey
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.create(new_table())
        assert (await survey.status()).oldest_scrub_s is None
        shown = leader.watcher.view.table("acme", "orders")
        assert shown is not None
        made_us = shown.definition.created_at_us
        for at_us, oldest_us, node in ((made_us + 7, made_us + 7, 0), (made_us - 9, made_us, 1)):
            [held] = nodes[node].held.values()
            reports = tuple(
                values.HeldReport(
                    range_id=each.range_id, status=values.HeldStatus.OKAY, scrubbed_at_us=at_us
                )
                for each in held.ranges
            )
            details = values.NodeTableDetails(status=values.HeldStatus.OKAY, ranges=reports)
            path = keys.NodeTablePath(nodes[node].node, "acme", "orders")
            revision = await place.coordinator.put(path.path, values.encode(details))
            await leader.watcher.reached(revision)
            status = await survey.status()
            assert status.ranges.oldest_scrub_us == oldest_us
            assert status.oldest_scrub_s is not None


async def test_notices_move_into_the_store(place: Place) -> None:
    """A notice is kept in the store once, and its key goes from the coordinator."""
    async with place.leader() as leader:
        now_us = SystemClock().wall_us()
        path = keys.NoticePath(keys.ComponentId(uuid(1)), now_us)
        value = values.encode(values.Notice(details="The disk is nearly full.", kind="disk_low"))
        for _ in range(2):  # the second time as after a crash in between
            revision = await place.coordinator.put(path.path, value)
            await leader.watcher.reached(revision)
            await eventually(lambda: not leader.watcher.view.notices)
        notices, _ = await leader.control.survey.notices()
        assert [(one.node, one.at_us, one.kind) for one in notices] == [
            (uuid(1), now_us, "disk_low")
        ]
        assert (await leader.control.survey.status()).recent_notices == 1


async def test_ranges_follow_their_node(place: Place) -> None:
    """A node that comes back at another address is found there by all who look for its ranges."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 2) as nodes,
        place.leader(ranges_per_table=4) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.create(new_table())
        nodes[0].uri = "https://elsewhere:9/"
        await nodes[0].show()

        def uris() -> set[tuple[str, str]]:
            table = leader.watcher.view.table("acme", "orders")
            assert table is not None
            return {(each.placement.node, each.placement.uri) for each in table.ranges}

        expected = {(node.node, node.uri) for node in nodes}
        await eventually(lambda: uris() == expected)
        table = leader.watcher.view.table("acme", "orders")
        assert table is not None
        assert {each.placement.epoch for each in table.ranges} == {1}


async def test_credentials_need_no_leader(place: Place) -> None:
    """Keys are made and revoked by any control, also where nobody leads, and never stored clear."""
    async with place.control() as process:
        await eventually(lambda: process.leads)
        await process.control.tenants.create(new_tenant())
        await process.kill()
        credentials = process.control.credentials
        key, secret = await credentials.create_access_key("acme", actor="x")
        assert secret.encode() not in key.sealed_secret
        given = await credentials.import_access_key(
            "acme", "AKIDEXAMPLE00000", "wJalrXUtnFEMI", actor="x"
        )
        with pytest.raises(Refused):
            await credentials.import_access_key("acme", given.id, "wJalrXUtnFEMJ", actor="x")
        assert [one.id for one in await credentials.access_keys("acme")] == [key.id, given.id]
        token, text = await credentials.create_token("acme", actor="x")
        operator, operator_text = await credentials.create_token(None, actor="x")
        assert (await credentials.bearer(f"Bearer {text}")).tenant == "acme"
        assert (await credentials.bearer(f"Bearer {operator_text}")).is_operator
        assert [one.id for one in await credentials.tokens(None)] == [operator.id]
        with pytest.raises(Refused):
            await credentials.delete_token(None, token.id, actor="x")
        await credentials.delete_token("acme", token.id, actor="x")
        with pytest.raises(Refused) as caught:
            await credentials.bearer(f"Bearer {text}")
        assert caught.value.kind is RefusalKind.UNAUTHENTICATED
        await credentials.delete_access_key("acme", key.id, actor="x")
        with pytest.raises(Refused):
            await credentials.create_token("nobody", actor="x")
        with pytest.raises(NotLeading):
            process.control.leader.term()


async def test_a_failing_task_is_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that waits, fails or meets a bug is queued again, and shows why."""
    monkeypatch.setattr(control_tasks, "TASK_RETRY_S_MIN", 0.05)
    failures = [NotYet("Waiting for the tide."), ZeroDivisionError(), None]
    errors: list[str] = []

    async with place.leader() as leader:
        realm = leader.control.realm
        term = leader.control.leader.term()
        done = asyncio.Event()

        async def handler(step: Step) -> None:
            errors.append(step.task.error)
            failure = failures.pop(0)
            if failure is not None:
                raise failure
            done.set()

        runner = TaskRunner(realm, {"test": handler})
        made = new_task(TaskId("test-1"), "test", subject="x", parameters="{}", now_us=0)
        await leader.kill()  # its own runner knows no such kind
        async with realm.plane.store.transaction() as tx:
            await tasks.add(tx, made)
        running = leader.tasks.__class__(leader.failures.append)
        running.spawn(runner.run(term), name="runner", critical=True)
        async with asyncio.timeout(10):
            await done.wait()

            async def state() -> TaskState:
                return (await leader.control.survey.task(made.id)).state

            while await state() is not TaskState.DONE:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.02)
        await running.close()
        assert errors[:2] == ["", "Waiting for the tide."]
        assert "inside control" in errors[2]
        with pytest.raises(Refused, match="over"):
            await leader.control.survey.retry_task(made.id)
