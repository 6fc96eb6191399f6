"""Calls of nodes while ranges fail over: hidden where that does no harm, and never for long."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from dstore.base.limits import (
    MOVE_WAIT_S,
    NODE_CALLS_STUCK_MAX,
    PROXY_CALL_TIMEOUT_S,
    PROXY_RETRY_AFTER_MS,
    PROXY_RETRY_S_MAX,
    PROXY_WAITING_MAX,
)
from dstore.model.errors import (
    Corrupt,
    DStoreError,
    NotMine,
    Unavailable,
    UnavailableKind,
    Unknown,
    invalid,
)
from dstore.replication.peers.errors import unreachable
from dstore.service.proxy.node_calls import Doing
from tests.support.routing import RANGE, Routed, routed

AWAY = unreachable("is away")
LOST = Unknown("lost")
LOCKED = Unavailable(UnavailableKind.LOCKED, "The node waits for control.")
FULL = Unavailable(UnavailableKind.OVERLOADED, "Too much.", retry_after_ms=10)
NO_SPACE = Unavailable(UnavailableKind.NO_SPACE, "Full.")


async def caught(work: Coroutine[Any, Any, Any]) -> tuple[type[DStoreError], float]:
    """Wait for what fails. Returns: how, and when."""
    with pytest.raises(DStoreError) as failed:
        await work
    return type(failed.value), asyncio.get_running_loop().time()


@pytest.mark.parametrize("error", [AWAY, NotMine("r"), LOCKED])
def test_a_failover_is_hidden(error: Exception) -> None:
    """Whatever the old primary says, the new one is asked as soon as the view shows it."""

    async def test(here: Routed) -> None:
        here.node(0).fails = error
        here.move(1, 2, after_s=7.3)
        reply = await here.calls.ask(here.ref, here.read())
        assert reply.answer == b"1"
        [(at_s, request)] = here.node(1).asked
        assert at_s == pytest.approx(7.3, abs=1e-6)
        assert request.epoch == 2
        assert len(here.node(0).asked) < 20
        assert here.counted("proxy_failovers_hidden") == 1
        assert here.counted("proxy_retries") == len(here.node(0).asked)

    routed(test)


def test_a_node_that_knows_more_is_not_asked_again_at_once() -> None:
    """It names a newer epoch, so the view is about to come up, and is waited for."""

    async def test(here: Routed) -> None:
        here.node(0).fails = NotMine(here.ref.range_id, 2)
        here.move(1, 2, after_s=1.9)
        assert (await here.calls.ask(here.ref, here.read())).answer == b"1"
        assert len(here.node(0).asked) == 1

    routed(test)


def test_a_node_that_opens_the_range_is_asked_until_it_has() -> None:
    """The view shows the new primary before that serves; no other news will come."""

    async def test(here: Routed) -> None:
        here.node(0).script = [NotMine(here.ref.range_id, 1)] * 4
        await here.calls.ask(here.ref, here.read())
        assert here.loop.time() < 1.0
        assert here.counted("proxy_failovers_hidden") == 0

    routed(test)


def test_news_of_other_ranges_wake_nobody() -> None:
    """Who waits is woken by its own range alone, however much happens."""

    async def test(here: Routed) -> None:
        here.node(0).fails = AWAY
        placed = here.placed(0, 1)[RANGE]
        for step in range(1_000):
            here.loop.call_later(step / 100, here.watcher.show, {RANGE: placed})
        here.move(1, 2, after_s=10.0)
        await here.calls.ask(here.ref, here.read())
        assert len(here.node(0).asked) < 10 / PROXY_RETRY_S_MAX + 6

    routed(test)


@pytest.mark.parametrize("doing", [Doing.READING, Doing.ONCE])
def test_a_frozen_primary_is_left(doing: Doing) -> None:
    """What hangs at a node is asked of the next primary as soon as there is one."""

    async def test(here: Routed) -> None:
        here.node(0).hangs = True
        here.move(1, 2, after_s=4.0)
        request: Any = here.read() if doing is Doing.READING else here.write()
        reply = await here.calls.ask(here.ref, request, doing=doing)
        assert reply.answer == b"1"
        assert here.node(1).asked[0][0] == pytest.approx(4.0, abs=1e-6)
        assert here.node(0).given_up == 1

    routed(test)


def test_a_write_without_a_name_is_never_repeated() -> None:
    """It hangs at a node that may have done it: whoever is primary by then does not get it."""

    async def test(here: Routed) -> None:
        here.node(0).hangs = True
        here.move(1, 2, after_s=4.0)
        failed, at_s = await caught(here.calls.ask(here.ref, here.write(), doing=Doing.WRITING))
        assert failed is Unknown
        assert at_s == pytest.approx(PROXY_CALL_TIMEOUT_S)
        assert here.node(1).asked == []

    routed(test)


@pytest.mark.parametrize("before", [[], [AWAY, NotMine("r")]])
def test_an_unknown_write_without_a_name_ends_there(before: list[Exception | None]) -> None:
    """What was certainly not done is repeated; what may have been done is not."""

    async def test(here: Routed) -> None:
        here.node(0).script = [*before, LOST]
        failed, _ = await caught(here.calls.ask(here.ref, here.write(), doing=Doing.WRITING))
        assert failed is Unknown
        assert len(here.node(0).asked) == len(before) + 1

    routed(test)


@pytest.mark.parametrize("later", [AWAY, NotMine("r"), FULL, NO_SPACE])
def test_a_doubt_is_never_forgotten(later: Exception) -> None:
    """After one unknown outcome a certain failure of the repetition says nothing of the first."""

    async def test(here: Routed) -> None:
        here.node(0).script, here.node(0).fails = [LOST], later
        failed, _ = await caught(here.calls.ask(here.ref, here.write(), doing=Doing.ONCE))
        assert failed is Unknown

    routed(test)


def test_a_doubt_of_a_range_that_is_gone() -> None:
    """That its table was deleted meanwhile does not tell whether the write was done."""

    async def test(here: Routed) -> None:
        here.node(0).script, here.node(0).fails = [LOST], AWAY
        here.loop.call_later(1.0, here.watcher.show, {RANGE: None, "table/acme/orders": None})
        failed, _ = await caught(here.calls.ask(here.ref, here.write(), doing=Doing.ONCE))
        assert failed is Unknown

    routed(test)


def test_a_named_write_is_repeated() -> None:
    """Under its name it is done once, so its lost answer is asked for, here and at the next one."""

    async def test(here: Routed) -> None:
        here.node(0).script, here.node(0).fails = [LOST, LOST], AWAY
        here.move(1, 2, after_s=3.0)
        assert (await here.calls.ask(here.ref, here.write(), doing=Doing.ONCE)).answer == b"1"

    routed(test)


@pytest.mark.parametrize("error", [FULL, NO_SPACE, invalid("no"), Corrupt("x", file="", where="")])
def test_what_waiting_does_not_mend_is_told_at_once(error: DStoreError) -> None:
    """A full queue, a full disk, a refusal and damage go to the client as they are."""

    async def test(here: Routed) -> None:
        here.node(0).fails = error
        with pytest.raises(type(error)) as told:
            await here.calls.ask(here.ref, here.read())
        assert told.value is error
        assert len(here.node(0).asked) == 1

    routed(test)


@pytest.mark.parametrize("error", [AWAY, NotMine("r"), LOCKED])
def test_a_range_that_stays_away(error: Exception) -> None:
    """Its clients hear in time that nothing was done, and when to retry; not that it moved."""

    async def test(here: Routed) -> None:
        here.node(0).fails = error
        failed, at_s = await caught(here.calls.ask(here.ref, here.read()))
        assert issubclass(failed, Unavailable)
        assert failed is not NotMine
        assert PROXY_CALL_TIMEOUT_S - PROXY_RETRY_S_MAX <= at_s <= PROXY_CALL_TIMEOUT_S + 0.1

    routed(test)


def test_a_range_that_is_gone() -> None:
    """It is not waited for: whoever asked looks which ranges there are instead, at once."""

    async def test(here: Routed) -> None:
        here.node(0).fails = NotMine(here.ref.range_id)
        here.loop.call_later(1.0, here.watcher.show, {RANGE: None, "table/acme/orders": None})
        failed, at_s = await caught(here.calls.ask(here.ref, here.read()))
        assert failed is NotMine
        assert at_s == pytest.approx(1.0)

    routed(test)


def test_a_range_that_is_split_while_a_write_waits_there() -> None:
    """Its primary says that it was not done, if a little later than the view shows the split."""

    async def test(here: Routed) -> None:
        here.node(0).takes_s, here.node(0).fails = 1.5, NotMine(here.ref.range_id)
        here.loop.call_later(1.0, here.watcher.show, {RANGE: None, "table/acme/orders": None})
        failed, at_s = await caught(here.calls.ask(here.ref, here.write(), doing=Doing.ONCE))
        assert failed is NotMine
        assert at_s == pytest.approx(1.5)

    routed(test)


@pytest.mark.parametrize("doing", [Doing.READING, Doing.ONCE])
def test_who_does_not_say_so_is_waited_for_briefly(doing: Doing) -> None:
    """A read is asked elsewhere at once; of a write nobody knows."""

    async def test(here: Routed) -> None:
        here.node(0).hangs = True
        here.loop.call_later(1.0, here.watcher.show, {RANGE: None, "table/acme/orders": None})
        is_read = doing is Doing.READING
        request: Any = here.read() if is_read else here.write()
        failed, at_s = await caught(here.calls.ask(here.ref, request, doing=doing))
        assert failed is (NotMine if is_read else Unknown)
        assert at_s == pytest.approx(1.0 if is_read else 1.0 + MOVE_WAIT_S)

    routed(test)


def test_who_waits_is_counted_and_bounded() -> None:
    """Beyond the bound a call hears at once when to retry; those that wait are answered."""

    async def test(here: Routed) -> None:
        here.node(0).fails = AWAY
        asked = [
            here.tasks.spawn(here.calls.ask(here.ref, here.read()), name="ask")
            for _ in range(PROXY_WAITING_MAX)
        ]
        await asyncio.sleep(0.5)
        assert here.calls._waiting == PROXY_WAITING_MAX
        here.node(0).fails = NotMine(here.ref.range_id)
        with pytest.raises(Unavailable) as told:
            await here.calls.ask(here.ref, here.read())
        assert told.value.retry_after_ms == PROXY_RETRY_AFTER_MS
        assert here.loop.time() < 0.6
        assert here.counted("proxy_refused") == 1
        here.watcher.show(here.placed(1, 2))
        assert {(await each).answer for each in asked} == {b"1"}
        assert here.loop.time() < 0.6

    routed(test)


def test_what_hangs_at_one_node_is_bounded() -> None:
    """A frozen node does not take the room of all others, and one that is only busy is not cut."""

    async def test(here: Routed) -> None:
        here.node(0).hangs = True
        asked = [
            here.tasks.spawn(caught(here.calls.ask(here.ref, here.read())), name="ask")
            for _ in range(NODE_CALLS_STUCK_MAX)
        ]
        await asyncio.sleep(0.5)
        asked.append(here.tasks.spawn(caught(here.calls.ask(here.ref, here.read())), name="ask"))
        await asyncio.sleep(0.6)
        failed, at_s = await caught(here.calls.ask(here.ref, here.read()))
        assert failed is Unavailable
        assert at_s == pytest.approx(1.1)
        here.watcher.show(here.placed(1, 2))
        assert (await here.calls.ask(here.ref, here.read())).answer == b"1"
        for each in asked:
            each.cancel()

    routed(test)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_caller_that_goes_leaves_nothing(hangs: bool) -> None:
    """A client that gives up while its range is away costs nothing from then on."""

    async def test(here: Routed) -> None:
        here.node(0).hangs, here.node(0).fails = hangs, AWAY
        asked = here.tasks.spawn(here.calls.ask(here.ref, here.read()), name="ask")
        await asyncio.sleep(1.0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        before = len(here.node(0).asked)
        await asyncio.sleep(5.0)
        assert len(here.node(0).asked) == before

    routed(test)


def test_a_node_is_asked_for_what_is_of_no_range() -> None:
    """How an accepted write went is known at one node alone; it is waited for, and not moved."""

    async def test(here: Routed) -> None:
        here.node(1).script = [AWAY, AWAY]
        name = here.ref.others[0]
        assert (await here.calls.ask_node(name, here.read())).answer == b"1"

    routed(test)
