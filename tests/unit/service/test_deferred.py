"""Writes accepted with 202: each is done once, in order, and told, whatever happens to others."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from dstore.base.deferred_limits import ASYNC_REPEATED_S, CLOCK_ERROR_S
from dstore.base.limits import REQUEST_RETENTION_S
from dstore.model.errors import Refused, Unavailable, UnavailableKind, Unknown
from dstore.model.tables import IdType
from dstore.service import deferred, deferred_store
from dstore.service.deferred_store import (
    INTERNAL_ERROR,
    DeferredOutcome,
    DeferredStore,
    DeferredWrite,
    Verb,
)
from dstore.service.items import EntryKey, Items
from dstore.storage import deferred_writes
from dstore.storage.range_writer import Apply, Put
from dstore.storage.requests import RequestName
from tests.support.nodes import ShiftedClock, doing_deferred, open_in, stored_item

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import apsw

    from dstore.model.values import Item
    from dstore.service.node import Node

DONE_S = 10.0
US = 1_000_000


def plan_text(write: DeferredWrite, _key: EntryKey) -> Apply:
    """Store the body as the only attribute."""
    return lambda _previous: Put({"text": {"S": write.body.decode()}})


async def node_with(node: Node, *tables: str, tenant: str = "acme") -> None:
    await node.catalog.create_tenant(tenant)
    for table in tables:
        await node.catalog.create_table(tenant, table, id_type=IdType.STRING)


async def accept(
    node: Node,
    table: str,
    entry_id: str,
    body: bytes = b"x",
    *,
    tenant: str = "acme",
    request: RequestName | None = None,
) -> str:
    write = DeferredWrite(
        tenant=tenant,
        table=table,
        table_id=node.catalog.table(tenant, table).definition.table_id,
        id=entry_id,
        verb=Verb.CREATE,
        body=body,
        request=request,
    )
    return await node.deferred.accept(write)


async def outcome(node: Node, request_id: str, *, tenant: str = "acme") -> DeferredOutcome:
    async with asyncio.timeout(DONE_S):
        while True:
            found = await node.deferred.outcome(tenant, request_id)
            if found is not None:
                return found
            await asyncio.sleep(0.005)


async def ask_on(node: Node, request_id: str) -> None:
    """Ask how a write went, again and again, until nobody knows it any more: then it raises."""
    async with asyncio.timeout(DONE_S):
        while True:
            await node.deferred.outcome("acme", request_id)
            await asyncio.sleep(0.005)


async def done(node: Node) -> None:
    """Wait until the queue is empty: a write leaves it a moment after its outcome is noted."""
    await until(lambda: node.deferred.depth == 0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DONE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for says nothing by itself
            await asyncio.sleep(0.005)


async def stored(node: Node, table: str, entry_id: str) -> str:
    item = await stored_item(node, node.items.locate("acme", table, entry_id))
    assert item is not None
    text = item["text"]["S"]
    assert isinstance(text, str)
    return text


def unavailable() -> Unavailable:
    return Unavailable(UnavailableKind.NO_SPACE, "Full.")


class Gate:
    """Stands before `Items.submit` and refuses what it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let everything pass at first."""
        self.refusals: dict[str, int] = {}  # by table: how many more times
        passed = Items.submit

        async def submit(items: Items, entry: EntryKey, apply: Apply, **rest: Any) -> Any:
            left = self.refusals.get(entry.table.definition.name, 0)
            if left:
                self.refusals[entry.table.definition.name] = left - 1
                raise unavailable()
            return await passed(items, entry, apply, **rest)

        monkeypatch.setattr(Items, "submit", submit)


async def test_a_defect_met_by_one_write_is_its_outcome(tmp_path: Path) -> None:
    """It used to end the process, and every restart after it."""

    def plan(write: DeferredWrite, key: EntryKey) -> Apply:
        if write.id == "at planning":
            raise RuntimeError("secret")
        if write.id == "at applying":
            nothing: dict[str, Item] = {}
            return lambda _previous: Put(nothing["secret"])
        return plan_text(write, key)

    async with open_in(tmp_path) as node:
        await node_with(node, "things")
        bad = [await accept(node, "things", name) for name in ("at planning", "at applying")]
        good = await accept(node, "things", "good")
        with capture_logs() as events:
            async with doing_deferred(node, plan):
                assert (await outcome(node, good)).error is None
                assert {(await outcome(node, one)).error for one in bad} == {INTERNAL_ERROR}
                await done(node)
    failures = [event for event in events if event["event"] == "deferred_failed"]
    assert {event["error"] for event in failures} == {"RuntimeError", "KeyError"}
    assert "secret" not in str(failures)


async def test_a_row_that_cannot_be_read_keeps_no_node_down(tmp_path: Path) -> None:
    """What waited at the last stop is looked at before readiness."""

    def spoil(db: apsw.Connection, request_id: str) -> None:
        db.execute("UPDATE deferred SET REQUEST = x'00' WHERE ID = ?", (request_id,))

    async with open_in(tmp_path) as node:
        await node_with(node, "things")
        spoilt, good = [await accept(node, "things", name) for name in "ab"]
        await node._database.run(lambda db: spoil(db, spoilt))
    async with open_in(tmp_path) as node, doing_deferred(node, plan_text):
        assert (await outcome(node, spoilt)).error == INTERNAL_ERROR
        assert (await outcome(node, good)).error is None
        assert await stored(node, "things", "b") == "x"


@pytest.mark.parametrize("error", [unavailable(), Unknown("?"), RuntimeError("?")])
async def test_outcomes_are_noted_when_that_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A failure of the node database that passes must cost neither the process nor an outcome."""
    finish, failures = deferred_writes.finish, [error]

    def failing(*args: Any, **rest: Any) -> None:
        if failures:
            raise failures.pop()
        finish(*args, **rest)

    monkeypatch.setattr(deferred_writes, "finish", failing)
    async with open_in(tmp_path) as node:
        await node_with(node, "things")
        request_id = await accept(node, "things", "a")
        async with doing_deferred(node, plan_text):
            assert (await outcome(node, request_id)).error is None


