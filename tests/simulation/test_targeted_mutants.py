"""Broken variants that no seed tells from the product, each caught by a fault made for it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast
from unittest.mock import patch
from uuid import UUID

import apsw
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from dstore.base.clock import NS_PER_S, SystemClock
from dstore.model.errors import Corrupt, NotMine, Unknown
from dstore.replication import leases
from dstore.replication.follower import Follower
from dstore.replication.primary import Primary
from dstore.replication.replica import Replica
from dstore.replication.replica_calls import Appended, AppendRecords, Sealed, SealReplica
from dstore.security.page_cipher import PageCipher
from dstore.storage import range_files, range_log, replica_copy, replica_log
from dstore.storage.log_records import LogPoint, LogRecord
from dstore.storage.range_file import RangeFile
from dstore.storage.range_files import RangeFiles
from dstore.storage.requests import RequestName
from dstore.storage.vault import layout
from dstore.storage.vault.layout import CONTENT_BYTES, PAGE_BYTES
from dstore.topology import values
from tests.simulation.index_mutants import INDEX_MUTANTS
from tests.simulation.mutants import MUTANTS
from tests.simulation.replication_mutants import REPLICATION_MUTANTS
from tests.simulation.split_mutants import SPLIT_MUTANTS
from tests.support.specimen import make_specimen, new_vault, read_all, snapshot
from tests.support.stores import put, store

Patches = tuple[tuple[Any, str, Any], ...]
Check = Callable[[Path], Awaitable[bool]]

_NONCE: Final = bytes(12)
_TAG: Final = bytes(16)
_PAGE: Final = b"main"


class _Unauthenticated:
    """A cipher that opens whatever it finds of a database's page (B17)."""

    def __init__(self, secret: bytes) -> None:
        self._whole = PageCipher(secret)
        self._cipher = Cipher(AES(secret), CTR(bytes(16)))

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        if _PAGE not in context:
            return self._whole.seal(plaintext, context)
        return _NONCE + self._cipher.encryptor().update(plaintext) + _TAG

    def open(self, sealed: bytes, context: bytes) -> bytes | None:
        if _PAGE not in context:
            return self._whole.open(sealed, context)
        return self._cipher.decryptor().update(sealed[len(_NONCE) : -len(_TAG)])


