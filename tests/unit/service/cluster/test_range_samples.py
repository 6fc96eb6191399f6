"""Samples of ranges: made while somebody asks, some at a time, and forgotten again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dstore.base.clock import NS_PER_S
from dstore.base.split_limits import SAMPLE_KEPT_S, SAMPLES_AT_ONCE
from dstore.base.tasks import Tasks
from dstore.model.errors import NotMine, Unavailable
from dstore.replication.peers.port import Received
from dstore.replication.sample_calls import AskSample, Bucket, SampleOf
from dstore.service.cluster import range_samples
from dstore.service.cluster.range_samples import RangeSamples
from dstore.service.range_heat import RangeHeat
from dstore.storage.weighing import Piece
from tests.support.control import eventually
from tests.support.topology import uuid

RECEIVED = cast("Received", None)


class _Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def wall_us(self) -> int:
        return 0

    def monotonic_ns(self) -> int:
        return int(self.now_s * NS_PER_S)


class _File:
    """A file of three pieces; `is_held` keeps a reader waiting."""

    def __init__(self) -> None:
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def look(self, work: Callable[..., Piece]) -> Piece:
        await self.gate.wait()
        self.reads += 1
        after: bytes = work.keywords["after"]  # type: ignore[attr-defined]  # a partial
        pieces = {
            b"": Piece(weights=((1, 10), (5, 20)), last=b"5"),
            b"5": Piece(weights=((5, 5), (9, 1)), last=b"9"),
            b"9": Piece(weights=(), last=None),
        }
        return pieces[after]


class _Place:
    """Samples of ranges that are all served in epoch 3, out of one file."""

    def __init__(self) -> None:
        self.clock, self.file, self.busy = _Clock(), _File(), set[str]()
        self.failures: list[BaseException] = []
        self.tasks = Tasks(self.failures.append)
        self.heat = RangeHeat(self.clock)

        async def open_file(_range_id: str) -> _File:
            return self.file

        around = SimpleNamespace(clock=self.clock, tasks=self.tasks, open_file=open_file)
        serving = SimpleNamespace(of=lambda _range_id: SimpleNamespace(serving_epoch=3))
        self.samples = RangeSamples(
            cast("Any", serving),
            cast("Any", around),
            heat=self.heat,
            is_busy=self.busy.__contains__,
        )

    async def ask(
        self, number: int = 1, *, epoch: int = 3, of: SampleOf = SampleOf.BYTES
    ) -> tuple[Bucket, ...] | None:
        request = AskSample(range_id=uuid(number), epoch=epoch, of=of)
        return (await self.samples._told(request, RECEIVED)).buckets


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Place]:
    """Give samples that are made at once."""
    monkeypatch.setattr(range_samples, "SAMPLE_PAUSE_S", 0.0)
    monkeypatch.setattr(range_samples, "SAMPLE_REQUESTS_S", 0.2)
    made = _Place()
    yield made
    await made.tasks.close()
    assert made.failures == []


async def test_a_file_is_weighed_once(place: _Place) -> None:
    """The first question begins it, later ones hear what there is, and read nothing."""
    assert await place.ask() is None
    await eventually(lambda: place.file.reads == 3)
    await asyncio.sleep(0)
    assert await place.ask() == (Bucket(1, 10), Bucket(5, 25), Bucket(9, 1))
    assert await place.ask() is not None
    assert place.file.reads == 3


async def test_requests_are_watched_for_a_while(place: _Place) -> None:
    """By the hash of their keys; pages from the beginning of the range tell nothing."""
    assert await place.ask(of=SampleOf.REQUESTS) is None
    await asyncio.sleep(0)
    for hashed, times in ((7, 3), (2, 1)):
        for _ in range(times):
            place.heat.note(uuid(1), hashed.to_bytes(4, "big") + b"key")
    place.heat.note(uuid(1), b"")
    place.heat.note(uuid(2), b"\0\0\0\1other")
    found: list[tuple[Bucket, ...]] = []
    async with asyncio.timeout(10):
        while not found:
            await asyncio.sleep(0.05)
            made = await place.ask(of=SampleOf.REQUESTS)
            found += [] if made is None else [made]
    assert found == [(Bucket(2, 1), Bucket(7, 3))]
    assert not place.heat._watched


async def test_who_is_not_the_primary_tells_nothing(place: _Place) -> None:
    """Nor is a range read that is being scrubbed."""
    with pytest.raises(NotMine):
        await place.ask(epoch=2)
    place.busy.add(uuid(1))
    with pytest.raises(Unavailable):
        await place.ask()
    place.busy.clear()
    assert await place.ask() is None


async def test_few_are_made_at_a_time(place: _Place) -> None:
    """One that nobody asks for any more is given up, and makes room."""
    place.file.gate.clear()
    for number in range(SAMPLES_AT_ONCE):
        assert await place.ask(number) is None
    with pytest.raises(Unavailable):
        await place.ask(SAMPLES_AT_ONCE)
    place.clock.now_s += SAMPLE_KEPT_S + 1
    assert await place.ask(SAMPLES_AT_ONCE) is None
    assert len(place.samples._samples) == 1