async def test_a_write_is_not_overtaken_by_a_later_one_of_its_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first used to be refused, the second applied, and the first then done over it."""
    gate = Gate(monkeypatch)
    async with open_in(tmp_path) as node:
        await node_with(node, "things")
        accepted = [await accept(node, "things", "a", b"%d" % n) for n in range(3)]
        accepted += [await accept(node, "things", str(n)) for n in range(100)]
        gate.refusals["things"] = 1
        async with doing_deferred(node, plan_text):
            versions = [(await outcome(node, one)).version for one in accepted]
        assert await stored(node, "things", "a") == "2"
        assert len(set(versions)) == 103


async def test_a_stuck_table_holds_back_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch full of writes that cannot be done used to stand before everybody else's."""
    gate = Gate(monkeypatch)
    async with open_in(tmp_path) as node:
        await node_with(node, "stuck")
        await node_with(node, "free", tenant="other")
        gate.refusals["stuck"] = 1_000_000
        stuck = [await accept(node, "stuck", str(n)) for n in range(200)]
        free = await accept(node, "free", "a", tenant="other")
        async with doing_deferred(node, plan_text):
            assert (await outcome(node, free, tenant="other")).error is None
            await until(lambda: node.deferred.depth == 200)
            gate.refusals.clear()
            assert {(await outcome(node, one)).error for one in stuck} == {None}


