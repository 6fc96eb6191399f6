"""What only a server does: it dies, hangs, fills up, refuses, forgets and is exchanged."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from shutil import copytree, rmtree
from subprocess import PIPE

import pytest

from dstore.base.clock import NS_PER_S, SystemClock
from dstore.base.limits import MIB
from dstore.topology.coordinator import (
    CoordinatorError,
    CoordinatorFull,
    CoordinatorRefused,
    CoordinatorUnavailable,
    Events,
    LeaseId,
    OutcomeUnknown,
    Progress,
    Resync,
    RolledBack,
    Watch,
    WatchBatch,
)
from dstore.topology.etcd import EtcdCoordinator
from dstore.topology.etcd_wire import EtcdTls
from tests.support.etcd import EtcdServer, coordinator_of, running, running_together
from tests.support.etcd_certificates import Authority

pytestmark = pytest.mark.xdist_group("etcd")

_PATIENCE_S = 30.0
ASKED_S_MAX = 4.0  # for calls that were given half a second; the default would be 5


@asynccontextmanager
async def connected(
    *servers: EtcdServer, tls: EtcdTls | None = None
) -> AsyncIterator[EtcdCoordinator]:
    """Connect to servers for the length of a test."""
    coordinator = coordinator_of(*servers, tls=tls)
    try:
        yield coordinator
    finally:
        await coordinator.close()


async def next_of(watch: Watch) -> WatchBatch:
    """Wait for the next batch that says something."""
    async with asyncio.timeout(_PATIENCE_S):
        while isinstance(batch := await anext(watch), Progress):
            pass
        return batch


async def took_s(call: Awaitable[object], error: type[CoordinatorError]) -> float:
    """Wait for a call to fail as expected. Returns: how long that took, in seconds."""
    clock = SystemClock()
    before_ns = clock.monotonic_ns()
    with pytest.raises(error):
        await call
    return (clock.monotonic_ns() - before_ns) / NS_PER_S


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    """Keys, revisions and leases go on; a watch goes on where it was; calls wait for the server."""
    with running(EtcdServer(directory=tmp_path / "etcd")) as server:
        async with connected(server) as coordinator:
            lease = await coordinator.grant(60)
            await coordinator.put("w/a", b"1", lease_id=lease.lease_id)
            async with aclosing(coordinator.watch("w/")) as watch:
                first = await next_of(watch)
                assert isinstance(first, Resync)
                server.stop()
                assert (
                    await took_s(coordinator.put("w/b", b"", timeout_s=0.5), CoordinatorError)
                    < ASKED_S_MAX
                )
                assert (
                    await took_s(coordinator.get("w/b", timeout_s=0.5), CoordinatorUnavailable)
                    < ASKED_S_MAX
                )
                with pytest.raises(CoordinatorUnavailable):
                    await coordinator.keep_alive(lease.lease_id, timeout_s=0.5)
                # A read begun while the server is away is answered when it is back.
                reading = asyncio.gather(coordinator.get("w/a"))
                server.start()
                (found,) = await reading
                assert found.kv is not None
                assert await coordinator.keep_alive(lease.lease_id) == 60
                async with connected(server) as other:
                    revision = await other.put("w/c", b"3")
                batch = await next_of(watch)
                assert isinstance(batch, Events)
                assert batch.revision == revision == first.revision + 1


async def test_a_hanging_server_is_noticed(tmp_path: Path) -> None:
    """It keeps its connections open and answers nothing; every call has its deadline."""
    with running(EtcdServer(directory=tmp_path / "etcd")) as server:
        async with connected(server) as coordinator:
            lease = await coordinator.grant(60)
            start = await coordinator.put("w/a", b"1")
            await coordinator.keep_alive(lease.lease_id)
            async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
                heard_at_ns = watch.heard_at_ns
                server.pause()
                get = coordinator.get("w/a", timeout_s=0.5)
                put = coordinator.put("w/a", b"2", timeout_s=0.5)
                grant = coordinator.grant(60, timeout_s=0.5)
                keep_alive = coordinator.keep_alive(lease.lease_id, timeout_s=0.5)
                for call, error in (
                    (get, CoordinatorUnavailable),
                    (put, OutcomeUnknown),
                    (grant, CoordinatorUnavailable),
                    (keep_alive, CoordinatorUnavailable),
                ):
                    assert 0.3 < await took_s(call, error) < ASKED_S_MAX
                await asyncio.sleep(7)
                # Silence is known as such.
                assert SystemClock().monotonic_ns() - watch.heard_at_ns > 6 * NS_PER_S
                assert watch.heard_at_ns <= heard_at_ns + 3 * NS_PER_S
                server.resume()
                assert await coordinator.keep_alive(lease.lease_id) == 60
                revision = await coordinator.put("w/a", b"3")
                seen = [await next_of(watch)]
                while seen[-1].revision < revision:
                    seen.append(await next_of(watch))
                # The put whose outcome was unknown may be among them, once.
                assert [batch.revision for batch in seen] == sorted(
                    {batch.revision for batch in seen}
                )
                assert all(isinstance(batch, Events) for batch in seen)


async def test_compaction_while_a_watch_is_cut_off(tmp_path: Path) -> None:
    """B13: what happened meanwhile is gone, so the watch reports everything anew."""
    with running(EtcdServer(directory=tmp_path / "etcd")) as server:
        async with connected(server) as coordinator:
            start = await coordinator.put("w/a", b"1")
            async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
                await coordinator.put("w/a", b"2")
                await next_of(watch)
                server.stop()
                # Before the watch is back, the past is changed and forgotten.
                server.start()
                async with connected(server) as other:
                    await other.delete("w/a")
                    last = await other.put("w/b", b"")
                    await other.compact(last)
                batches = [await next_of(watch)]
                while batches[-1].revision < last:
                    batches.append(await next_of(watch))
                resync = batches[-1]
                if isinstance(resync, Resync):
                    assert [kv.key for kv in resync.listing.kvs] == ["w/b"]
                else:  # the watch was back before the compaction
                    assert [batch.revision for batch in batches] == [last - 1, last]
                revision = await coordinator.put("w/c", b"")
                assert (await next_of(watch)).revision == revision


async def test_another_member_takes_over(tmp_path: Path) -> None:
    """One of two known members dies, then hangs: reads, watches and leases go on elsewhere."""
    with running_together(tmp_path, 3) as (first, second, _third):
        async with connected(first, second) as coordinator:
            lease = await coordinator.grant(60)
            start = await coordinator.put("w/a", b"1")
            await coordinator.keep_alive(lease.lease_id)
            async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
                await coordinator.put("w/a", b"2")
                await next_of(watch)

                first.stop()
                assert (await coordinator.get("w/a", timeout_s=10)).kv is not None
                revision = await coordinator.put("w/a", b"3", timeout_s=10)
                assert (await next_of(watch)).revision == revision
                assert await coordinator.keep_alive(lease.lease_id) == 60

                first.start()
                second.pause()
                # The first try may have gone to the member that hangs, and may say so.
                with suppress(OutcomeUnknown):
                    await coordinator.put("w/a", b"4", timeout_s=2)
                assert (await coordinator.get("w/a", timeout_s=10)).kv is not None
                last = await coordinator.put("w/a", b"5", timeout_s=10)
                while (await next_of(watch)).revision < last:
                    pass
                second.resume()


async def test_a_full_server_says_so(tmp_path: Path) -> None:
    """Writes are refused for certain; reads, leases and compaction go on."""
    options = (f"--quota-backend-bytes={4 * MIB}",)
    with running(EtcdServer(directory=tmp_path / "etcd", options=options)) as server:
        async with connected(server) as coordinator:
            lease = await coordinator.grant(60)
            await coordinator.put("small", b"v")
            with suppress(CoordinatorFull):
                for number in range(16):
                    await coordinator.put(f"large/{number}", bytes(MIB - 100))
            with pytest.raises(CoordinatorFull):
                await coordinator.put("small", b"w")
            found = await coordinator.get("small")
            assert found.kv is not None
            assert found.kv.value == b"v"
            assert await coordinator.keep_alive(lease.lease_id) == 60
            await coordinator.compact(found.revision)


async def test_both_ends_prove_who_they_are(tmp_path: Path) -> None:
    """A client with the right certificate is served; others are told that they are not trusted."""
    authority, stranger = Authority("ours"), Authority("theirs")
    options = authority.server_options(tmp_path)
    server = EtcdServer(directory=tmp_path / "etcd", options=options, scheme="https")
    with running(server):
        async with connected(server, tls=authority.client("control")) as coordinator:
            revision = await coordinator.put("k", b"v")
            async with aclosing(coordinator.watch("k")) as watch:
                assert (await next_of(watch)).revision == revision
        theirs = stranger.client("control")
        for tls in (
            theirs,  # does not trust the server
            EtcdTls(  # is not trusted by it
                authority=authority.pem,
                certificate=theirs.certificate,
                private_key=theirs.private_key,
            ),
            EtcdTls(authority=authority.pem),  # shows nothing
        ):
            async with connected(server, tls=tls) as coordinator:
                with pytest.raises(CoordinatorRefused, match="trust"):
                    await coordinator.put("k", b"w", timeout_s=2)
        async with connected(server) as coordinator:  # talks in plain text
            with pytest.raises(CoordinatorUnavailable):
                await coordinator.put("k", b"w", timeout_s=1)
        assert "PRIVATE KEY" not in repr(theirs)


async def test_an_exchanged_server_is_not_believed(tmp_path: Path) -> None:
    """Another cluster under the same address: calls and watches say that it is not the one."""
    with running(EtcdServer(directory=tmp_path / "etcd")) as server:
        async with connected(server) as coordinator:
            await coordinator.put("w/a", b"1")
            start = await coordinator.put("w/a", b"2")
            name = await coordinator.cluster_id()
            async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
                server.stop()
                rmtree(server.directory / "data")
                server.cluster = f"other={server.peer_url}"
                server.name = "other"
                server.options = ("--initial-cluster-token=other",)
                server.start()
                with pytest.raises(RolledBack):
                    await coordinator.get("w/a")
                with pytest.raises(RolledBack):
                    await next_of(watch)
            async with connected(server) as other:
                await other.put("w/b", b"3")
                assert await other.cluster_id() != name
            # Whoever has proof looks at it, and takes it for the right one from then on.
            found = (await coordinator.peek("w/b")).kv
            assert found is not None
            assert found.value == b"3"
            with pytest.raises(RolledBack):
                await coordinator.get("w/b")
            coordinator.accept()
            assert (await coordinator.get("w/b")).kv == found
            assert await coordinator.cluster_id() != name
            async with aclosing(coordinator.watch("w/")) as watch:
                batch = await next_of(watch)
                assert isinstance(batch, Resync)
                assert batch.listing.kvs == (found,)


async def test_a_server_restored_from_a_copy_is_not_believed(tmp_path: Path) -> None:
    """The same cluster at a lower revision than was seen."""
    with running(EtcdServer(directory=tmp_path / "etcd")) as server:
        async with connected(server) as coordinator:
            await coordinator.put("w/a", b"1")
            server.stop()
            (server.directory / "data").rename(server.directory / "copy")
            copytree(server.directory / "copy", server.directory / "data")
            server.start()
            await coordinator.put("w/a", b"2")
            start = await coordinator.put("w/a", b"3")
            async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
                server.stop()
                rmtree(server.directory / "data")
                (server.directory / "copy").rename(server.directory / "data")
                server.start()
                with pytest.raises(RolledBack):
                    await coordinator.get("w/a")
                with pytest.raises(RolledBack):
                    await next_of(watch)


@pytest.mark.parametrize("is_empty", [True, False])
async def test_a_server_that_has_grown_since_is_not_believed(
    tmp_path: Path, *, is_empty: bool
) -> None:
    """Its revisions are as high as those that were seen, and its past is another one."""
    with running(EtcdServer(directory=tmp_path / "etcd")) as server:
        async with connected(server) as coordinator:
            await coordinator.put("w/a", b"1")
            server.stop()
            copytree(server.directory / "data", server.directory / "copy")
            server.start()
            await coordinator.put("w/a", b"2")
            async with aclosing(coordinator.watch("w/")) as watch:
                seen = await next_of(watch)
                server.stop()
                rmtree(server.directory / "data")
                if not is_empty:
                    (server.directory / "copy").rename(server.directory / "data")
                aside = EtcdServer(directory=server.directory, peer_port=server.peer_port)
                with running(aside):
                    async with connected(aside) as other:
                        while await other.put("w/a", b"3") <= seen.revision + 5:
                            pass
                server.start()
                with pytest.raises(RolledBack, match="another one"):
                    await next_of(watch)


async def test_restarts_leave_no_gap_and_no_repeat(tmp_path: Path) -> None:
    """Under writes and kills a watch reports exactly what etcd's own history holds."""
    random = Random(4)
    with running(EtcdServer(directory=tmp_path / "etcd")) as server:
        async with connected(server) as coordinator:
            start = await coordinator.put("w/a", b"")
            seen: list[WatchBatch] = []
            async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
                for _ in range(4):
                    writing = asyncio.gather(
                        *(
                            coordinator.put(f"w/{number}", b"", timeout_s=5)
                            for number in range(200)
                        ),
                        return_exceptions=True,
                    )
                    await asyncio.sleep(random.uniform(0, 0.15))
                    server.stop()
                    server.start()
                    await writing
                last = await coordinator.put("w/z", b"")
                while not seen or seen[-1].revision < last:
                    seen.append(await next_of(watch))
            async with aclosing(coordinator.watch("w/", after_revision=start)) as again:
                assert seen == [await next_of(again) for _ in seen]
            assert len(seen) > 4


