"""Short plays about a scrub: what has rotted or silently differs is found, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from dstore.model.errors import DStoreError
from dstore.model.keys import KeyKind, encode_key
from dstore.replication import scrubbing
from dstore.replication.follower import Follower
from dstore.replication.replica_calls import BeginCopy
from dstore.replication.taking_copies import CopyTaker
from tests.simulation.history import Add, Put, Read
from tests.simulation.replicated_node import RANGE_ID, number_of
from tests.simulation.scrubbed import ScrubbedCluster
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dstore.replication.scrubbing import Findings

KEYS = [f"k{number}" for number in range(20)]
Play = Any


def play(course: Callable[[ScrubbedCluster], Awaitable[None]], seed: int = 1) -> list[str]:
    """Start a cluster with some entries and play. Returns: what must never happen and did."""
    with World(seed) as world:

        async def main(world: World) -> None:
            cluster = ScrubbedCluster(world)
            await cluster.start()
            for number, key in enumerate(KEYS):
                await cluster.do(0, key, Put(number))
            await course(cluster)
            world.violations += await cluster.settled()

        world.run(main)
        return list(world.violations)


async def _primary(cluster: ScrubbedCluster) -> int:
    return number_of((await cluster._value()).node)


async def _follower(cluster: ScrubbedCluster) -> int:
    value = await cluster._value()
    return next(number_of(each.node) for each in value.in_sync if each.node != value.node)


async def _edit(cluster: ScrubbedCluster, number: int, key: str, text: str) -> None:
    """Change a row behind the log's back, as a bug would."""
    cluster.has_edits = True
    rid_id = encode_key((KeyKind.STRING, key))

    def edit(connection: Any) -> None:
        connection.execute(
            "UPDATE v1 SET C_DATA = ? WHERE RID_ID = ? AND C_COL != ''", (text, rid_id)
        )
        assert connection.changes() == 1

    life = cluster.lives[number]

    async def work() -> None:
        await (await life.open_file(RANGE_ID)).change(edit)

    await life.process.run(work(), name="edit")


async def _until_whole(cluster: ScrubbedCluster) -> None:
    async with asyncio.timeout(30.0):
        while True:
            value = await cluster._value()
            if len(value.in_sync) == len(value.replicas):
                return
            await asyncio.sleep(0.1)


async def _until_scrubbed(cluster: ScrubbedCluster, holds: Callable[[Findings], bool]) -> Findings:
    async with asyncio.timeout(60.0):
        while True:
            found = await cluster.scrub()
            if found is not None and holds(found):
                return found
            await asyncio.sleep(0.5)


def test_a_follower_differs_silently() -> None:
    """One value on one of three: most have another one, so it is copied anew."""

    async def course(cluster: ScrubbedCluster) -> None:
        number = await _follower(cluster)
        await _edit(cluster, number, "k7", "700")
        found = await _until_scrubbed(cluster, lambda each: bool(each.wrong))
        assert found.wrong == {cluster.ids[number - 1]: 1}
        assert not found.undecided
        await asyncio.sleep(3.0)
        await _until_whole(cluster)
        await _until_scrubbed(cluster, lambda each: not each.different and each.replicas == 3)
        assert [kind for kind, _ in cluster.heard.told] == ["different", "repaired"]

    assert play(course) == []


def test_a_primary_differs_silently() -> None:
    """It hands over to one that is right, is copied anew, and nobody reads the wrong value then."""

    async def course(cluster: ScrubbedCluster) -> None:
        number = await _primary(cluster)
        await _edit(cluster, number, "k7", "700")
        found = await _until_scrubbed(cluster, lambda each: bool(each.wrong))
        assert set(found.wrong) == {cluster.ids[number - 1]}
        await asyncio.sleep(5.0)
        await _until_whole(cluster)
        assert await _primary(cluster) != number
        assert await cluster.do(0, "k7", Read()) == 7
        assert cluster.heard.told[-1][0] == "repaired"

    assert play(course) == []


def test_two_differ_and_nobody_knows() -> None:
    """With the third one away there is no majority: it is told, and nothing is changed."""

    async def course(cluster: ScrubbedCluster) -> None:
        number = await _follower(cluster)
        value = await cluster._value()
        away = next(
            number_of(each.node)
            for each in value.in_sync
            if number_of(each.node) not in {number, number_of(value.node)}
        )
        machine = cluster.nodes[away - 1]
        machine.restarts_in_s = (1e6, 1e6)
        machine.kill()
        async with asyncio.timeout(30.0):
            while len((await cluster._value()).in_sync) > 2:
                await cluster.do(0, "k1", Put(1))
                await asyncio.sleep(0.2)
        await _edit(cluster, number, "k7", "700")
        before = await cluster._value()
        found = await _until_scrubbed(cluster, lambda each: bool(each.undecided))
        assert not found.to_be_repaired
        await asyncio.sleep(3.0)
        after = await cluster._value()
        assert {each.node for each in after.in_sync} == {each.node for each in before.in_sync}
        assert "nobody can tell" in cluster.heard.told[0][1]
        await _edit(cluster, number, "k7", "7")  # as it was, for what is judged at the end
        machine.start()

    assert play(course) == []


