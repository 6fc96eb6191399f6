"""Every start of a node is counted once, and an old copy of a directory is known as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from dstore.base.boot_limits import BOOT_DOUBTFUL_MAX
from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import Corrupt
from dstore.service.cluster.boot_counter import BootCounter, Booted
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import (
    CoordinatorUnavailable,
    OutcomeUnknown,
    Transaction,
    TransactionResult,
)
from dstore.topology.embedded import EmbeddedCoordinator
from tests.support.cluster_nodes import ME, PLANE, uuid

PATH = keys.NodeBootPath(ME)


class Disk:
    """What a node remembers; it may break before or after it is written."""

    def __init__(self, kept: dict[str, str] | None = None) -> None:
        self.kept = dict(kept or {})
        self.breaks_at: str | None = None
        self.writes = 0

    async def settings(self) -> dict[str, str]:
        return dict(self.kept)

    async def set_setting(self, name: str, value: str) -> None:
        self.writes += 1
        if self.breaks_at == f"before {self.writes}":
            raise PowerLost
        self.kept[name] = value
        if self.breaks_at == f"after {self.writes}":
            raise PowerLost


class PowerLost(Exception):
    """The process ends here."""


class Unsure(EmbeddedCoordinator):
    """Does what it is told, and says once that it does not know; or does it behind the next."""

    is_unsure = False
    does_it = True
    is_late = False
    late: Transaction | None = None

    async def commit(self, transaction: Transaction, **further: Any) -> TransactionResult:
        late, type(self).late = self.late, None
        if late is not None:
            await super().commit(late, **further)
        if self.is_late:
            type(self).is_late, type(self).late = False, transaction
            raise OutcomeUnknown("It is on its way.")
        if self.is_unsure:
            type(self).is_unsure = False
            if self.does_it:
                await super().commit(transaction, **further)
            raise OutcomeUnknown("Who knows.")
        return await super().commit(transaction, **further)


@pytest.fixture
async def coordinator() -> AsyncIterator[Unsure]:
    opened = await Unsure.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=lambda _error: None
    )
    yield opened
    Unsure.is_unsure = Unsure.is_late = False
    Unsure.late = None
    await opened.close()


async def start(coordinator: EmbeddedCoordinator, disk: Disk) -> Booted:
    counter = BootCounter(coordinator, disk, node=ME, control_plane=PLANE, entropy=SystemEntropy())
    return await counter.count()


async def known(coordinator: EmbeddedCoordinator) -> values.NodeBoot:
    kv = (await coordinator.get(PATH.path)).kv
    assert kv is not None
    return values.decode(PATH, kv.value)


async def test_starts_are_counted(coordinator: Unsure) -> None:
    """The number rises, the incarnation stays, and the coordinator knows both."""
    disk = Disk()
    first = await start(coordinator, disk)
    for number in range(2, 5):
        booted = await start(coordinator, disk)
        assert booted.boot.number == number
        assert booted.boot.incarnation == first.boot.incarnation
        assert not booted.is_old_copy
        assert await known(coordinator) == booted.boot


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("where", ["before 1", "after 1", "before 2", "after 2"])
async def test_a_crash_at_any_step(
    coordinator: Unsure,
    where: str,
    is_first: bool,
) -> None:
    """Whatever a crash has cut short, the next start is the same disk."""
    disk = Disk()
    before = None if is_first else await start(coordinator, disk)
    disk.writes, disk.breaks_at = 0, where
    with pytest.raises(PowerLost):
        await start(coordinator, disk)
    disk.breaks_at = None
    seen = (await coordinator.get(PATH.path)).kv
    booted = await start(coordinator, disk)
    assert not booted.is_old_copy
    if before is not None:
        assert booted.boot.incarnation == before.boot.incarnation
        assert booted.boot.number > before.boot.number
    if seen is not None:
        assert booted.boot.number > values.decode(PATH, seen.value).number
        assert booted.boot.incarnation == values.decode(PATH, seen.value).incarnation


@pytest.mark.parametrize("does_it", [True, False])
async def test_an_open_outcome_is_looked_into(
    coordinator: Unsure,
    does_it: bool,
) -> None:
    """B6: an exchange that may have happened is read again, and is no disagreement."""
    disk = Disk()
    first = await start(coordinator, disk)
    Unsure.is_unsure, Unsure.does_it = True, does_it
    booted = await start(coordinator, disk)
    assert not booted.is_old_copy
    assert booted.boot.incarnation == first.boot.incarnation
    assert await known(coordinator) == booted.boot


async def test_an_old_copy_is_another_disk(coordinator: Unsure) -> None:
    """A directory put back from a backup goes on with a new incarnation, counted above all."""
    disk = Disk()
    first = await start(coordinator, disk)
    old = Disk(disk.kept)
    latest = await start(coordinator, disk)
    booted = await start(coordinator, old)
    assert booted.is_old_copy
    assert booted.boot.incarnation not in {first.boot.incarnation, latest.boot.incarnation}
    assert booted.boot.number == latest.boot.number + 1
    # And the other one is an old copy of this one now.
    assert (await start(coordinator, disk)).is_old_copy


@pytest.mark.parametrize("value", [b"nonsense", b"{}", None])
async def test_a_value_that_says_nothing_agrees_with_no_disk(
    coordinator: Unsure, value: bytes | None
) -> None:
    """Where the coordinator has lost its count the node is another disk, and counts on."""
    disk = Disk()
    first = await start(coordinator, disk)
    if value is None:
        await coordinator.delete(PATH.path)
    else:
        await coordinator.put(PATH.path, value)
    booted = await start(coordinator, disk)
    assert booted.is_old_copy
    assert booted.boot.number == first.boot.number + 1
    assert booted.boot.incarnation != first.boot.incarnation
    assert not (await start(coordinator, disk)).is_old_copy


async def test_an_older_coordinator_is_told_from_an_older_disk(coordinator: Unsure) -> None:
    """What an older coordinator lacks proves nothing; an older disk has seen nothing later."""
    disk = Disk()
    counter = BootCounter(coordinator, disk, node=ME, control_plane=PLANE, entropy=SystemEntropy())
    assert not await counter.is_coordinator_older()  # both are new
    assert not await counter.is_disk_older()
    await counter.count()
    before, old = await known(coordinator), Disk(disk.kept)
    await counter.count()
    assert not await counter.is_coordinator_older()
    aged = BootCounter(coordinator, old, node=ME, control_plane=PLANE, entropy=SystemEntropy())
    assert not await aged.is_coordinator_older()
    assert (await aged.is_disk_older(), await counter.is_disk_older()) == (True, False)
    await coordinator.put(PATH.path, values.encode(before))
    assert await counter.is_coordinator_older()
    await coordinator.delete(PATH.path)
    assert await counter.is_coordinator_older()


async def test_a_lost_disk_is_another_disk(coordinator: Unsure) -> None:
    """An empty directory under a UUID that has started before."""
    first = await start(coordinator, Disk())
    booted = await start(coordinator, Disk())
    assert booted.is_old_copy
    assert booted.boot.number == first.boot.number + 1


async def test_damage_on_the_disk_is_told(coordinator: Unsure) -> None:
    """A record that does not parse is no first start."""
    with pytest.raises(Corrupt):
        await start(coordinator, Disk({f"boot:{PLANE}": "{"}))


async def test_nothing_is_counted_without_the_coordinator(
    coordinator: Unsure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that could not be counted is told, and counted by the next attempt."""

    async def away(*_args: Any, **_further: Any) -> Any:
        raise CoordinatorUnavailable("No answer.")

    disk = Disk()
    with monkeypatch.context() as patch:
        patch.setattr(Unsure, "get", away)
        with pytest.raises(CoordinatorUnavailable):
            await start(coordinator, disk)
    assert (await start(coordinator, disk)).boot.number == 1
    assert uuid("1", 1) != (await known(coordinator)).incarnation