async def test_large_bodies_do_not_stop_the_loop(tmp_path: Path) -> None:
    """64 bodies of 1 MiB used to be read on the loop, 40 s of it; now beside it, one at a time."""
    being_read: list[str] = []
    most_at_once = 0
    may_end = threading.Event()

    def plan(write: DeferredWrite, key: EntryKey) -> Apply:
        nonlocal most_at_once
        being_read.append(write.id)
        most_at_once = max(most_at_once, len(being_read))
        assert may_end.wait(DONE_S), "the loop has its turns while a large body is read"
        may_end.clear()
        being_read.remove(write.id)
        return plan_text(write, key)

    tables = ["one", "two", "three"]
    async with open_in(tmp_path) as node:
        await node_with(node, *tables)
        accepted = [await accept(node, table, "large", b"x" * 100_000) for table in tables]
        async with doing_deferred(node, plan):
            for _ in accepted:
                await until(lambda: bool(being_read))
                may_end.set()
                await until(lambda: not may_end.is_set())
            for one in accepted:
                assert (await outcome(node, one)).error is None
    assert most_at_once == 1


async def test_the_queue_is_bounded_in_bytes_before_anything_is_awaited(tmp_path: Path) -> None:
    """10,000 bodies of 1 MiB fitted, and any number that came at once; now a tenant has 32 MiB."""
    async with open_in(tmp_path) as node:
        await node_with(node, "things")
        await node_with(node, "things", tenant="other")
        body = b"x" * (1 << 20)
        answers = await asyncio.gather(
            *(accept(node, "things", str(n), body) for n in range(40)), return_exceptions=True
        )
        accepted = [answer for answer in answers if isinstance(answer, str)]
        assert len(accepted) == 31
        assert all(isinstance(answer, str | Unavailable) for answer in answers)
        theirs = await accept(node, "things", "a", body, tenant="other")
        async with doing_deferred(node, plan_text):
            assert (await outcome(node, theirs, tenant="other")).error is None
            for one in accepted:
                assert (await outcome(node, one)).error is None
            await done(node)
        await accept(node, "things", "again", body)
        assert node.deferred.depth == 1


async def test_what_was_done_leaves_no_body_behind(tmp_path: Path) -> None:
    """Only the outcome is kept for those who ask."""
    async with open_in(tmp_path) as node:
        await node_with(node, "things")
        request_id = await accept(node, "things", "a")
        async with doing_deferred(node, plan_text):
            await outcome(node, request_id)
        row = await node._database.run(lambda db: deferred_writes.find(db, "acme", request_id))
        assert row is not None
        assert row.request == b""


async def test_an_outcome_is_kept_from_the_time_of_finishing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that waited longer than outcomes are kept was done, and its outcome gone at once."""
    monkeypatch.setattr(deferred_store, "ASYNC_FORGET_S", 0.02)
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node:
        await node_with(node, "things")
        request_id = await accept(node, "things", "a")
        clock.shift_us += 2 * REQUEST_RETENTION_S * US
        async with doing_deferred(node, plan_text):
            assert (await outcome(node, request_id)).error is None
            await asyncio.sleep(0.1)
            assert (await outcome(node, request_id)).error is None


@pytest.mark.parametrize("shift_s", [ASYNC_REPEATED_S + 60, -CLOCK_ERROR_S - 60])
async def test_what_may_have_been_done_is_not_done_again_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift_s: int
) -> None:
    """A node that was away for long, or does not know how long, did it again over newer ones."""

    async def away(*_: object, **__: object) -> None:
        raise Unknown("The process ends in between.")

    async with open_in(tmp_path) as node:
        await node_with(node, "things")
        request_id = await accept(node, "things", "a", b"old")
        with monkeypatch.context() as patch, capture_logs():
            patch.setattr(DeferredStore, "note", away)
            with pytest.raises(ExceptionGroup):
                async with asyncio.timeout(DONE_S):
                    await node.deferred.run(plan_text)
        assert await stored(node, "things", "a") == "old"
    clock = ShiftedClock()
    clock.shift_us = shift_s * US
    async with open_in(tmp_path, clock=clock) as node:
        newer = node.items.locate("acme", "things", "a")
        await node.items.write(newer, lambda _previous: Put({"text": {"S": "new"}}))
        forget_requests(node, newer)
        async with doing_deferred(node, plan_text):
            told = await outcome(node, request_id)
        assert told.error == Unknown.__name__
        assert await stored(node, "things", "a") == "new"


def forget_requests(node: Node, entry: EntryKey) -> None:
    """Let a range know no name any more."""
    file = node.holdings.peek_held(entry.table.ranges.refs[0].range_id)
    assert file is not None
    file._writer._connection.execute("DELETE FROM request")


async def test_what_surely_was_not_done_is_done_however_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was accepted; a disk that was full for an hour, and a restart then, are no reason."""
    monkeypatch.setattr(deferred, "ASYNC_SURE_S", 0.01)
    gate, clock = Gate(monkeypatch), ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node:
        await node_with(node, "things")
        gate.refusals["things"] = 1_000_000
        accepted = [await accept(node, "things", name) for name in "ab"]
        async with doing_deferred(node, plan_text):
            clock.shift_us += 3_600 * US
            row_times: set[int] = set()
            async with asyncio.timeout(DONE_S):
                while not row_times or min(row_times) < clock.wall_us() - 60 * US:
                    await asyncio.sleep(0.01)
                    rows = await node._database.run(deferred_writes.waiting)
                    row_times = {row.time_us for row in rows}
    gate.refusals.clear()
    async with open_in(tmp_path, clock=clock) as node, doing_deferred(node, plan_text):
        assert {(await outcome(node, one)).error for one in accepted} == {None}