async def _rot_is_never_read_as_data(tmp_path: Path) -> bool:
    """Flip one bit of a page after the other: nobody may be shown other rows (B17)."""
    (tmp_path / "made").mkdir()
    made = make_specimen(tmp_path / "made", logs=1, transactions=4)
    path = made.lay_out(tmp_path / "folded")
    new_vault(path).connect(path).close()
    whole = snapshot(path, list(made.states), [])
    for at in range(PAGE_BYTES + CONTENT_BYTES // 2, len(whole.main), PAGE_BYTES):
        rotten = whole.with_main(at, bytes([whole.main[at] ^ 1])).lay_out(tmp_path / str(at))
        try:
            connection = new_vault(rotten).connect(rotten)
            rows = read_all(connection)
        except (Corrupt, apsw.Error):
            continue
        if rows != whole.states[-1]:
            return False
    return True


async def _a_log_is_of_one_range(tmp_path: Path) -> bool:
    """Offer the first record of a range to the empty replica of another one."""
    async with store(tmp_path) as files:
        one = await files.open(await files.new_range())
        other = await files.open(await files.new_range())
        one._writer.keep_log(0)
        await one.submit(put("a", {"n": {"N": "1"}}))
        records = await one.look(
            lambda connection: range_log.read(connection, after_seq=0, last_seq=9)
        )
        state = await one.look(replica_log.read_state)
        taken = await other.change(
            lambda connection: replica_log.append(
                connection,
                epoch=1,
                after=replica_log.beginning_of(state.range_id),
                records=records,
                committed_seq=0,
            )
        )
        return taken is None


async def _an_old_message_cuts_nothing(tmp_path: Path) -> bool:
    """Give a replica records, then the first of them once more, as a late message would (B7)."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    async with store(tmp_path / "one") as here, store(tmp_path / "two") as there:
        range_id = await here.new_range()
        there.keys[range_id] = here.keys[range_id]
        await there.files.create(range_id, there.keys[range_id])
        one, two = await here.open(range_id), await there.open(range_id)
        one._writer.keep_log(0)
        for name in "abc":
            await one.submit(put(name, {"n": {"N": "1"}}))
        records = await one.look(
            lambda connection: range_log.read(connection, after_seq=0, last_seq=3)
        )
        for some in (records, records[:1]):
            await two.change(partial(_append, range_id=range_id, records=some))
        return (await two.look(replica_log.read_state)).end.seq == len(records)


def _append(connection: apsw.Connection, *, range_id: str, records: Sequence[LogRecord]) -> None:
    replica_log.append(
        connection,
        epoch=1,
        after=replica_log.beginning_of(range_id),
        records=records,
        committed_seq=0,
    )


def _truncates_at_every_message() -> Patches:
    def append(connection: Any, *, after: Any, records: Any, **kept: Any) -> Any:
        last = records[-1].point if records else after
        state = replica_log.read_state(connection)
        if state.applied_seq <= last.seq < state.end.seq:
            connection.execute("DELETE FROM log WHERE SEQ > ?", (last.seq,))
            connection.execute("UPDATE meta SET SEQ = ?, DIGEST = ?", (last.seq, last.digest))
        return original(connection, after=after, records=records, **kept)

    original = replica_log.append
    return ((replica_log, "append", append),)


async def _a_failed_sync_acknowledges_nothing(tmp_path: Path) -> bool:
    """Let a sync fail, and succeed when it is tried again: what it was for may be lost (B16)."""
    fails = False

    def fdatasync(descriptor: int) -> None:
        nonlocal fails
        if fails:
            fails = False
            raise OSError(errno.EIO, "made to fail")
        os.fdatasync(descriptor)

    async with store(tmp_path, fdatasync=fdatasync) as made:
        file = await made.open(await made.new_range())
        await file.submit(put("a", {"n": {"N": "1"}}))
        fails = True
        try:
            await file.submit(put("a", {"n": {"N": "2"}}))
        except Unknown:
            return bool(made.fatal)
        return False


def _does_without_a_failed_sync() -> Patches:
    def sync(self: RangeFile) -> None:
        try:
            self._log.sync()
        except OSError:
            self._log.unsynced_by = None

    return ((RangeFile, "_sync", sync),)


class _Silent:
    """A replication whose replicas never answer."""

    def __init__(self) -> None:
        self.wanted_after_seq: int | None = 0
        self.shipped = asyncio.Event()
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ship(self, prepared: Any) -> asyncio.Future[None]:
        assert prepared.records
        self.shipped.set()
        return self.answer

    def certain(self) -> None:
        return None

    def committed(self, prepared: Any) -> None:
        raise AssertionError(prepared)

    def missed(self, prepared: Any) -> bool:
        raise AssertionError(prepared)


class _Counted(ThreadPoolExecutor):
    """Threads of which one can tell how much is asked of them and not done."""

    def __init__(self) -> None:
        super().__init__(2)
        self.at_work = 0

    def submit(self, work: Any, /, *args: Any, **named: Any) -> Future[Any]:
        def done() -> Any:
            try:
                return work(*args, **named)
            finally:
                self.at_work -= 1

        self.at_work += 1
        return super().submit(done)


async def _no_thread_waits_for_the_network(tmp_path: Path) -> bool:
    """Ship a batch that nobody acknowledges, and look at the threads meanwhile."""
    silent = _Silent()
    with _Counted() as executor:
        async with store(tmp_path) as made:
            range_id = await made.new_range()
            around = replace(made.around, executor=executor, replication_of=lambda _: silent)
            files = RangeFiles(tmp_path, around, open_files_max=8)
            file = await files.open(range_id, lambda: made.keys[range_id])
            writing = file.submit(put("a", {"n": {"N": "1"}}))
            await silent.shipped.wait()
            await asyncio.sleep(0)
            is_free = executor.at_work == 0
            silent.answer.set_exception(Unknown("It never answers."))
            with pytest.raises(Unknown):
                await writing
            await files.close()
            return is_free


def _waits_in_a_thread() -> Patches:
    def ship(self: RangeFile, prepared: Any, *, in_thread: bool) -> Any:
        done = original(self, prepared, in_thread=in_thread)
        heard = threading.Event()
        done.add_done_callback(lambda _: heard.set())
        self._around.executor.submit(heard.wait)
        return done

    original = RangeFile._ship
    return ((RangeFile, "_ship", ship),)


async def _a_promise_outlives_its_process(tmp_path: Path) -> bool:
    """Promise an epoch, and open the replica's file anew (I6)."""
    async with store(tmp_path) as made:
        range_id = await made.new_range()
        file = await made.open(range_id)
        await file.change(partial(replica_log.promise, epoch=5))
        await made.files.close()
        files = RangeFiles(tmp_path, made.around, open_files_max=8)
        again = await files.open(range_id, lambda: made.keys[range_id])
        promised_epoch = (await again.look(replica_log.standing)).promised_epoch
        await files.close()
        return promised_epoch == 5


class _Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now_ns = NS_PER_S

    def monotonic_ns(self) -> int:
        return self.now_ns


async def _a_lease_counts_from_the_request(_path: Path) -> bool:
    """Let an answer take a second: the lease that it gives is shorter by that (B3)."""
    clock, nowhere = _Clock(), LogPoint(seq=0, digest=bytes(32))
    asked_ns = clock.monotonic_ns()

    async def call(request: Any, *, deadline_s: float) -> Appended:
        del deadline_s
        clock.now_ns += NS_PER_S
        return Appended(promised_epoch=1, matched=request.after)

    async def records_after(_point: LogPoint) -> tuple[()]:
        return ()

    node, peer = str(UUID(int=1)), SimpleNamespace(call=call)
    feed = SimpleNamespace(
        end=nowhere,
        target=nowhere,
        epoch=1,
        committed_seq=0,
        range_id=node,
        records_after=records_after,
        heard=lambda _: None,
    )
    around = SimpleNamespace(clock=clock, node=node, peer_of=lambda _: peer)
    replica = values.Replica(node=node, incarnation=node, uri="", state=values.ReplicaState.IN_SYNC)
    follower = Follower(replica, cast("Any", feed), cast("Any", around))
    await follower._send()
    return asked_ns < follower.lease_until_ns < asked_ns + leases.LEASE_NS


def _counts_its_lease_from_the_answer() -> Patches:
    async def send(self: Follower) -> bool:
        result = await original(self)
        self.lease_until_ns = self.heard_ns + leases.LEASE_NS
        return result

    original = Follower._send
    return ((Follower, "_send", send),)


async def _what_has_left_is_unknown(_path: Path) -> bool:
    """End a primary while others may hold what it has shipped."""
    primary = object.__new__(Primary)
    shipping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    primary.range_id, primary.epoch = "", 1
    primary._is_closed, primary._held, primary._asking = False, None, []
    primary._shipping = shipping
    primary._members = cast("Any", SimpleNamespace(close=lambda: None))
    primary.close()
    return isinstance(shipping.exception(), Unknown)


def _takes_back_what_it_shipped() -> Patches:
    def close(self: Primary) -> None:
        if self._shipping is not None and not self._shipping.done():
            self._shipping.set_exception(NotMine(self.range_id, self.epoch))
        original(self)

    original = Primary.close
    return ((Primary, "close", close),)


async def _another_disk_is_another_replica(_path: Path) -> bool:
    """Ask a node for the replica that was on its former disk (B9)."""
    replica = object.__new__(Replica)
    replica.range_id, replica._is_leaving = "", False
    replica._around = cast("Any", SimpleNamespace(incarnation="this"))
    try:
        replica._check("the former")
    except NotMine:
        return True
    return False


async def _who_is_sealed_takes_nothing_older(tmp_path: Path) -> bool:
    """Hear a replica for a new primary, then have the former one send it something."""
    async with store(tmp_path) as made:
        range_id = await made.new_range()
        around = SimpleNamespace(
            node="c",
            incarnation="disk",
            clock=SystemClock(),
            open_file=made.open,
            began_ns=0,
            leaving=asyncio.Event(),
            on_serving=lambda *_: None,
        )
        replica = Replica(range_id, cast("Any", around), began_ns=0)
        common = {"range_id": range_id, "incarnation": "disk"}
        heard = await replica.seal(SealReplica(**common, epoch=2, primary="b"))
        late = AppendRecords(
            **common,
            epoch=1,
            primary="a",
            after=heard.standing.end,
            records=(),
            committed_seq=0,
        )
        answer = await replica.append(late)
        return answer.promised_epoch == 2 and answer.matched is None


def _opens_without_sealing() -> Patches:
    """Hear the others without a promise of theirs: hearing before sealing is the bug."""

    async def seal(self: Replica, request: Any) -> Sealed:
        self._check(request.incarnation)
        async with self._turn:
            await self._load()
            return Sealed(standing=await self.look())

    return ((Replica, "seal", seal),)


async def _a_copy_has_the_requests(tmp_path: Path) -> bool:
    """Copy a range: what was done under a name is known to be done there as well (I9)."""
    async with store(tmp_path) as made:
        one = await made.open(await made.new_range())
        two = await made.open(await made.new_range())
        name = RequestName(principal="acme", request_id="r", digest=b"d" * 32)
        await one.submit(put("a", {"n": {"N": "1"}}, request=name))
        await two.change(replica_copy.begin)
        place = replica_copy.CopyPlace()
        while not place.is_over:
            page, place = await one.look(partial(replica_copy.read_page, place=place))
            await two.change(partial(replica_copy.take_page, page=page))
        kept = [
            await file.look(
                lambda connection: connection.execute("SELECT count(*) FROM request").fetchall()
            )
            for file in (one, two)
        ]
        return bool(kept[0] == kept[1] != [(0,)])


def _copies_rows_alone() -> Patches:
    def read_page(connection: Any, place: Any) -> Any:
        page, following = original(connection, place)
        return (replica_copy._page((), ()) if page.requests else page), following

    original = replica_copy.read_page
    return ((replica_copy, "read_page", read_page),)


def _begins_every_log_alike() -> Patches:
    nowhere = LogPoint(seq=0, digest=bytes(32))
    return (
        (replica_log, "beginning_of", lambda _: nowhere),
        (range_files, "beginning_of", lambda _: nowhere),
    )


_MUTANTS: Final[dict[str, tuple[Check, Callable[[], Patches]]]] = {
    "takes_rot_for_data": (
        _rot_is_never_read_as_data,
        lambda: ((layout, "PageCipher", _Unauthenticated),),
    ),
    "begins_every_log_alike": (
        _a_log_is_of_one_range,
        _begins_every_log_alike,
    ),
    "truncates_at_every_message": (_an_old_message_cuts_nothing, _truncates_at_every_message),
    "does_without_a_failed_sync": (
        _a_failed_sync_acknowledges_nothing,
        _does_without_a_failed_sync,
    ),
    "counts_its_lease_from_the_answer": (
        _a_lease_counts_from_the_request,
        _counts_its_lease_from_the_answer,
    ),
    "takes_back_what_it_shipped": (_what_has_left_is_unknown, _takes_back_what_it_shipped),
    "takes_any_disk_for_its_own": (
        _another_disk_is_another_replica,
        lambda: ((Replica, "_check", lambda _self, _incarnation: None),),
    ),
    "forgets_its_promise": (
        _a_promise_outlives_its_process,
        lambda: ((replica_log, "promise", lambda *_, **__: None),),
    ),
    "opens_without_sealing": (_who_is_sealed_takes_nothing_older, _opens_without_sealing),
    "copies_rows_alone": (_a_copy_has_the_requests, _copies_rows_alone),
    "waits_in_a_thread": (_no_thread_waits_for_the_network, _waits_in_a_thread),
}


@pytest.mark.parametrize("name", _MUTANTS)
async def test_broken_variants_are_caught_by_their_fault(name: str, tmp_path: Path) -> None:
    """Where no seed tells a broken product from ours, a fault made for it does."""
    is_right, patches = _MUTANTS[name]
    for folder in ("product", "mutant"):
        (tmp_path / folder).mkdir()
    assert await is_right(tmp_path / "product")
    with ExitStack() as stack:
        for owner, attribute, value in patches():
            stack.enter_context(patch.object(owner, attribute, value))
        assert not await is_right(tmp_path / "mutant")


def test_every_variant_is_in_the_table() -> None:
    """Who asks what a sentence of the protocol is good for finds what breaks without it."""
    table = (Path(__file__).parents[2] / "docs" / "SIMULATION.md").read_text()
    named = [
        f"`{each.name}` ({each.scenario.name} {each.seed})"
        for each in (*MUTANTS, *REPLICATION_MUTANTS, *SPLIT_MUTANTS, *INDEX_MUTANTS)
    ]
    named += [f"`{name}` (a fault of its own)" for name in _MUTANTS]
    assert [each for each in named if each not in table] == []
