"""What a node remembers of its ranges' values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from msgspec.structs import replace

from dstore.base.tasks import Tasks
from dstore.model.errors import NotMine, Unavailable, UnavailableKind
from dstore.replication.placements import Placed
from dstore.service.calls.recollection_calls import AskRemembered, Remembered
from dstore.service.cluster.placement_notes import PlacementNotes
from dstore.storage.log_records import Standing
from dstore.storage.placement_records import NotedPlacement
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Revision
from dstore.topology.values import UNSETTLED, RangePlacement
from tests.support.replicas import DISK, placement, replica, told
from tests.support.topology import uuid

VALUE = placement(replica(1), replica(2), replica(3), epoch=4)


class _Ledger:
    """Keeps notes in memory; `is_full` refuses them, `may_write` holds them up."""

    def __init__(self) -> None:
        self.noted: dict[str, NotedPlacement] = {}
        self.sizes: list[int] = []
        self.is_full = False
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.unreadable: set[str] = set()

    async def note_placements(self, noted: Sequence[NotedPlacement]) -> None:
        await self.may_write.wait()
        if self.is_full:
            raise Unavailable(UnavailableKind.NO_SPACE, "It is full.")
        self.sizes.append(len(noted))
        self.noted.update({each.range_id: each for each in noted})

    async def noted_placements(self, range_ids: Sequence[str]) -> Mapping[str, NotedPlacement]:
        return {each: self.noted[each] for each in range_ids if each in self.noted}

    async def standing(self, range_id: str) -> Standing:
        if range_id in self.unreadable:
            raise NotMine(range_id)
        return told(epoch=9).standing


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    """Own what runs in the background."""
    made = Tasks(_raise)
    yield made
    await made.close()


def _raise(error: BaseException) -> None:
    raise error


def _placed(value: RangePlacement, *, revision: int) -> Placed:
    return Placed(
        path=keys.RangePath("acme", "orders", 0), value=value, revision=Revision(revision)
    )


async def test_a_note_is_durable_when_it_returns(tasks: Tasks) -> None:
    """It waits for the disk, and tells if there was no room."""
    ledger = _Ledger()
    notes = PlacementNotes(ledger, incarnation=uuid(DISK), tasks=tasks)
    ledger.may_write.clear()
    noting = tasks.spawn(notes.note(_placed(VALUE, revision=5)), name="note")
    await asyncio.sleep(0.01)
    assert not noting.done()
    ledger.may_write.set()
    await noting
    assert ledger.noted[VALUE.range_id].value == values.encode(VALUE)
    ledger.is_full = True
    with pytest.raises(Unavailable):
        await notes.note(_placed(replace(VALUE, epoch=5), revision=6))


async def test_notes_that_come_together_are_written_together(tasks: Tasks) -> None:
    """A thousand ranges cost a few transactions, and of one range only the newest is written."""
    ledger = _Ledger()
    notes = PlacementNotes(ledger, incarnation=uuid(DISK), tasks=tasks)
    ledger.may_write.clear()
    for number in range(1_000):
        notes.note_soon(_placed(replace(VALUE, range_id=uuid(2_000 + number)), revision=5))
    waiting = [
        tasks.spawn(notes.note(_placed(replace(VALUE, epoch=epoch), revision=epoch)), name="note")
        for epoch in (8, 6, 7)
    ]
    ledger.may_write.set()
    await asyncio.gather(*waiting)
    assert len(ledger.sizes) <= 3
    assert ledger.noted[VALUE.range_id].epoch == 8


async def test_what_is_not_settled_is_no_note(tasks: Tasks) -> None:
    """A recovery's mark that nobody knows would else be remembered as the newest value."""
    ledger = _Ledger()
    notes = PlacementNotes(ledger, incarnation=uuid(DISK), tasks=tasks)
    unsettled = replace(
        VALUE, replicas=tuple(replace(each, incarnation=UNSETTLED) for each in VALUE.replicas)
    )
    await notes.note(_placed(unsettled, revision=9))
    assert ledger.noted == {}


async def test_a_range_of_one_replica(tasks: Tasks) -> None:
    """It is not noted, unless others had a replica before: then its set has become smaller."""
    ledger = _Ledger()
    notes = PlacementNotes(ledger, incarnation=uuid(DISK), tasks=tasks)
    alone = placement(replica(1), epoch=4)
    await notes.note(_placed(alone, revision=5))
    assert ledger.noted == {}
    await notes.note(_placed(VALUE, revision=6))
    await notes.note(_placed(alone, revision=7))
    assert ledger.noted[alone.range_id].value == values.encode(alone)


async def test_a_range_that_was_noted_before_a_restart(tasks: Tasks) -> None:
    """Its others were taken away meanwhile: a recovery is not to wait for those for ever."""
    ledger = _Ledger()
    await PlacementNotes(ledger, incarnation=uuid(DISK), tasks=tasks).note(
        _placed(VALUE, revision=5)
    )
    notes = PlacementNotes(ledger, incarnation=uuid(DISK), tasks=tasks, noted=[VALUE.range_id])
    alone = placement(replica(1), epoch=4)
    await notes.note(_placed(alone, revision=6))
    assert ledger.noted[VALUE.range_id].value == values.encode(alone)


async def test_a_node_that_ends_leaves_nobody_waiting(tasks: Tasks) -> None:
    """Who waits for a note hears that it may not be written."""
    ledger = _Ledger()
    notes = PlacementNotes(ledger, incarnation=uuid(DISK), tasks=tasks)
    ledger.may_write.clear()
    waiting = asyncio.gather(notes.note(_placed(VALUE, revision=5)), return_exceptions=True)
    await asyncio.sleep(0.01)
    await tasks.close()
    [outcome] = await waiting
    assert isinstance(outcome, Unavailable)


async def test_what_is_told(tasks: Tasks) -> None:
    """The note with the promise; nothing of a range that is not held; None if it can't be read."""
    ledger = _Ledger()
    notes = PlacementNotes(ledger, incarnation=uuid(DISK), tasks=tasks)
    await notes.note(_placed(VALUE, revision=5))
    broken = replace(VALUE, range_id=uuid(501))
    await notes.note(_placed(broken, revision=5))
    ledger.unreadable.add(broken.range_id)
    answer = await notes.remembered(
        AskRemembered(range_ids=(VALUE.range_id, uuid(999), broken.range_id))
    )
    assert answer.incarnation == uuid(DISK)
    assert answer.told == (
        Remembered(value=values.encode(VALUE), revision=5, promised_epoch=9),
        Remembered(value=b"", revision=0, promised_epoch=0),
        None,
    )