async def test_what_its_client_has_named_may_have_been_done_elsewhere(tmp_path: Path) -> None:
    """The same name may have come twice; then it is done once, or not known any more."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node:
        await node_with(node, "things")
        named = RequestName(principal="acme/key", request_id="mine", digest=b"d")
        late = await accept(node, "things", "late", request=named)
        clock.shift_us += (ASYNC_REPEATED_S + 60) * US
        soon = await accept(node, "things", "soon", request=named)
        async with doing_deferred(node, plan_text):
            assert (await outcome(node, late)).error == Unknown.__name__
            assert (await outcome(node, soon)).error is None


async def test_the_last_outcomes_go_without_another_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes used to be deleted only when others were noted; the last ones stayed for ever."""
    monkeypatch.setattr(deferred_store, "ASYNC_FORGET_S", 0.02)
    monkeypatch.setattr(deferred_store, "OUTCOMES_FORGOTTEN", 2)
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node:
        await node_with(node, "things")
        accepted = [await accept(node, "things", str(n)) for n in range(5)]
        async with doing_deferred(node, plan_text):
            for one in accepted:
                await outcome(node, one)
            clock.shift_us += (REQUEST_RETENTION_S + 1) * US
            for one in accepted:
                with pytest.raises(Refused, match="no such request"):
                    await ask_on(node, one)


async def test_a_waiting_write_is_sealed_with_its_tenants_key(tmp_path: Path) -> None:
    """It lay in the node database under the node's key alone, and outlived the tenant's."""
    async with open_in(tmp_path) as node:
        await node_with(node, "things")
        await accept(node, "things", "quokka-id", b"quokka-body")
        rows = await node._database.run(deferred_writes.waiting)
        assert len(rows) == 1
        assert b"quokka" not in rows[0].request


async def test_nothing_is_accepted_behind_a_tenants_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that came after the deletion stayed for ever, for a later tenant of that name."""
    async with open_in(tmp_path) as node:
        await node_with(node, "things")
        enqueue = DeferredStore.enqueue

        async def late(store: DeferredStore, one: Any) -> None:
            tenant = node.catalog.tenant("acme")
            await node.catalog.delete_tenant("acme", force=True)
            with monkeypatch.context() as patched:
                patched.setattr(node.catalog, "tenant", lambda _name: tenant)
                await enqueue(store, one)

        monkeypatch.setattr(DeferredStore, "enqueue", late)
        with pytest.raises(Refused, match="deleted"):
            await accept(node, "things", "a")
        assert node.deferred.depth == 0
        assert await node._database.run(deferred_writes.waiting) == ()
