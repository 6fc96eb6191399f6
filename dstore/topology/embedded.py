"""The coordinator inside this process: for all-roles mode, the tests and the simulator.

The state is in memory (`embedded_versions.py`) and, given a path, in a SQLite file that every write
reaches before anybody sees it (`embedded_file.py`). As with etcd, a restart keeps keys, revisions
and leases, and lets every lease's seconds begin anew.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

from dstore.base.clock import Clock
from dstore.base.entropy import Entropy
from dstore.base.limits import COORDINATOR_TIMEOUT_S, EMBEDDED_WRITES_WAITING_MAX
from dstore.base.logging import get_logger
from dstore.base.tasks import Tasks
from dstore.topology.coordinator import (
    NO_LEASE,
    CoordinatorError,
    CoordinatorUnavailable,
    Delete,
    Found,
    Lease,
    LeaseId,
    Listing,
    OutcomeUnknown,
    Put,
    Removed,
    Revision,
    Transaction,
    TransactionResult,
)
from dstore.topology.coordinator_bounds import (
    check_key,
    check_put,
    check_transaction,
    check_ttl,
)
from dstore.topology.embedded_file import Change, EmbeddedFile, Sealer, Snapshot, open_file
from dstore.topology.embedded_leases import Leases
from dstore.topology.embedded_versions import FIRST_REVISION, Versions
from dstore.topology.embedded_watch import EmbeddedWatch

_log: Final = get_logger(__name__)

_IDLE_S: Final = 3_600.0  # between two looks at the leases when there is none
_RETRY_S: Final = 0.01  # between two looks at the least; etcd looks every 0.5 s

Result = TypeVar("Result")
# What a write answers, and what makes it durable; evaluated when its turn has come.
_Write = Callable[[], tuple[Result, Change | None]]


class EmbeddedCoordinator:
    """A `Coordinator` without a server; make one with `open`, within a running loop."""

    __slots__ = (
        "_clock",
        "_cluster_id",
        "_entropy",
        "_file",
        "_is_closed",
        "_lease_granted",
        "_leases",
        "_tasks",
        "_turn",
        "_versions",
        "_watches",
        "_writes",
        "_writing",
    )

    def __init__(
        self,
        stored: Snapshot,
        *,
        file: EmbeddedFile | None,
        clock: Clock,
        entropy: Entropy,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Take over a loaded state; see `open`."""
        self._versions = Versions(revision=stored.revision, kvs=stored.kvs)
        self._file = file
        self._cluster_id = stored.cluster_id
        self._clock = clock
        self._entropy = entropy
        self._leases = Leases(clock)
        for lease_id, ttl_s in stored.leases.items():
            self._leases.add(lease_id, ttl_s)
        for kv in stored.kvs:
            self._leases.adopt(kv.key, kv.lease_id)
        self._watches: set[EmbeddedWatch] = set()
        self._turn = asyncio.Lock()
        self._writes = 0  # that wait for their turn, or have it
        self._lease_granted = asyncio.Event()
        self._tasks = Tasks(on_failure)
        self._writing = Tasks(on_failure)  # never cancelled: a write that has begun ends
        self._is_closed = False

    @classmethod
    async def open(
        cls,
        path: Path | None,
        *,
        clock: Clock,
        entropy: Entropy,
        on_failure: Callable[[BaseException], None],
        sealer: Sealer | None = None,
        is_private: bool = False,
    ) -> Self:
        """Open a coordinator: in memory only without a path.

        Args:
            path: of its file, made if there is none; its folder exists.
            clock: the leases' time.
            entropy: names leases and a new cluster.
            on_failure: is told if leases can no longer be ended: the process has to stop.
            sealer: encrypts what is stored; the same for the life of the file.
            is_private: whether only this process ever holds leases here: then those of an earlier
                life ended with it, and their time is not waited for.
        Raises: CoordinatorUnavailable: another process has the file. Corrupt: it is damaged.
            CoordinatorFull: there is no room to end leases of an earlier life.
        """
        cluster_id = entropy.token(8).hex()
        stored = Snapshot(cluster_id=cluster_id, revision=FIRST_REVISION, kvs=(), leases={})
        file = None
        if path is not None:
            file = await open_file(path, sealer=sealer)
            try:
                stored = await file.load(new=stored)
            except BaseException:
                await file.close()
                raise
        self = cls(stored, file=file, clock=clock, entropy=entropy, on_failure=on_failure)
        self._tasks.spawn(self._end_leases(), name="embedded_leases", critical=True)
        try:
            for lease_id in stored.leases if is_private else ():
                await self.revoke(lease_id)
        except BaseException:
            await self.close()
            raise
        return self

    async def get(
        self,
        key: str,
        *,
        revision: Revision | None = None,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Found:
        """See `Coordinator.get`."""
        check_key(key)
        await self._settle(timeout_s)
        return Found(kv=self._versions.get(key, revision), revision=self._versions.revision)

    async def list(
        self,
        prefix: str,
        *,
        revision: Revision | None = None,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Listing:
        """See `Coordinator.list`."""
        await self._settle(timeout_s)
        return self._versions.list(prefix, revision)

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        lease_id: LeaseId = NO_LEASE,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Revision:
        """See `Coordinator.put`."""
        check_put(key, value)
        put = Transaction(then=(Put(key=key, value=value, lease_id=lease_id),))
        return (await self._commit(put, timeout_s)).revision

    async def delete(self, key: str, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Removed:
        """See `Coordinator.delete`."""
        check_key(key)
        result = await self._commit(Transaction(then=(Delete(key=key),)), timeout_s)
        (removed,) = result.responses
        assert isinstance(removed, Removed)
        return removed

    async def commit(
        self, transaction: Transaction, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> TransactionResult:
        """See `Coordinator.commit`."""
        check_transaction(transaction)
        return await self._commit(transaction, timeout_s)

    async def grant(self, ttl_s: int, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Lease:
        """See `Coordinator.grant`."""
        check_ttl(ttl_s)
        await self._settle(timeout_s)
        lease_id = LeaseId(int.from_bytes(self._entropy.token(7), "big") + 1)

        def granted() -> tuple[Lease, Change]:
            self._leases.check_room()
            return Lease(lease_id=lease_id, ttl_s=ttl_s), Change(granted={lease_id: ttl_s})

        return await self._write(granted, timeout_s)

    async def keep_alive(
        self, lease_id: LeaseId, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> int:
        """See `Coordinator.keep_alive`."""
        await self._settle(timeout_s)
        return self._leases.renew(lease_id)

    async def revoke(self, lease_id: LeaseId, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> None:
        """See `Coordinator.revoke`."""
        await self._settle(timeout_s)
        await self._write(partial(self._ended, lease_id), timeout_s)

    def watch(self, prefix: str, *, after_revision: Revision | None = None) -> EmbeddedWatch:
        """See `Coordinator.watch`."""
        self._check_open()
        watch = EmbeddedWatch(
            self._versions,
            prefix,
            after_revision=after_revision,
            clock=self._clock,
            forget=self._watches.discard,
        )
        self._watches.add(watch)
        return watch

    async def compact(
        self, revision: Revision, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> None:
        """See `Coordinator.compact`."""
        await self._settle(timeout_s)
        self._versions.compact(revision)

    async def cluster_id(self, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> str:
        """See `Coordinator.cluster_id`."""
        await self._settle(timeout_s)
        return self._cluster_id

    async def peek(self, key: str, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Found:
        """See `Coordinator.peek`."""
        return await self.get(key, timeout_s=timeout_s)

    def accept(self) -> None:
        """See `Coordinator.accept`; nobody compares anything here."""

    async def close(self) -> None:
        """See `Coordinator.close`; a write that has begun ends first."""
        if self._is_closed:
            return
        self._is_closed = True
        for watch in tuple(self._watches):
            await watch.aclose()
        await self._tasks.close()
        await self._writing.drain()
        if self._file is not None:
            await self._file.close()

    # ------------------------------------------------------------------------------ writing

    async def _commit(self, transaction: Transaction, timeout_s: float) -> TransactionResult:
        await self._settle(timeout_s)

        def planned() -> tuple[TransactionResult, Change | None]:
            plan = self._versions.plan(transaction, self._leases)
            return plan.result, Change(events=plan.changes) if plan.changes else None

        return await self._write(planned, timeout_s)

    async def _write(self, write: _Write[Result], timeout_s: float) -> Result:
        """Do a write in its turn; what has begun ends, whatever becomes of the caller."""
        self._check_open()
        if self._file is None:
            return self._install(*write())  # nothing waits, so nothing comes between
        if self._writes >= EMBEDDED_WRITES_WAITING_MAX:
            raise CoordinatorUnavailable("Too many writes wait for the coordinator's disk.")
        self._writes += 1
        task = self._writing.spawn(self._in_turn(self._file, write), name="embedded_write")
        task.add_done_callback(self._written)
        try:
            async with asyncio.timeout(timeout_s):
                outcome = await asyncio.shield(task)
        except TimeoutError:
            raise OutcomeUnknown("The coordinator's disk did not answer in time.") from None
        if isinstance(outcome, CoordinatorError):
            raise outcome
        return outcome

    async def _in_turn(
        self, file: EmbeddedFile, write: _Write[Result]
    ) -> Result | CoordinatorError:
        async with self._turn:
            try:
                self._check_open()
                result, change = write()
                if change is not None:
                    await file.write(change)
            except CoordinatorError as error:
                return error
            return self._install(result, change)

    def _written(self, _task: asyncio.Task[object]) -> None:
        self._writes -= 1

    def _install(self, result: Result, change: Change | None) -> Result:
        if change is None:
            return result
        if change.ended is not None:
            self._leases.end(change.ended)
        for lease_id, ttl_s in (change.granted or {}).items():
            self._leases.add(lease_id, ttl_s)
            self._lease_granted.set()
        if change.events is not None:
            self._leases.move(change.events, self._versions)
            self._versions.install(change.events)
            for watch in self._watches:
                watch.wake()
        return result

    # ------------------------------------------------------------------------------- leases

    def _ended(self, lease_id: LeaseId, *, if_due: bool = False) -> tuple[None, Change | None]:
        keys = self._leases.keys_of(lease_id)
        if keys is None or (if_due and not self._leases.is_due(lease_id)):
            return None, None
        return None, Change(events=self._versions.plan_deletes(keys).changes, ended=lease_id)

    async def _settle(self, timeout_s: float) -> None:
        """End the leases whose time is over, so that no call sees what stood under them."""
        self._check_open()
        for lease_id in self._leases.due():
            try:
                await self._write(partial(self._ended, lease_id, if_due=True), timeout_s)
            except CoordinatorError as error:
                raise CoordinatorUnavailable("An ended lease can't be taken away.") from error

    async def _end_leases(self) -> None:
        while True:
            self._lease_granted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max(self._leases.wait_s(), _RETRY_S), _IDLE_S)):
                    await self._lease_granted.wait()
            try:
                await self._settle(COORDINATOR_TIMEOUT_S)
            except CoordinatorUnavailable as error:
                _log.warning("embedded_lease_not_ended", exc_info=error)

    def _check_open(self) -> None:
        if self._is_closed:
            raise CoordinatorUnavailable("The coordinator is closed.")