def _counter(coordinator: Unsure, disk: Disk) -> BootCounter:
    return BootCounter(coordinator, disk, node=ME, control_plane=PLANE, entropy=SystemEntropy())


async def test_a_copy_of_before_a_mark_is_another_disk(coordinator: Unsure) -> None:
    """Made and put back within one run, as behind a node that is stopped for it."""
    disk = Disk()
    first = await start(coordinator, disk)
    copy = Disk(disk.kept)
    await _counter(coordinator, disk).mark(first.boot)
    assert await _counter(coordinator, copy).is_disk_older()
    assert not await _counter(coordinator, copy).is_coordinator_older()
    booted = await start(coordinator, copy)
    assert booted.is_old_copy
    assert booted.boot.incarnation != first.boot.incarnation
    assert booted.boot.number == first.boot.number + 1


async def test_a_run_that_was_marked_goes_on_as_the_same_disk(coordinator: Unsure) -> None:
    """However often, and whoever has not heard that it was."""
    disk = Disk()
    first = await start(coordinator, disk)
    for _ in range(3):
        Unsure.is_unsure, Unsure.does_it = True, True
        await _counter(coordinator, disk).mark(first.boot)
        Unsure.is_unsure, Unsure.does_it = True, False
        await _counter(coordinator, disk).mark(first.boot)
        await _counter(coordinator, disk).mark(first.boot)
    seen = await known(coordinator)
    assert (seen.number, seen.marks, seen.is_of_run(first.boot)) == (1, 6, True)
    booted = await start(coordinator, disk)
    assert not booted.is_old_copy
    assert booted.boot.incarnation == first.boot.incarnation
    assert (booted.boot.number, booted.boot.marks) == (2, 0)


@pytest.mark.parametrize("where", ["before 1", "after 1", "before 2", "after 2"])
async def test_a_crash_while_it_is_marked(coordinator: Unsure, where: str) -> None:
    """At any step, and again behind an answer that was lost: it is the same disk."""
    for is_unsure in (False, True):
        disk = Disk((await _marked_disk(coordinator, is_unsure=is_unsure)).kept)
        boot = await known(coordinator)
        disk.writes, disk.breaks_at = 0, where
        with pytest.raises(PowerLost):
            await _counter(coordinator, disk).mark(boot)
        disk.breaks_at = None
        assert not (await start(coordinator, disk)).is_old_copy
        await coordinator.delete(PATH.path)


