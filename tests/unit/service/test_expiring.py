"""Items that expire on a node: removed in their time, on the condition that they still say so."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from dstore.base.expiry_limits import (
    EXPIRY_BUSY_ITEMS_PER_S,
    EXPIRY_BUSY_MS,
    EXPIRY_ITEMS_PER_S_MAX,
)
from dstore.base.tasks import Tasks
from dstore.model.errors import ConditionFailed, NotMine, Unavailable, UnavailableKind
from dstore.model.expiry import ExpiryRule
from dstore.model.keys import KeyKind
from dstore.model.table_settings import KeyAttribute, TableSettings, TimeToLive
from dstore.model.values import TypedText
from dstore.service.directory import Declared
from dstore.service.expiring import believed_clock, index_keeper, sweeper
from dstore.service.expiring.believed_clock import BelievedClock
from dstore.service.expiring.due_times import DueTimes
from dstore.service.expiring.effort import Effort
from dstore.storage.derived_rows import expiry_of
from dstore.storage.entries import Entry
from dstore.storage.expiry_rows import NO_EXPIRY
from dstore.storage.range_file import RangeFile
from tests.support.nodes import ShiftedClock, open_in
from tests.support.stores import put, rid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from dstore.model.ranges import Table
    from dstore.service.node import Node
    from dstore.storage.entries import Cells

HOUR_S = 3_600
HOUR_US = HOUR_S * 1_000_000


@pytest.fixture(autouse=True)
def _watchful() -> Iterator[None]:
    """Have the sweeper look at a clock that is set, and believe it, without waiting."""
    with (
        patch.object(believed_clock, "EXPIRY_BELIEVED_S", 0),
        patch.object(sweeper, "EXPIRY_LOOK_S", 0.01),
        patch.object(sweeper, "EXPIRY_RETRY_S", 0.01),
        patch.object(sweeper, "EXPIRY_DUE_S_MIN", 0),
    ):
        yield


@asynccontextmanager
async def expiring(node: Node) -> AsyncIterator[None]:
    """Let items expire meanwhile; the job must not end by itself."""
    ended: list[BaseException] = []
    tasks = Tasks(ended.append)
    tasks.spawn(node.expire_items(), name="expire_items", critical=True)
    try:
        yield
    finally:
        await tasks.close()
    assert ended == []


def by(attribute: str | None, *, at_us: int = 1) -> TableSettings:
    """Make settings by which items expire, or do so no more."""
    name = attribute or "expires"
    ttl = TimeToLive(attribute=name, is_enabled=attribute is not None, changed_at_us=at_us)
    return TableSettings(time_to_live=ttl)


async def a_table(node: Node, name: str = "orders", settings: TableSettings | None = None) -> Table:
    """Make a table, whose items expire unless it has other settings."""
    if "acme" not in node.holdings.tenants:
        await node.catalog.create_tenant("acme")
    declared = Declared(
        name=name,
        partition=KeyAttribute(name="p", kind=KeyKind.STRING),
        settings=by("expires") if settings is None else settings,
    )
    return await node.catalog.declare_table("acme", declared)


async def file_of(node: Node, table: Table) -> RangeFile:
    """Open a table's file."""
    return await node.holdings.open(table.ranges.refs[0])


async def until(is_so: Any) -> None:
    """Wait until something is so."""
    while not is_so():  # noqa: ASYNC110 - it is many things
        await asyncio.sleep(0.005)


async def gone(node: Node, table: Table, *names: str) -> None:
    """Wait until entries are gone."""
    file = await file_of(node, table)
    for name in names:
        while await file.read(rid(name)) is not None:  # noqa: ASYNC110 - of a file
            await asyncio.sleep(0.005)


