"""Transactions: all or nothing, serial, bounded in number and in time."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from dstore.base.limits import CONTROL_READERS_MAX, CONTROL_WAITING_MAX
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.storage.control import tenants
from dstore.storage.control.store import ControlStore, Transaction
from tests.contract.control_store.conftest import Site
from tests.support.control_records import tenant


async def _names(store: ControlStore) -> list[str]:
    async with store.snapshot() as tx:
        return [each.name for each in (await tenants.page(tx)).records]


async def test_a_transaction_that_ends_is_there(site: Site) -> None:
    """What was acknowledged is found by another process."""
    store = await site.open()
    async with store.transaction() as tx:
        await tenants.insert(tx, tenant())
    assert await _names(await site.open()) == ["acme"]


async def test_a_transaction_whose_body_raises_leaves_nothing(store: ControlStore) -> None:
    """All or nothing."""

    async def write() -> None:
        async with store.transaction() as tx:
            await tenants.insert(tx, tenant())
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await write()
    assert await _names(store) == []


async def test_a_refused_insert_does_not_end_its_transaction(store: ControlStore) -> None:
    """A conflict that a statement foresees is an answer, not a broken transaction."""
    async with store.transaction() as tx:
        await tenants.insert(tx, tenant())
        with pytest.raises(Refused) as refused:
            await tenants.insert(tx, tenant())
        await tenants.insert(tx, tenant("other"))
    assert refused.value.kind is RefusalKind.CONFLICT
    assert await _names(store) == ["acme", "other"]


async def test_a_failed_statement_dooms_its_transaction(store: ControlStore) -> None:
    """PostgreSQL would answer the commit with a silent rollback; nobody may take that for done."""

    async def write() -> None:
        async with store.transaction() as tx:
            await tenants.insert(tx, tenant())
            with suppress(Refused):
                await tx.change("INSERT INTO counter (name, last) VALUES ('outbox', 7)")

    with pytest.raises(Refused) as refused:
        await write()
    assert refused.value.kind is RefusalKind.CONFLICT
    assert await _names(store) == []


async def test_a_failed_statement_refuses_the_next_one(store: ControlStore) -> None:
    """Both engines say the same: SQLite would go on."""

    async def write() -> None:
        async with store.transaction() as tx:
            with suppress(Refused):
                await tx.change("INSERT INTO counter (name, last) VALUES ('outbox', 7)")
            await tenants.insert(tx, tenant())
            pytest.fail("it went on")

    with pytest.raises(Refused):
        await write()


@pytest.mark.parametrize("value", [1 << 63, "a\ud800b"], ids=["too large", "no Unicode"])
async def test_values_that_no_engine_stores_are_refused(
    store: ControlStore, value: int | str
) -> None:
    """A strange value is the caller's fault, and says so without showing it."""
    column = "last" if isinstance(value, int) else "name"
    with pytest.raises(Refused) as refused:
        async with store.transaction() as tx:
            await tx.change(f"UPDATE counter SET {column} = $1", value)  # noqa: S608 - two columns
    assert refused.value.kind is RefusalKind.INVALID


async def test_a_transaction_is_of_no_use_after_its_end(store: ControlStore) -> None:
    """A forgotten reference must not write into somebody else's transaction."""
    async with store.transaction() as tx:
        pass
    with pytest.raises(AssertionError):
        await tenants.insert(tx, tenant())


async def test_two_tasks_cannot_share_a_transaction(store: ControlStore) -> None:
    """They would interleave; SQLite would not even notice."""
    async with store.transaction() as tx:
        both = await asyncio.gather(
            tenants.get(tx, "a"), tenants.get(tx, "b"), return_exceptions=True
        )
    assert [type(each) for each in both] == [type(None), AssertionError]


async def test_a_snapshot_writes_nothing(store: ControlStore) -> None:
    """Who only reads takes no lock, so it may not write."""
    async with store.snapshot() as tx:
        with pytest.raises(AssertionError):
            await tenants.insert(tx, tenant())


async def test_a_snapshot_is_of_one_moment_and_waits_for_nobody(store: ControlStore) -> None:
    """A list read in pages is of one state, and readers never stand behind a writer."""
    async with store.snapshot() as reading:
        assert (await tenants.page(reading)).records == ()
        async with store.transaction() as writing:
            await tenants.insert(writing, tenant())
            async with store.snapshot(timeout_s=2) as beside:
                assert (await tenants.page(beside)).records == ()
        assert (await tenants.page(reading)).records == ()
    assert await _names(store) == ["acme"]


async def _count_up(store: ControlStore, times: int) -> None:
    for _ in range(times):
        async with store.transaction() as tx:
            found = await tx.rows("SELECT last FROM counter WHERE name = 'outbox'")
            await asyncio.sleep(0)
            await tx.change("UPDATE counter SET last = $1 WHERE name = 'outbox'", found[0][0] + 1)