async def _marked_disk(coordinator: Unsure, *, is_unsure: bool) -> Disk:
    disk = Disk()
    booted = await start(coordinator, disk)
    Unsure.is_unsure, Unsure.does_it = is_unsure, True
    await _counter(coordinator, disk).mark(booted.boot)
    Unsure.is_unsure = False
    return disk


@pytest.mark.parametrize("where", ["before 2", "after 2", "before 3"])
async def test_a_crash_behind_an_outcome_that_nobody_knew(coordinator: Unsure, where: str) -> None:
    """What was pending may be what is there: the disk knows it until the next one is."""
    disk = Disk()
    first = await start(coordinator, disk)
    Unsure.is_unsure, Unsure.does_it = True, True
    disk.writes, disk.breaks_at = 0, where
    with pytest.raises(PowerLost):
        await start(coordinator, disk)
    disk.breaks_at = None
    booted = await start(coordinator, disk)
    assert not booted.is_old_copy
    assert booted.boot.incarnation == first.boot.incarnation


@pytest.mark.parametrize("is_first", [True, False])
async def test_what_is_done_late_is_no_disagreement(coordinator: Unsure, *, is_first: bool) -> None:
    """B6: read again at once, the coordinator does not show yet what it is about to do."""
    disk = Disk()
    before = None if is_first else await start(coordinator, disk)
    Unsure.is_late = True
    booted = await start(coordinator, disk)
    assert not booted.is_old_copy
    assert await known(coordinator) == booted.boot
    if before is not None:
        assert booted.boot.incarnation == before.boot.incarnation


@pytest.mark.parametrize("where", ["before 2", "after 2", "before 3"])
async def test_what_a_former_process_has_asked_for_is_done_late(
    coordinator: Unsure, where: str
) -> None:
    """It died with its exchange on the way, maybe twice; the next start may come before that."""
    disk = Disk()
    first = await start(coordinator, disk)
    for breaks_at in (where, "before 2"):
        Unsure.is_late = True
        disk.writes, disk.breaks_at = 0, breaks_at
        with pytest.raises(PowerLost):
            await start(coordinator, disk)
    disk.breaks_at = None
    booted = await start(coordinator, disk)
    assert not booted.is_old_copy
    assert booted.boot.incarnation == first.boot.incarnation
    assert len(disk.kept[f"boot:{PLANE}"]) < 1_000, "what is counted is forgotten"


async def test_what_may_yet_be_counted_is_bounded(coordinator: Unsure) -> None:
    """However often a start is tried against a coordinator that never says what it did."""
    disk = Disk()
    for _ in range(2 * BOOT_DOUBTFUL_MAX):
        Unsure.is_unsure, Unsure.does_it = True, False
        disk.writes, disk.breaks_at = 0, "before 2"
        with pytest.raises(PowerLost):
            await start(coordinator, disk)
    stored = msgspec.json.decode(disk.kept[f"boot:{PLANE}"])
    assert len(stored["doubtful"]) == BOOT_DOUBTFUL_MAX
    disk.breaks_at = None
    assert not (await start(coordinator, disk)).is_old_copy


async def test_another_run_is_not_marked(coordinator: Unsure) -> None:
    """Nor is a start that the coordinator does not have; it is shown again with its mark."""
    disk = Disk()
    first = await start(coordinator, disk)
    second = await start(coordinator, disk)
    await _counter(coordinator, disk).mark(first.boot)
    assert await known(coordinator) == second.boot
    await _counter(coordinator, disk).mark(second.boot)
    marked = await known(coordinator)
    await coordinator.delete(PATH.path)
    await _counter(coordinator, disk).mark(second.boot)
    assert (await coordinator.get(PATH.path)).kv is None
    await _counter(coordinator, disk).show(second.boot)
    assert await known(coordinator) == marked
    assert not (await start(coordinator, disk)).is_old_copy


class _Slow(Unsure):
    """Does two exchanges; tells of the first when the second is done, or nobody else asks."""

    commits = 0

    async def commit(self, transaction: Transaction, **further: Any) -> TransactionResult:
        self.commits += 1
        if self.commits == 1:
            result = await super().commit(transaction, **further)
            self.told = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await self.told.wait()
            return result
        self.told.set()
        await asyncio.sleep(0.01)
        await super().commit(transaction, **further)
        raise OutcomeUnknown("It was the last that was heard.")


async def test_two_marks_at_once(coordinator: Unsure) -> None:
    """The minute's, and that of a node that stops: the later one's notes stay on the disk."""
    disk = Disk()
    first = await start(coordinator, disk)
    counter = _counter(coordinator, disk)
    coordinator.__class__ = _Slow
    async with asyncio.TaskGroup() as group:
        group.create_task(counter.mark(first.boot))
        await asyncio.sleep(0.01)
        group.create_task(counter.mark(first.boot))
    coordinator.__class__ = Unsure
    assert (await known(coordinator)).marks == 2
    booted = await start(coordinator, disk)
    assert not booted.is_old_copy
    assert booted.boot.incarnation == first.boot.incarnation