def at(clock: ShiftedClock, shift_s: int) -> dict[str, dict[str, str]]:
    """Make an item that expires so many seconds from now."""
    return {"expires": {"N": str(clock.wall_us() // 1_000_000 + shift_s)}}


async def test_what_is_over_goes_when_its_time_comes(tmp_path: Path) -> None:
    """At once what is over, the rest when the clock says so, and what has no time never."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node, expiring(node):
        table = await a_table(node)
        file = await file_of(node, table)
        await file.submit(put("over", at(clock, -5)))
        await file.submit(put("later", at(clock, HOUR_S)))
        await file.submit(put("never", {}))
        await gone(node, table, "over")
        assert file.quantity == 2
        clock.shift_us = HOUR_US + 2_000_000
        await gone(node, table, "later")
        assert await file.read(rid("never")) is not None


async def test_what_was_there_before_is_looked_through(tmp_path: Path) -> None:
    """Enabling it on a table with items builds what it takes beside the writes."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node, expiring(node):
        table = await a_table(node, settings=TableSettings())
        file = await file_of(node, table)
        for number in range(20):
            await file.submit(put(f"k{number}", at(clock, -5 if number % 2 else HOUR_S)))
        await node.tables.update("acme", "orders", lambda _definition, _now: by("expires"))
        await until(lambda: file.quantity == 10)
        await until(lambda: node.expiry.is_idle)
        assert await node.tables.is_expiry_settled(node.holdings.table("acme", "orders"))


async def test_disabling_ends_it_and_drops_the_rows(tmp_path: Path) -> None:
    """What is not removed by then stays, and nothing is left in the file."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node, expiring(node):
        table = await a_table(node)
        file = await file_of(node, table)
        await file.submit(put("later", at(clock, HOUR_S)))
        await node.tables.update("acme", "orders", lambda _definition, _now: by(None))
        await until(lambda: expiry_of(file.derived) == NO_EXPIRY)
        clock.shift_us = 2 * HOUR_US
        await asyncio.sleep(0.05)
        await until(lambda: node.expiry.is_idle)
        assert file.quantity == 1
        assert await node.tables.is_expiry_settled(node.holdings.table("acme", "orders"))


async def test_another_attribute_takes_over(tmp_path: Path) -> None:
    """After disabling, another attribute may be named: the rows follow from it alone."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node, expiring(node):
        table = await a_table(node)
        file = await file_of(node, table)
        await file.submit(put("a", at(clock, HOUR_S) | {"until": at(clock, -9)["expires"]}))
        await file.submit(put("b", at(clock, HOUR_S)))
        await node.tables.update("acme", "orders", lambda _definition, _now: by("until"))
        await gone(node, table, "a")
        clock.shift_us = 2 * HOUR_US
        await asyncio.sleep(0.05)
        assert file.quantity == 1


async def test_it_goes_on_after_a_start(tmp_path: Path) -> None:
    """Nobody needs to write to a table for its items to go: at a start each is looked at."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node:
        table = await a_table(node)
        await (await file_of(node, table)).submit(put("k", at(clock, -5)))
    async with open_in(tmp_path, clock=clock) as node, expiring(node):
        await until(lambda: node.expiry.sweeper._counts.expired == 0)
        await gone(node, node.holdings.table("acme", "orders"), "k")


async def test_who_changes_an_item_at_the_last_moment_wins(tmp_path: Path) -> None:
    """Between the look and the removal a client has put the item off: it stays."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node:
        table = await a_table(node)
        file = await file_of(node, table)
        saved: list[str] = []

        async def put_off(_effort: Effort, _items: int) -> None:
            if not saved:
                saved.append("k")
                await file.submit(put("k", at(clock, HOUR_S)))

        with patch.object(Effort, "allow", put_off):
            async with expiring(node):
                await file.submit(put("k", at(clock, -5)))
                await file.submit(put("other", at(clock, -4)))
                await gone(node, table, "other")
        assert saved
        assert await file.read(rid("k")) is not None
        assert node.expiry.sweeper._counts.spared == 1


def test_the_write_is_a_condition() -> None:
    """Only an item that is still due is removed, and removing nothing is no fault."""
    rule = ExpiryRule(attribute="expires")
    remove = sweeper._expire(rule, b"1234", now_s=1_000)
    assert remove(None) == remove(Entry({"expires": TypedText("Integer", "1000")}, "v"))
    spared: list[Cells] = [{}, {"expires": TypedText("Integer", "1001")}, {"expires": "5"}]
    for cells in spared:
        with pytest.raises(ConditionFailed):
            remove(Entry(cells, "v"))


async def test_what_has_nothing_due_costs_nothing(tmp_path: Path) -> None:
    """However often the clock is looked at, no file is asked whose time has not come."""
    clock, looks = ShiftedClock(), []

    async with open_in(tmp_path, clock=clock) as node, expiring(node):
        for number in range(6):
            table = await a_table(node, f"table-{number}")
            file = await file_of(node, table)
            await file.submit(put("k", at(clock, HOUR_S * (number + 1))))
        await until(lambda: node.expiry.is_idle)
        assert len(node.expiry.sweeper._due) == 6
        look = RangeFile.look

        async def counted(file: RangeFile, work: Any) -> Any:
            looks.append(file.path.stem)
            return await look(file, work)

        with patch.object(RangeFile, "look", counted):
            await asyncio.sleep(0.1)
            assert looks == []
            clock.shift_us = HOUR_US + 1_000_000
            await gone(node, node.holdings.table("acme", "table-0"), "k")
            await until(lambda: node.expiry.is_idle)
        assert len(set(looks)) == 1


@pytest.mark.parametrize(
    "failure", [Unavailable(UnavailableKind.OVERLOADED, "full"), ZeroDivisionError()]
)
async def test_a_range_that_cannot_be_written_to_is_tried_again(
    tmp_path: Path, failure: Exception
) -> None:
    """A refusal, or what nobody foresaw, puts it off, and holds up no other range."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node:
        table, other = await a_table(node), await a_table(node, "other")
        file = await file_of(node, table)
        submit, refused = RangeFile.submit, list[Any]()

        def refuse(each: RangeFile, write: Any, **rest: Any) -> Any:
            if each is file and len(refused) < 3 and write.rid_id == rid("k") and removes:
                refused.append(write)
                raise failure
            return submit(each, write, **rest)

        removes = False
        await file.submit(put("k", at(clock, -5)))
        await (await file_of(node, other)).submit(put("k", at(clock, -5)))
        removes = True
        with patch.object(RangeFile, "submit", refuse):
            async with expiring(node):
                await gone(node, other, "k")
                await gone(node, table, "k")
        assert len(refused) == 3


async def test_rows_that_cannot_be_built_are_tried_again(tmp_path: Path) -> None:
    """A file that can't be changed now is changed later, and other tables' are meanwhile."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node:
        table, other = await a_table(node), await a_table(node, "other")
        file, change, failed = await file_of(node, table), RangeFile.change, list[Any]()

        async def refuse(each: RangeFile, work: Any, **rest: Any) -> Any:
            if each is file and len(failed) < 2:
                failed.append(work)
                raise OSError
            return await change(each, work, **rest)

        with (
            patch.object(RangeFile, "change", refuse),
            patch.object(index_keeper, "EXPIRY_RETRY_S", 0.01),
        ):
            async with expiring(node):
                await file.submit(put("k", at(clock, -5)))
                await (await file_of(node, other)).submit(put("k", at(clock, -5)))
                await gone(node, other, "k")
                await gone(node, table, "k")
        assert len(failed) == 2


async def test_only_what_is_served_is_swept(tmp_path: Path) -> None:
    """Of a replica that is no primary nothing is removed, and its rows are kept."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node:
        node.expiry.replicate()
        table = await a_table(node)
        range_id = table.ranges.refs[0].range_id
        file = await file_of(node, table)
        async with expiring(node):
            await file.submit(put("k", at(clock, -5)))
            node.expiry.opened(range_id)
            await until(lambda: expiry_of(file.derived) != NO_EXPIRY and node.expiry.is_idle)
            await asyncio.sleep(0.05)
            assert file.quantity == 1
            node.expiry.serve(range_id, is_on=True)
            await gone(node, table, "k")
            await file.submit(put("l", at(clock, HOUR_S)))
            await until(lambda: len(node.expiry.sweeper._due) == 1)
            node.expiry.serve(range_id, is_on=False)
            await until(lambda: len(node.expiry.sweeper._due) == 0)


async def test_a_table_that_goes_ends_quietly(tmp_path: Path) -> None:
    """What is due in a range that is deleted meanwhile is nobody's any more."""
    clock = ShiftedClock()
    async with open_in(tmp_path, clock=clock) as node, expiring(node):
        table = await a_table(node)
        await (await file_of(node, table)).submit(put("k", at(clock, HOUR_S)))
        await until(lambda: len(node.expiry.sweeper._due) == 1)
        await node.catalog.delete_table("acme", "orders")
        clock.shift_us = 2 * HOUR_US
        await until(lambda: len(node.expiry.sweeper._due) == 0 and node.expiry.is_idle)
        with pytest.raises(NotMine):
            node.holdings.table_of(table.ranges.refs[0].range_id)


async def test_a_clock_that_is_behind_removes_late(tmp_path: Path) -> None:
    """It is the node's own clock that counts: an hour behind, an hour late, and never early."""
    clock = ShiftedClock()
    true = ShiftedClock()
    clock.shift_us = -HOUR_US
    async with open_in(tmp_path, clock=clock) as node, expiring(node):
        table = await a_table(node)
        file = await file_of(node, table)
        await file.submit(put("k", at(true, -5)))
        await until(lambda: len(node.expiry.sweeper._due) == 1)
        await asyncio.sleep(0.05)
        assert file.quantity == 1
        clock.shift_us = 0
        await gone(node, table, "k")


async def test_a_clock_that_is_set_ahead_removes_nothing_early(tmp_path: Path) -> None:
    """Whoever sets it wrong has an hour to see that; what was due by the time as it was goes on."""
    clock = ShiftedClock()
    with patch.object(believed_clock, "EXPIRY_BELIEVED_S", HOUR_S):
        async with open_in(tmp_path, clock=clock) as node, expiring(node):
            table = await a_table(node)
            file = await file_of(node, table)
            await file.submit(put("later", at(clock, HOUR_S // 2)))
            await file.submit(put("soon", at(clock, 1)))
            clock.shift_us = HOUR_US
            await gone(node, table, "soon")
            await asyncio.sleep(0.05)
            assert await file.read(rid("later")) is not None
            clock.shift_us = 0
            await until(lambda: node.expiry.is_idle)
            assert file.quantity == 1


class SetClock:
    """Both clocks, as they are set."""

    wall = monotonic = 1_000_000

    def wall_us(self) -> int:
        return self.wall * 1_000_000

    def monotonic_ns(self) -> int:
        return self.monotonic * 1_000_000_000

    def run(self, seconds: int, *, jump: int = 0) -> None:
        """Let both go on, and set the wall clock."""
        self.monotonic += seconds
        self.wall += seconds + jump


def test_a_clock_is_doubted_for_an_hour() -> None:
    """Small steps, and steps back, are believed; a large one ahead once nobody has undone it."""
    clock, shown = SetClock(), list[int]()
    with patch.object(believed_clock, "EXPIRY_BELIEVED_S", HOUR_S):
        believed = BelievedClock(clock)
        for seconds, jump in (
            (10, 0),
            (10, 300),
            (10, -7_200),
            (10, 301),
            (HOUR_S - 1, 0),
            (1, -301),  # put right
            (10, HOUR_S),
            (HOUR_S, 0),
        ):
            clock.run(seconds, jump=jump)
            shown.append(clock.wall - believed.wall_us() // 1_000_000)
    assert shown == [0, 0, 0, 301, 301, 0, HOUR_S, 0]


def test_due_times_are_those_said_last() -> None:
    """Each range has one time; what was said before counts no more."""
    due = DueTimes()
    firsts = [due.first_s]
    due.set("a", 10)
    due.set("b", 5)
    firsts.append(due.first_s)
    due.set("b", 20)
    firsts.append(due.first_s)
    assert firsts == [None, 5, 10]
    assert not due.sooner("a", 11)
    assert due.sooner("a", 3)
    assert due.take(now_s=2) is None
    assert due.take(now_s=30) == "a"
    due.set("b", None)
    assert (due.take(now_s=30), len(due)) == (None, 0)
    for number in range(5_000):
        due.set("c", number)
    assert len(due._heap) < 2_000
    assert due.take(now_s=4_999) == "c"


class _Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_us(self) -> int:
        return self.now_ns // 1_000


@pytest.mark.parametrize(
    ("is_busy", "rate"), [(False, EXPIRY_ITEMS_PER_S_MAX), (True, EXPIRY_BUSY_ITEMS_PER_S)]
)
async def test_the_pace(is_busy: bool, rate: int) -> None:
    """While requests come a node removes so many a second and no more, else all that it can."""
    clock, requests, slept = _Clock(), [0], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now_ns += int(seconds * 1_000_000_000)

    pace = Effort(clock, lambda: requests[0])
    with patch("asyncio.sleep", sleep):
        for _ in range(100):
            requests[0] += is_busy
            await pace.allow(32)
    assert clock.now_ns / 1_000_000_000 == pytest.approx(99 * 32 / rate, rel=0.01)
    requests[0] += 1
    assert pace.is_serving
    clock.now_ns += EXPIRY_BUSY_MS * 1_000_000
    assert not pace.is_serving