async def test_it_runs_on_uvloop_and_only_where_it_is_used(tmp_path: Path) -> None:
    """The daemon's loop is uvloop; without etcd nobody waits for grpc to be imported."""
    with running(EtcdServer(directory=tmp_path / "etcd")) as server:
        script = f"""
import sys, uvloop
import dstore.daemon, dstore.topology.embedded, dstore.topology.leadership
assert not {{"grpc", "aetcd"}} & set(sys.modules)
from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.topology.etcd import EtcdCoordinator

async def main():
    etcd = EtcdCoordinator(
        ["{server.address}"], tls=None, clock=SystemClock(), entropy=SystemEntropy()
    )
    watch = etcd.watch("k")
    lease = await etcd.grant(60)
    await anext(watch)
    await etcd.put("k", b"v", lease_id=lease.lease_id)
    print((await anext(watch)).events[0].kv.value, await etcd.keep_alive(lease.lease_id))
    await etcd.close()

uvloop.run(main())
"""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=PIPE, stderr=PIPE, cwd=Path(__file__).parents[3]
        )
        said, complained = await process.communicate()
        assert (said, complained) == (b"b'v' 60\n", b"")


async def test_nobody_there(tmp_path: Path) -> None:
    """A server that never was: reads and writes fail in time, and certainly did nothing."""
    async with connected(EtcdServer(directory=tmp_path / "none")) as coordinator:
        for call in (
            coordinator.get("k", timeout_s=0.5),
            coordinator.put("k", b"", timeout_s=0.5),
            coordinator.grant(5, timeout_s=0.5),
            coordinator.keep_alive(LeaseId(1), timeout_s=0.5),
        ):
            assert await took_s(call, CoordinatorUnavailable) < ASKED_S_MAX
