"""A primary and its set: who is counted, how few may be, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast
from unittest.mock import Mock

import msgspec
import pytest

from dstore.base.clock import SystemClock
from dstore.base.limits import REPLICA_LAG_RECORDS_MAX
from dstore.base.tasks import Tasks
from dstore.model.errors import Unavailable, UnavailableKind, Unknown
from dstore.replication import placements
from dstore.replication.members import Members
from dstore.replication.peers.errors import unreachable
from dstore.replication.peers.port import Peer
from dstore.replication.placements import Placed
from dstore.replication.primary import Primary
from dstore.replication.replica import Replica
from dstore.replication.replica_calls import Appended, AppendRecords, BeginCopy
from dstore.replication.surroundings import Surroundings
from dstore.storage.log_records import LogPoint, LogRecord, RecordKind, Standing
from dstore.storage.replica_copy import CopyStart
from dstore.topology.coordinator import Revision
from dstore.topology.keyspace import RangePath
from dstore.topology.values import RangePlacement
from tests.support.replicas import DISK, learner, placement, replica
from tests.support.topology import uuid

ME, OTHER, THIRD = 1, 2, 3
PATH = RangePath("acme", "orders", 0)
BEGINNING = LogPoint(seq=0, digest=bytes(32))


class Others:
    """The other nodes: those that are there hold whatever they are sent."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.sent: list[AppendRecords] = []

    def peer_of(self, node: str) -> Peer:
        if node not in self.there:
            raise unreachable("is away")
        return cast("Peer", self)

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Appended:
        del deadline_s, request_id
        await asyncio.sleep(0)
        assert isinstance(request, AppendRecords)
        self.sent.append(request)
        matched = request.records[-1].point if request.records else request.after
        return Appended(promised_epoch=request.epoch, matched=matched)


@pytest.fixture
def others() -> Others:
    return Others()


@pytest.fixture
def faults() -> list[str]:
    return []


@pytest.fixture
async def around(others: Others, faults: list[str]) -> AsyncIterator[Surroundings]:
    """Give what a replica of node 1 needs, as long as no file is asked for."""
    unused = cast("Any", None)
    tasks = Tasks(lambda error: faults.append(repr(error)))
    yield Surroundings(
        node=uuid(ME),
        incarnation=uuid(DISK),
        clock=SystemClock(),
        coordinator=unused,
        peer_of=others.peer_of,
        open_file=unused,
        on_serving=lambda *_: None,
        on_fault=lambda _range_id, error: faults.append(error.message),
        files=unused,
        tasks=tasks,
        began_ns=0,
    )
    await tasks.close()


def placed(revision: int, value: RangePlacement) -> Placed:
    return Placed(path=PATH, value=value, revision=Revision(revision))


def a_record(
    seq: int = 1, *, kind: RecordKind = RecordKind.PUT, image: bytes | None = None
) -> LogRecord:
    return LogRecord(
        epoch=1,
        seq=seq,
        time_us=1,
        kind=kind,
        rid_id=b"",
        image=image,
        request=None,
        digest=bytes([seq]) * 32,
    )


def a_primary(
    around: Surroundings, value: RangePlacement, *, deposed: list[int] | None = None
) -> Primary:
    return Primary(
        placed(1, value),
        around,
        end=BEGINNING,
        history=(),
        on_deposed=([] if deposed is None else deposed).append,
    )


def ship(primary: Primary, *records: LogRecord) -> asyncio.Future[None]:
    """Ship records that follow."""
    return primary.ship(records, end=records[-1].point)


async def test_a_batch_is_told_only_if_enough_hold_it_then(
    around: Surroundings, others: Others
) -> None:
    """Others may lose their disks while it is on its way, and the set is too small then (I5)."""
    value = placement(replica(ME), replica(OTHER), replica(THIRD))
    primary = a_primary(around, value)
    told = ship(primary, a_record())
    left = (replica(ME), learner(OTHER, disk=7), learner(THIRD, disk=8))
    await primary.adopt(placed(2, msgspec.structs.replace(value, replicas=left)))
    await asyncio.sleep(0)
    assert not told.done(), "the primary alone holds it"
    others.there = {uuid(OTHER)}
    joined = (replica(ME), replica(OTHER, disk=7), learner(THIRD, disk=8))
    await primary.adopt(placed(3, msgspec.structs.replace(value, replicas=joined)))
    async with asyncio.timeout(10):
        await told
    primary.close()


