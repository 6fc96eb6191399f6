"""What only the embedded coordinator has: a file of its own, and what becomes of it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from dstore.base.clock import NS_PER_S, SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.limits import EMBEDDED_HISTORY_REVISIONS_MAX
from dstore.model.errors import Corrupt
from dstore.security.envelope import open_sealed, seal
from dstore.topology.coordinator import (
    CoordinatorFull,
    CoordinatorUnavailable,
    LeaseGone,
    Listing,
    Put,
    Resync,
    Transaction,
)
from dstore.topology.embedded import EmbeddedCoordinator
from tests.contract.coordinator.conftest import embedded


class Sealing:
    """Seal with one key."""

    def __init__(self, key: bytes) -> None:
        """Take the key, 32 bytes."""
        self._key = key

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        return seal(self._key, plaintext, context=context, entropy=SystemEntropy())

    def open_sealed(self, sealed: bytes, *, context: bytes) -> bytes:
        return open_sealed(self._key, sealed, context=context)


class LeapingClock(SystemClock):
    """A clock that a test moves on."""

    def __init__(self) -> None:
        """Begin with the machine's."""
        self.leap_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.leap_ns


async def test_a_restart_keeps_all_but_the_history(tmp_path: Path) -> None:
    """Keys, revisions, leases and the cluster's name; a watch from before gets a snapshot."""
    path = tmp_path / "coordinator.db"
    async with embedded(path) as first:
        name = await first.cluster_id()
        lease = await first.grant(60)
        await first.put("leased", b"1", lease_id=lease.lease_id)
        start = await first.put("gone", b"")
        await first.delete("gone")
        await first.put("kept", b"\x00\xff")
        before = await first.list("")
    async with embedded(path) as second:
        assert await second.cluster_id() == name
        assert await second.list("") == before
        assert await second.keep_alive(lease.lease_id) == 60
        async with aclosing(second.watch("", after_revision=start)) as watch:
            assert await anext(watch) == Resync(listing=before)
        await second.revoke(lease.lease_id)
        revision = await second.put("new", b"")
        assert revision == before.revision + 2
    async with embedded(path) as third:
        assert [kv.key for kv in (await third.list("")).kvs] == ["kept", "new"]
        with pytest.raises(LeaseGone):
            await third.keep_alive(lease.lease_id)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_random_writes_survive_restarts(tmp_path: Path) -> None:
    """What the file holds is what was answered, whatever was put and deleted."""
    random, path = Random(1), tmp_path / "coordinator.db"
    before: Listing | None = None
    for _ in range(6):
        async with embedded(path) as opened:
            if before is not None:
                assert await opened.list("") == before
            for _ in range(40):
                key = f"k{random.randrange(12)}"
                if random.random() < 0.4:
                    await opened.delete(key)
                else:
                    await opened.put(key, random.randbytes(3))
            before = await opened.list("")


async def test_nothing_readable_is_on_the_disk_when_sealed(tmp_path: Path) -> None:
    """I2: names of tenants and tables are in keys; a row can't be moved to another's place."""
    path, sealer = tmp_path / "coordinator.db", Sealing(bytes(range(32)))
    async with _sealed(path, sealer) as opened:
        for number in range(3):
            await opened.put(f"tenant/CANARY{number}", b"CANARY")
        assert all(b"CANARY" not in content for content in _contents(tmp_path))
    async with _sealed(path, sealer) as opened:
        assert len((await opened.list("tenant/CANARY")).kvs) == 3
    assert all(b"CANARY" not in content for content in _contents(tmp_path))
    with sqlite3.connect(path) as swapped:
        swapped.execute("UPDATE entry SET id = 10 WHERE id = 1")
    swapped.close()
    with pytest.raises(Exception, match=r"(?i)authentic|damaged|key"):
        async with _sealed(path, sealer):
            pass


async def test_one_process_has_the_file(tmp_path: Path) -> None:
    """Two all-roles processes on one directory would each decide for themselves."""
    path = tmp_path / "coordinator.db"
    async with embedded(path):
        with pytest.raises(CoordinatorUnavailable, match="another process"):
            async with embedded(path):
                pass


