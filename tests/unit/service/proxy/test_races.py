"""Reads that any replica may answer: one slow or dead node is hidden, and not at twice the load."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from dstore.base.limits import (
    HEDGE_PAGE_S_MAX,
    HEDGE_S_MAX,
    HEDGE_S_MIN,
    HEDGES_SAVED_MAX,
    HEDGES_SHARE,
    NODES_PACED_MAX,
    SLOW_NODE_MISSES,
    SLOW_NODE_S,
)
from dstore.model.errors import Corrupt, NotMine, Unavailable, UnavailableKind, invalid
from dstore.replication.peers.errors import unreachable
from dstore.service.proxy.paces import Pace, Paces, Size
from tests.support.routing import RANGE, Routed, routed
from tests.support.topology import placement

AWAY = unreachable("is away")
DAMAGED = Corrupt("damaged", file="f", where="page 7")
FULL = Unavailable(UnavailableKind.OVERLOADED, "Too much.", retry_after_ms=10)


async def read(here: Routed, size: Size = Size.ENTRY) -> bytes:
    reply = await here.calls.ask(here.ref, here.read(), of_any=size)
    assert reply.answer is not None
    return reply.answer


def asked(here: Routed) -> Sequence[int]:
    return [len(here.node(number).asked) for number in range(3)]


def test_in_health_only_the_primary_is_asked() -> None:
    """Who has written reads it again, and nothing is read twice."""

    async def test(here: Routed) -> None:
        for _ in range(2_000):
            assert await read(here) == b"0"
        assert asked(here) == [2_000, 0, 0]
        assert here.counted("proxy_hedges") == 0

    routed(test)


@pytest.mark.parametrize(
    ("size", "top_s"), [(Size.ENTRY, HEDGE_S_MAX), (Size.PAGE, HEDGE_PAGE_S_MAX)]
)
def test_a_late_answer_is_not_waited_for(size: Size, top_s: float) -> None:
    """Another replica answers in its place, and who is late is given up."""

    async def test(here: Routed) -> None:
        here.node(0).takes_s = 10.0
        assert await read(here, size) == b"1"
        assert here.loop.time() < top_s
        assert here.node(0).given_up == 1
        assert here.counted("proxy_hedges") == here.counted("proxy_hedges_won") == 1

    routed(test)


def test_the_first_answer_counts() -> None:
    """The primary may still win the race, and then the other is given up."""

    async def test(here: Routed) -> None:
        here.node(0).takes_s, here.node(1).takes_s = 0.3, 5.0
        here.node(2).takes_s = 5.0
        assert await read(here) == b"0"
        assert here.loop.time() == pytest.approx(0.3)
        await asyncio.sleep(0.01)
        assert here.node(1).given_up == 1
        assert here.counted("proxy_hedges_won") == 0

    routed(test)


def test_two_that_hang_are_hidden_by_the_third() -> None:
    """Each replica is asked as soon as the one before it is late too."""

    async def test(here: Routed) -> None:
        here.node(0).hangs = here.node(1).hangs = True
        assert await read(here) == b"2"
        assert here.loop.time() < 2 * HEDGE_S_MAX

    routed(test)


@pytest.mark.parametrize("error", [AWAY, NotMine("r"), DAMAGED, FULL])
def test_a_replica_that_fails_is_passed_over(error: Exception) -> None:
    """Nobody waits for a race: the next one is asked in the same moment, whatever is wrong."""

    async def test(here: Routed) -> None:
        here.node(0).fails = here.node(1).fails = error
        assert await read(here) == b"2"
        assert here.loop.time() < HEDGE_S_MIN
        assert asked(here) == [1, 1, 1]
        assert here.counted("proxy_hedges") == 0

    routed(test)


def test_a_fault_of_the_read_itself_is_told() -> None:
    """Every replica would refuse it alike, so one is enough."""

    async def test(here: Routed) -> None:
        here.node(0).fails = refused = invalid("no")
        with pytest.raises(type(refused)):
            await read(here)
        assert asked(here) == [1, 0, 0]

    routed(test)


def test_a_second_one_that_refuses_ends_nothing() -> None:
    """The first may still answer; what the other says of the read is no failure of a task."""

    async def test(here: Routed) -> None:
        here.node(0).takes_s = 1.0
        here.node(1).fails = here.node(2).fails = invalid("no")
        assert await read(here) == b"0"
        assert here.loop.time() == pytest.approx(1.0)

    routed(test)


def test_when_all_fail_the_range_is_waited_for() -> None:
    """Then an eventual read is as patient as a strong one, and takes the first that is back."""

    async def test(here: Routed) -> None:
        for number in range(3):
            here.node(number).fails = AWAY
        here.loop.call_later(2.0, setattr, here.node(2), "fails", None)
        assert await read(here) == b"2"
        assert 2.0 <= here.loop.time() < 3.0

    routed(test)


def test_damage_everywhere_is_told_at_once() -> None:
    """What no replica can read will not pass by itself."""

    async def test(here: Routed) -> None:
        for number in range(3):
            here.node(number).fails = DAMAGED
        with pytest.raises(Corrupt):
            await read(here)
        assert here.loop.time() < HEDGE_S_MIN

    routed(test)


def test_one_that_fails_beside_one_that_hangs() -> None:
    """While the primary hangs the others are asked in turn, and a failure begins the next."""

    async def test(here: Routed) -> None:
        here.node(0).hangs, here.node(1).fails = True, AWAY
        assert await read(here) == b"2"
        assert here.loop.time() < HEDGE_S_MAX
        here.node(0).hangs, here.node(0).takes_s, here.node(0).fails = False, 1.0, AWAY
        here.node(1).takes_s = here.node(2).takes_s = 2.0
        here.node(1).fails = None
        assert await read(here) == b"1"

    routed(test)


def test_a_slow_node_is_asked_last() -> None:
    """After a few late answers in a row reads do not wait for it; one a second asks it first."""

    async def test(here: Routed) -> None:
        here.node(0).takes_s = 10.0
        for _ in range(SLOW_NODE_MISSES):
            await read(here)
        before, began_s = len(here.node(0).asked), here.loop.time()
        for _ in range(2_000):
            assert await read(here) != b"0"
        lasted_s = here.loop.time() - began_s
        assert len(here.node(0).asked) - before <= lasted_s / SLOW_NODE_S + 1
        here.node(0).takes_s = 0.001
        await asyncio.sleep(SLOW_NODE_S)
        assert [await read(here) for _ in range(3)] == [b"0"] * 3

    routed(test)


def test_slowness_everywhere_does_not_double_the_load() -> None:
    """When all answers are late, the proxy's own fault included, few reads are asked twice."""

    async def test(here: Routed) -> None:
        for number in range(3):
            here.node(number).takes_s = 2.0
        reads = 4_000
        for _ in range(reads // 400):
            await asyncio.gather(*(read(here) for _ in range(400)))
        extra = sum(asked(here)) - reads
        assert extra <= HEDGES_SAVED_MAX + reads * HEDGES_SHARE + 1

    routed(test)


def test_a_range_of_one_replica_has_no_race() -> None:
    """There is nobody else to ask, and it is asked as a strong read is."""

    async def test(here: Routed) -> None:
        here.watcher.show({RANGE: placement(epoch=2)})
        here.node(0).takes_s = 3.0
        assert await read(here) == b"0"
        assert asked(here) == [1, 0, 0]

    routed(test)


def test_replicas_that_learn_are_not_asked() -> None:
    """They lack what was acknowledged long ago; only who is in sync is named."""

    async def test(here: Routed) -> None:
        assert here.ref.others == tuple(here.nodes)[1:]
        here.watcher.show({RANGE: placement(epoch=2)})
        assert here.ref.others == ()

    routed(test)


def test_a_pace_is_that_of_19_of_20_answers() -> None:
    """It follows the node both ways, within its bounds."""
    pace = Pace(Size.ENTRY)
    for number in range(20_000):
        took_s = 0.1 if number % 10 == 0 else 0.04
        if took_s > pace.late_s:
            pace.missed(number)
        pace.answered(took_s)
    assert pace.late_s == pytest.approx(0.1, rel=0.2)
    for _ in range(20_000):
        pace.answered(0.001)
    assert pace.late_s <= HEDGE_S_MIN
    for number in range(20_000):
        pace.missed(number)
        pace.answered(0.0)
    assert pace.late_s <= HEDGE_S_MAX


def test_paces_are_bounded() -> None:
    """Nodes come and go for years."""
    paces = Paces()
    for number in range(2 * NODES_PACED_MAX):
        paces.of(str(number), Size.ENTRY)
    assert len(paces._paces) <= NODES_PACED_MAX
