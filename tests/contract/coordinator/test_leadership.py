"""One leader at a time, over every coordinator."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from dstore.base.clock import NS_PER_S, SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.tasks import Tasks
from dstore.topology.coordinator import (
    Coordinator,
    CoordinatorUnavailable,
    LeaseId,
    Put,
    Revision,
    Transaction,
)
from dstore.topology.leadership import Leadership
from dstore.topology.leases import LeasedKey

_KEY = "control/leader"
_PATIENCE_S = 15.0


class Candidate:
    """A candidate, and what it was told."""

    def __init__(
        self, coordinator: Coordinator, name: str, clock: SystemClock, *, ttl_s: int = 2
    ) -> None:
        """Stand under a name."""
        self.told: list[Revision | None] = []
        self.leadership = Leadership(
            coordinator,
            _KEY,
            name.encode(),
            clock=clock,
            entropy=SystemEntropy(),
            on_change=self.told.append,
            ttl_s=ttl_s,
        )


class SkippingClock(SystemClock):
    """A clock that may leap, as after a suspension."""

    def __init__(self) -> None:
        """Begin with the machine's."""
        self.leap_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.leap_ns


@asynccontextmanager
async def running(*candidates: Candidate) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Let candidates stand."""
    failures: list[BaseException] = []
    tasks = Tasks(failures.append)
    try:
        yield [
            tasks.spawn(candidate.leadership.run(), name="candidate") for candidate in candidates
        ]
    finally:
        await tasks.close()
    assert failures == []


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(_PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for says nothing by itself
            await asyncio.sleep(0.01)


async def test_one_leads_and_the_next_follows(coordinator: Coordinator) -> None:
    """A leader that resigns is followed at once, under a higher epoch, and its writes fail."""
    clock = SystemClock()
    first, second = (Candidate(coordinator, name, clock) for name in ("a", "b"))
    async with AsyncExitStack() as stack:
        (first_task,) = await stack.enter_async_context(running(first))
        await until(lambda: first.leadership.epoch is not None)
        await stack.enter_async_context(running(second))
        epoch = first.leadership.epoch
        assert epoch is not None
        await asyncio.sleep(0.1)
        assert second.leadership.epoch is None
        leader = (await coordinator.get(_KEY)).kv
        assert leader is not None
        assert (leader.value, leader.create_revision) == (b"a", epoch)

        fenced = Transaction(
            compares=(first.leadership.fence(epoch),), then=(Put(key="k", value=b"a"),)
        )
        assert (await coordinator.commit(fenced)).succeeded
        first_task.cancel()
        await until(lambda: second.leadership.epoch is not None)
        assert first.told == [epoch, None]
        assert first.leadership.epoch is None
        (next_epoch,) = second.told
        assert next_epoch is not None
        assert next_epoch > epoch
        assert not (await coordinator.commit(fenced)).succeeded


async def test_a_lease_that_vanishes_ends_the_leadership(coordinator: Coordinator) -> None:
    """B14: it happens for no reason; the leader hears of it and stands again with a new epoch."""
    candidate = Candidate(coordinator, "a", SystemClock())
    async with running(candidate):
        await until(lambda: candidate.leadership.epoch is not None)
        leader = (await coordinator.get(_KEY)).kv
        assert leader is not None
        await coordinator.revoke(leader.lease_id)
        await until(lambda: len(candidate.told) == 3)
        first, lost, second = candidate.told
        assert lost is None
        assert first is not None
        assert second is not None
        assert second > first


async def test_a_suspended_leader_does_not_believe_it_leads(coordinator: Coordinator) -> None:
    """B1: after a leap of the clock the leadership is over before anything else happens."""
    clock = SkippingClock()
    candidate = Candidate(coordinator, "a", clock)
    async with running(candidate):
        await until(lambda: candidate.leadership.epoch is not None)
        clock.leap_ns += 3 * NS_PER_S
        assert candidate.leadership.epoch is None
        await until(lambda: len(candidate.told) >= 3 and candidate.leadership.epoch is not None)
        assert candidate.told[1] is None


async def test_a_leader_outlives_its_leases_seconds(coordinator: Coordinator) -> None:
    """Renewed in time, a leadership lasts."""
    candidate = Candidate(coordinator, "a", SystemClock(), ttl_s=3)
    async with running(candidate):
        await until(lambda: candidate.leadership.epoch is not None)
        await asyncio.sleep(4.5)
        assert candidate.leadership.epoch == candidate.told[0]
        assert len(candidate.told) == 1


class _Silent:
    """A coordinator of which nobody hears any more, but for its watches."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self.is_silent = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._coordinator, name)

    async def keep_alive(self, lease_id: LeaseId, *, timeout_s: float) -> int:
        if not self.is_silent:
            return await self._coordinator.keep_alive(lease_id, timeout_s=timeout_s)
        await asyncio.sleep(timeout_s)
        raise CoordinatorUnavailable("Nobody answers.")


async def test_a_leader_without_an_answer_steps_down_in_time(coordinator: Coordinator) -> None:
    """It stops before its lease can end for the others, and says so by itself."""
    silent = _Silent(coordinator)
    clock = SystemClock()
    candidate = Candidate(silent, "a", clock)  # type: ignore[arg-type] # the rest passes through
    async with running(candidate):
        await until(lambda: candidate.leadership.epoch is not None)
        silent.is_silent = True
        before_ns = clock.monotonic_ns()

        def has_stepped_down() -> bool:
            now_ns = clock.monotonic_ns()
            has = candidate.leadership.epoch is None
            assert has or now_ns - before_ns < 2 * NS_PER_S
            return has

        await until(has_stepped_down)
        await until(lambda: candidate.told[-1] is None)


async def test_an_alive_key_takes_over_from_the_process_before(coordinator: Coordinator) -> None:
    """A node that restarts does not wait for the end of its former lease."""
    former = await coordinator.grant(60)
    await coordinator.put("node/1/alive", b"former", lease_id=former.lease_id)
    told: list[Revision | None] = []
    key = LeasedKey(
        coordinator,
        "node/1/alive",
        b"now",
        ttl_s=5,
        is_exclusive=False,
        clock=SystemClock(),
        entropy=SystemEntropy(),
        on_change=told.append,
    )
    tasks = Tasks(lambda _: None)
    tasks.spawn(key.run(), name="alive")
    await until(lambda: key.held_since is not None)
    found = (await coordinator.get("node/1/alive")).kv
    assert found is not None
    assert (found.value, found.mod_revision) == (b"now", key.held_since)
    await coordinator.delete("node/1/alive")
    await until(lambda: len(told) == 3)
    await tasks.close()
    assert (await coordinator.get("node/1/alive")).kv is None