async def test_a_damaged_file_is_no_empty_one(tmp_path: Path) -> None:
    """To begin anew in silence would roll the topology back."""
    path = tmp_path / "coordinator.db"
    path.write_bytes(b"no database " * 1_000)
    with pytest.raises(Corrupt):
        async with embedded(path):
            pass
    path.unlink()
    async with embedded(path) as opened:
        await opened.put("k", b"")
    with sqlite3.connect(path) as damaged:
        damaged.execute("UPDATE entry SET body = x'00'")
    damaged.close()
    with pytest.raises(Corrupt):
        async with embedded(path):
            pass


async def test_a_full_disk_writes_nothing(tmp_path: Path) -> None:
    """The refused write is nowhere, neither in memory nor in the file; what fits goes on."""
    path = tmp_path / "coordinator.db"
    async with embedded(path) as opened:
        await opened.put("k", b"v")
        assert opened._file is not None
        await opened._file._connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(CoordinatorFull):
            await opened.put("large", bytes(200_000))
        before = await opened.list("")
        assert [kv.key for kv in before.kvs] == ["k"]
        await opened.put("k", b"w")
    async with embedded(path) as opened:
        assert [(kv.key, kv.value) for kv in (await opened.list("")).kvs] == [("k", b"w")]


async def test_a_caller_that_gives_up_leaves_a_whole_write(tmp_path: Path) -> None:
    """A write that has begun ends: memory and file never differ."""
    path, random = tmp_path / "coordinator.db", Random(2)
    async with embedded(path) as opened:
        for number in range(60):
            writes = asyncio.gather(*(opened.put(f"k{number}/{i}", b"") for i in range(3)))
            await asyncio.sleep(random.uniform(0, 0.004))
            writes.cancel()
            await asyncio.gather(writes, return_exceptions=True)
        await opened.put("last", b"")
        before = await opened.list("")
    async with embedded(path) as opened:
        assert await opened.list("") == before


async def test_history_is_bounded(tmp_path: Path) -> None:
    """The oldest is forgotten by itself; a watch that is too late gets a snapshot."""
    async with embedded(None) as opened:
        start = await opened.put("k", b"")
        await opened.put("gone", b"")
        await opened.delete("gone")
        for _ in range(EMBEDDED_HISTORY_REVISIONS_MAX + 10):
            await opened.put("k", b"")
        async with aclosing(opened.watch("", after_revision=start)) as watch:
            assert isinstance(await anext(watch), Resync)
        assert "gone" not in opened._versions._versions
        large = Transaction(then=(Put(key="k", value=bytes(1_000_000)),))
        for _ in range(40):
            await opened.commit(large)
        assert opened._versions._history_bytes < 20_000_000


async def test_no_call_sees_what_a_due_lease_held(tmp_path: Path) -> None:
    """Time that passed at once, as after a suspension, ends leases before anything is answered."""
    clock = LeapingClock()
    opened = await EmbeddedCoordinator.open(
        tmp_path / "coordinator.db", clock=clock, entropy=SystemEntropy(), on_failure=print
    )
    lease = await opened.grant(60)
    await opened.put("k", b"", lease_id=lease.lease_id)
    clock.leap_ns += 59 * NS_PER_S
    assert (await opened.get("k")).kv is not None
    clock.leap_ns += 2 * NS_PER_S
    assert (await opened.get("k")).kv is None
    await opened.close()


@asynccontextmanager
async def _sealed(path: Path, sealer: Sealing) -> AsyncIterator[EmbeddedCoordinator]:
    opened = await EmbeddedCoordinator.open(
        path, clock=SystemClock(), entropy=SystemEntropy(), on_failure=print, sealer=sealer
    )
    try:
        yield opened
    finally:
        await opened.close()


def _contents(directory: Path) -> list[bytes]:
    return [file.read_bytes() for file in directory.iterdir()]