async def test_two_controls_lose_no_update(site: Site) -> None:
    """Read, then write what follows from it: serial, whichever process does it."""
    first, second = await site.open(), await site.open()
    await asyncio.gather(*(_count_up(store, 10) for store in (first, second, first, second)))
    async with first.snapshot() as tx:
        found = await tx.rows("SELECT last FROM counter WHERE name = 'outbox'")
    assert found[0][0] == 40


async def test_two_controls_cannot_both_create_what_neither_found(site: Site) -> None:
    """Write skew: each looks, finds nothing, and adds; only the first may."""

    async def add_if_alone(store: ControlStore, name: str) -> None:
        async with store.transaction() as tx:
            if not (await tenants.page(tx)).records:
                await asyncio.sleep(0.01)
                await tenants.insert(tx, tenant(name))

    first, second = await site.open(), await site.open()
    await asyncio.gather(add_if_alone(first, "a"), add_if_alone(second, "b"))
    assert len(await _names(first)) == 1


async def test_a_body_that_takes_too_long_is_undone(store: ControlStore) -> None:
    """Whoever holds the lock holds up every other control; its time is bounded."""

    async def write() -> None:
        async with store.transaction(timeout_s=0.2) as tx:
            await tenants.insert(tx, tenant())
            await asyncio.sleep(5)

    with pytest.raises(Unavailable):
        await write()
    assert await _names(store) == []
    async with store.transaction() as tx:
        await tenants.insert(tx, tenant("next"))


async def test_a_bodys_own_timeout_stays_its_own(store: ControlStore) -> None:
    """It is not taken for the store's."""
    with pytest.raises(TimeoutError):
        async with store.transaction(), asyncio.timeout(0.01):
            await asyncio.sleep(5)


async def test_a_wait_for_the_lock_ends_in_time(site: Site) -> None:
    """Another control that holds on to it gives an error, not a hang."""
    holder, waiter = await site.open(), await site.open()
    async with holder.transaction() as tx:
        await tenants.insert(tx, tenant())
        with pytest.raises(Unavailable):
            async with waiter.transaction(timeout_s=0.3):
                pytest.fail("two writers")
        with pytest.raises(Unavailable):  # and again, on what that left behind
            async with waiter.transaction(timeout_s=0.3):
                pytest.fail("two writers")
    async with waiter.transaction() as tx:
        await tenants.insert(tx, tenant("next"))
    assert await _names(holder) == ["acme", "next"]


async def _held(store: ControlStore, is_inside: asyncio.Event) -> None:
    async with store.transaction() as tx:
        await tenants.insert(tx, tenant())
        is_inside.set()
        await asyncio.sleep(60)


async def test_a_cancelled_body_is_undone(store: ControlStore) -> None:
    """Half a change is none, and the next transaction finds a clean connection."""
    is_inside = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_held(store, is_inside))
        await is_inside.wait()
        task.cancel()
    assert await _names(store) == []
    async with store.transaction() as tx:
        await tenants.insert(tx, tenant())


@pytest.mark.parametrize("wait_s", [0.0, 0.000_3, 0.001, 0.002, 0.004])
async def test_a_cancelled_transaction_is_whole_or_nothing(
    store: ControlStore, wait_s: float
) -> None:
    """Cancelled anywhere, its commit included, it leaves no half and no broken connection."""

    async def write() -> None:
        async with store.transaction() as tx:
            await tenants.insert(tx, tenant("a"))
            await tenants.insert(tx, tenant("b"))

    for _ in range(5):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(write())
            await asyncio.sleep(wait_s)
            task.cancel()
        async with store.transaction() as tx:
            names = [each.name for each in (await tenants.page(tx)).records]
            assert names in ([], ["a", "b"])
            await tenants.delete(tx, "a")
            await tenants.delete(tx, "b")


async def test_those_who_wait_are_bounded(store: ControlStore) -> None:
    """A queue without an end only makes everybody late."""

    async def wait() -> None:
        async with store.transaction():
            pass

    async with store.transaction(), asyncio.TaskGroup() as group:
        waiting = [group.create_task(wait()) for _ in range(CONTROL_WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await wait()
        for task in waiting:
            task.cancel()
    assert refused.value.kind is UnavailableKind.OVERLOADED
    assert refused.value.retry_after_ms is not None


async def test_readers_are_bounded_and_take_turns(store: ControlStore) -> None:
    """Ten times as many snapshots as there are connections are all served."""
    active: set[Transaction] = set()
    most = 0

    async def read() -> None:
        nonlocal most
        async with store.snapshot() as tx:
            active.add(tx)
            most = max(most, len(active))
            await tenants.page(tx)
            active.discard(tx)

    await asyncio.gather(*(read() for _ in range(CONTROL_READERS_MAX * 10)))
    assert 1 < most <= CONTROL_READERS_MAX


async def test_a_closed_store_says_so(site: Site) -> None:
    """Whoever comes late gets a retryable answer; closing twice does no harm."""
    store = await site.open()
    await store.close()
    await store.close()
    for opened in (store.transaction(), store.snapshot()):
        with pytest.raises(Unavailable) as refused:
            async with opened:
                pytest.fail("it is closed")
        assert refused.value.kind is UnavailableKind.DRAINING