async def test_a_set_that_is_not_noted_is_not_taken_for_the_set(
    around: Surroundings, others: Others
) -> None:
    """By a smaller one that nobody remembers, a recovery would count on who lacks the write."""
    others.there = {uuid(OTHER)}
    around = replace(around, note=_forgetful)
    value = placement(replica(ME), replica(OTHER), replica(THIRD))
    primary = a_primary(around, value)
    told = ship(primary, a_record())
    smaller = msgspec.structs.replace(value, replicas=value.replicas[:2])
    with pytest.raises(Unavailable):
        await primary.adopt(placed(2, smaller))
    await asyncio.sleep(0.05)
    assert primary.placed.value == value
    assert not told.done(), "the third may still have to hold it"
    primary.close()
    assert isinstance(told.exception(), Unknown)


async def test_a_primary_that_cannot_note_its_own_change_ends(
    around: Surroundings, others: Others
) -> None:
    """The coordinator has it, so the former set is none either: the range is opened anew."""
    others.there = {uuid(OTHER)}
    around = replace(around, note=_forgetful)
    value = placement(replica(ME), replica(OTHER), replica(THIRD))
    deposed: list[int] = []
    primary = a_primary(around, value, deposed=deposed)
    told = ship(primary, a_record())

    async def swap(_before: Placed, after: RangePlacement) -> Placed:
        return placed(2, after)

    left = (replica(ME), replica(OTHER), learner(THIRD))
    members = primary._members
    async with members.changing:
        await members.swap(msgspec.structs.replace(value, replicas=left), by=swap)
    assert deposed == [value.epoch]
    assert isinstance(told.exception(), Unknown)


async def _forgetful(_placed: Placed) -> None:
    """Note nothing: the disk is full."""
    raise Unavailable(UnavailableKind.NO_SPACE, "It is full.")


async def test_a_large_batch_is_sent_in_several_messages(
    around: Surroundings, others: Others
) -> None:
    """However large the images are that small requests make: one message takes 32 MiB at most."""
    others.there = {uuid(OTHER)}
    primary = a_primary(around, placement(replica(ME), replica(OTHER)))
    records = [a_record(seq, image=bytes(1 << 20)) for seq in range(1, 65)]
    async with asyncio.timeout(10):
        await ship(primary, *records)
    sent = [each for each in others.sent if each.records]
    assert [len(each.records) for each in sent] == [1] * 64
    assert [each.after.seq for each in sent] == [*range(64)]
    primary.close()


async def test_a_small_batch_is_one_message(around: Surroundings, others: Others) -> None:
    """A round trip, and a sync of the other's disk, for all of it."""
    others.there = {uuid(OTHER)}
    primary = a_primary(around, placement(replica(ME), replica(OTHER)))
    async with asyncio.timeout(10):
        await ship(primary, *(a_record(seq, image=bytes(1_024)) for seq in range(1, 65)))
    assert [len(each.records) for each in others.sent if each.records] == [64]
    primary.close()


async def test_who_comes_while_a_batch_has_no_records_is_sent_none(
    around: Surroundings, others: Others
) -> None:
    """Nobody was to read them; the newcomer waits for a copy, and the batch for nobody."""
    others.there = {uuid(OTHER)}
    primary = a_primary(around, placement(replica(ME), factor=1))
    end = LogPoint(seq=7, digest=b"7" * 32)
    told = primary.ship((), end=end)
    assert told.done()
    assert (primary.end, primary.target) == (BEGINNING, end)
    value = placement(replica(ME), learner(OTHER), factor=1)
    await primary.adopt(placed(2, value))
    assert await primary.records_after(BEGINNING) == ()
    await asyncio.sleep(0.01)
    assert all(each.after == BEGINNING and not each.records for each in others.sent)
    primary.committed()
    assert (primary.end, primary.target, primary.committed_seq) == (end, end, 7)
    with pytest.raises(AssertionError, match="others want records"):
        primary.ship((), end=LogPoint(seq=8, digest=b"8" * 32))
    primary.close()


async def test_who_is_left_alone_with_everything_opens(around: Surroundings) -> None:
    """It is read and learned from; what is written waits until enough are in sync again."""
    value = placement(replica(ME), learner(OTHER), learner(THIRD), factor=3)
    primary = a_primary(around, value)
    async with asyncio.timeout(10):
        await ship(primary, a_record(kind=RecordKind.OPENING))
    primary.committed()
    assert primary.certain() is None, "no other replica can be the primary"
    with pytest.raises(Unavailable, match="Fewer replicas"):
        ship(primary, a_record(2))
    primary.close()