def test_a_ruined_follower_that_starts_anew() -> None:
    """Not a page of its file can be read: it gets a new one, and all that was acknowledged."""

    async def course(cluster: ScrubbedCluster) -> None:
        number = await _follower(cluster)
        path, machine = cluster.file_of(number), cluster.nodes[number - 1]
        machine.kill()
        name = path.relative_to(cluster.lives[number].directory)
        disk = machine.disk
        assert disk is not None
        backup = disk.backup()
        assert str(name) in backup
        disk.put_back(
            {
                each: b"ruined" * 999 if each.startswith(str(name)) else content
                for each, content in backup.items()
            }
        )
        machine.ensure_up()
        for _ in range(60):
            await cluster.do(0, "k3", Add(1))
            await asyncio.sleep(0.1)
        await cluster.scrub()
        await _until_whole(cluster)
        assert cluster.world.trace.counts["log.replica_file_begun_anew"] == 1

    assert play(course) == []


@pytest.mark.parametrize("seed", range(3))
def test_writes_give_no_false_alarm(seed: int) -> None:
    """Entries are written all the while, on a network that delays and doubles."""

    async def course(cluster: ScrubbedCluster) -> None:
        storm = next(each for each in cluster.faults() if each.name == "storm")
        loop = asyncio.get_running_loop()
        storming = loop.create_task(storm.strike(cluster.world.random("storm")))

        async def write() -> None:
            while True:
                for key in KEYS:
                    await cluster.do(0, key, Add(1))

        writing = loop.create_task(write())
        for _ in range(30):
            await cluster.scrub()
            await asyncio.sleep(0.05)
        writing.cancel()
        storming.cancel()
        assert cluster.world.trace.counts["scrubbed"] >= 20

    assert play(course, seed) == []


def test_a_late_message_empties_nobody() -> None:
    """A replica that counts again refuses what was meant for it when it was wrong."""

    async def course(cluster: ScrubbedCluster) -> None:
        number = await _follower(cluster)
        life = cluster.lives[number]
        replica = life.replicas.of(RANGE_ID)
        assert replica is not None
        value = await cluster._value()

        async def late() -> str:
            standing = await replica.look()
            request = BeginCopy(
                range_id=RANGE_ID,
                epoch=value.epoch,
                primary=value.node,
                incarnation=life.around.incarnation,
                number=77,
                found=standing.end,
                is_wrong=True,
            )
            try:
                await replica.begin_copy(request)
            except DStoreError as error:
                return type(error).__name__
            return "emptied"

        assert await life.process.run(late(), name="late") == "Unavailable"

    assert play(course) == []


# ----------------------------------------------------------------------------- broken variants


def _nothing_between(*_: object, **__: object) -> frozenset[bytes]:
    return frozenset()


def test_broken_forgets_what_is_written_meanwhile() -> None:
    """Without what the log says of the time between two moments, writes look like differences."""
    with patch.object(scrubbing, "written_between", _nothing_between):

        async def course(cluster: ScrubbedCluster) -> None:
            async def write() -> None:
                while True:
                    for key in KEYS[:3]:
                        await cluster.do(0, key, Add(1))

            writing = asyncio.get_running_loop().create_task(write())
            for _ in range(60):
                await cluster.scrub()
            writing.cancel()

        with patch.object(scrubbing, "SCRUB_AGAIN_MS", 0):
            told = [play(course, seed) for seed in range(8)]
    assert any("differences that there are not" in each for one in told for each in one)


def test_broken_trusts_the_log_of_a_wrong_replica() -> None:
    """Without the mark a replica that was let go comes back by its log, as wrong as it was."""

    def condemn(self: Follower) -> None:
        self.needs_copy = True

    async def course(cluster: ScrubbedCluster) -> None:
        number = await _follower(cluster)
        await _edit(cluster, number, "k7", "700")
        await cluster.scrub()
        await asyncio.sleep(5.0)

    with patch.object(Follower, "condemn", condemn):
        told = play(course)
    assert any("has other rows" in each for each in told)


def test_broken_does_not_ask_whether_it_counts() -> None:
    """Without the linearizable read a late message empties a replica that counts."""

    async def nothing(*_: object) -> None:
        return None

    with (
        patch.object(CopyTaker, "_require_left", nothing),
        pytest.raises(AssertionError, match="emptied"),
    ):
        test_a_late_message_empties_nobody()