class KeptLog:
    """A node that keeps what it is sent, until somebody puts an old copy of its disk back."""

    def __init__(self) -> None:
        self.log: list[LogRecord] = []

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Appended:
        del deadline_s, request_id
        await asyncio.sleep(0)
        assert isinstance(request, AppendRecords)
        if request.after.seq > len(self.log):
            return Appended(promised_epoch=1, matched=None, standing=self._standing())
        if request.records:
            self.log = [*self.log[: request.after.seq], *request.records]
        matched = request.records[-1].point if request.records else request.after
        return Appended(promised_epoch=request.epoch, matched=matched)

    def _standing(self) -> Standing:
        end = self.log[-1].point if self.log else BEGINNING
        return Standing(promised_epoch=1, epoch=1, end=end, applied_seq=end.seq, history=())


async def _unreadable(_range_id: str) -> Any:
    raise Unavailable(UnavailableKind.OVERLOADED, "not now")


async def test_who_lacks_what_it_has_acknowledged_leaves_the_set(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk is an old copy, or keeps nothing; who counts holds what was acknowledged (B9)."""
    swapped: list[RangePlacement] = []

    async def swap(_coordinator: Any, before: Placed, value: Any, *, pause: Any) -> Placed:
        del pause
        swapped.append(value)
        return placed(int(before.revision) + 1, value)

    monkeypatch.setattr(placements, "swap", swap)
    kept, files = {uuid(OTHER): KeptLog(), uuid(THIRD): KeptLog()}, Mock()
    seen_so = replace(
        around, peer_of=cast("Any", kept.__getitem__), open_file=_unreadable, files=files
    )
    primary = a_primary(seen_so, placement(replica(ME), replica(OTHER), replica(THIRD)))
    async with asyncio.timeout(10):
        for seq in (1, 2, 3):
            await ship(primary, a_record(seq))
            primary.committed()
        kept[uuid(OTHER)].log = kept[uuid(OTHER)].log[:1]
        while not swapped:  # noqa: ASYNC110 - told by a task of the primary's own
            await asyncio.sleep(0.01)
        await ship(primary, a_record(4))
    assert {each.node for each in swapped[0].in_sync} == {uuid(ME), uuid(THIRD)}
    files.fell_short.assert_called_once_with(uuid(OTHER))
    primary.close()


class Parted(Others):
    """Another replica, whose log is nowhere equal to the primary's; it takes no copy either."""

    def __init__(self) -> None:
        super().__init__()
        self.emptied = 0
        self.is_whole = False

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Appended:
        del deadline_s, request_id
        await asyncio.sleep(0)
        if isinstance(request, BeginCopy):
            self.emptied += 1
            raise unreachable("is away")
        end = LogPoint(seq=3, digest=b"3" * 32)
        standing = Standing(promised_epoch=1, epoch=1, end=end, applied_seq=3, history=())
        return Appended(
            promised_epoch=1, standing=msgspec.structs.replace(standing, is_whole=self.is_whole)
        )


async def test_nobody_who_counts_is_emptied_for_a_copy(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the only other one that holds what was acknowledged: it leaves the set before."""
    parted = Parted()
    parted.there = {uuid(OTHER)}

    async def begins_here(_primary: Primary) -> CopyStart:
        return CopyStart(epoch=1, point=BEGINNING, history=())

    monkeypatch.setattr(Primary, "copy_start", begins_here)
    value = placement(replica(ME), replica(OTHER))
    primary = a_primary(replace(around, peer_of=parted.peer_of), value)
    other = primary.follower(uuid(OTHER))
    assert other is not None
    async with asyncio.timeout(10):
        while not other.needs_copy:  # noqa: ASYNC110 - told by a task of the primary's own
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert (other.is_required, parted.emptied) == (True, 0)
    left = msgspec.structs.replace(value, replicas=(replica(ME), learner(OTHER)))
    await primary.adopt(placed(2, left))
    async with asyncio.timeout(10):
        while not parted.emptied:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    primary.close()


async def test_a_log_that_differs_where_its_epochs_say_that_it_does_not(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried there once; else it would be asked for ever, and never be in sync again."""
    parted = Parted()
    parted.there, parted.is_whole = {uuid(OTHER)}, True

    async def point_at(_primary: Primary, _seq: int) -> LogPoint:
        return BEGINNING

    monkeypatch.setattr(Primary, "point_at", point_at)
    value = placement(replica(ME), replica(OTHER))
    primary = a_primary(replace(around, peer_of=parted.peer_of), value)
    other = primary.follower(uuid(OTHER))
    assert other is not None
    async with asyncio.timeout(10):
        while not other.needs_copy:  # noqa: ASYNC110 - told by a task of the primary's own
            await asyncio.sleep(0.01)
    primary.close()


async def test_a_primary_that_nobody_tends_ends(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody who is silent would ever leave its set, and every write would wait (I14)."""

    async def fail(_members: Members) -> bool:
        raise RuntimeError("nobody foresaw it")

    monkeypatch.setattr(Members, "_tend_once", fail)
    deposed: list[int] = []
    primary = a_primary(around, placement(replica(ME), replica(OTHER)), deposed=deposed)
    async with asyncio.timeout(10):
        while not deposed:  # noqa: ASYNC110 - told by a task of the primary's own
            await asyncio.sleep(0.01)
    assert primary.is_closed


async def test_a_failure_that_nobody_foresaw_does_not_end_a_replica(
    around: Surroundings, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and tried again: a range must not be without a primary for ever (I14)."""
    tried: list[Placed] = []
    is_done = asyncio.Event()

    async def fail_once(_replica: Replica, value: Placed) -> None:
        tried.append(value)
        if len(tried) == 1:
            raise RuntimeError("nobody foresaw it")
        is_done.set()
        await asyncio.sleep(0)

    monkeypatch.setattr(Replica, "_act_on", fail_once)
    one = Replica(uuid(500), around, began_ns=0)
    around.tasks.spawn(one.run(), name="be_replica")
    one.follow(placed(1, placement(replica(ME))))
    async with asyncio.timeout(10):
        await is_done.wait()
    assert faults == ["It failed in a way that nobody foresaw: RuntimeError('nobody foresaw it')."]


def test_a_recovered_coordinator_is_followed(around: Surroundings) -> None:
    """Its revisions begin anew, and its epochs go on from the highest that anybody knew."""
    one = Replica(uuid(500), around, began_ns=0)
    before = placed(9_000, placement(replica(ME), epoch=4))
    after = placed(20, placement(replica(ME), epoch=5))
    for value in (before, after, before):
        one.follow(value)
    assert one.placed is after
    newer = replace(after, revision=Revision(21))
    one.follow(newer)
    one.follow(after)
    assert one.placed is newer


def test_the_range_of_a_table_made_anew_is_another(around: Surroundings) -> None:
    """It stands at the same place; a replica of the former one has no part in it."""
    one = Replica(uuid(500), around, began_ns=0)
    own = placed(5, placement(replica(ME), epoch=2))
    one.follow(own)
    one.follow(placed(9, placement(replica(ME), epoch=7, range_number=501)))
    assert one.placed is own


async def test_the_log_is_kept_for_a_copy_that_takes_long(around: Surroundings) -> None:
    """Else a large range that is written to all the time would be copied again and again."""
    primary = Primary(
        placed(1, placement(replica(ME), learner(OTHER), factor=1)),
        around,
        end=LogPoint(seq=900_000, digest=bytes(32)),
        history=(),
        on_deposed=lambda _: None,
    )
    [follower] = primary._members.followers.values()
    primary._members._keep_log()
    assert primary.wanted_after_seq == 900_000 - REPLICA_LAG_RECORDS_MAX
    follower.kept_after_seq = 20
    primary._members._keep_log()
    assert primary.wanted_after_seq == 20
    follower._forget()
    primary._members._keep_log()
    assert primary.wanted_after_seq == 900_000 - REPLICA_LAG_RECORDS_MAX
    primary.close()


async def test_a_range_in_use_is_tended_when_there_is_something_to_tend(
    around: Surroundings, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times a second each, a node's thousands of ranges kept it busy with nothing."""
    looks: list[Members] = []
    tend_once = Members._tend_once

    async def counted(self: Members) -> bool:
        looks.append(self)
        return await tend_once(self)

    monkeypatch.setattr(Members, "_tend_once", counted)
    others.there = {uuid(OTHER), uuid(THIRD)}
    primary = a_primary(around, placement(replica(ME), replica(OTHER), replica(THIRD)))
    for _ in range(20):
        asking = primary.certain()
        if asking is not None:
            await asking
        await asyncio.sleep(0.1)
    assert len(looks) <= 5
    primary.close()
