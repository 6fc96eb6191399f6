"""The coordinator's process, and the product's `Coordinator` port to it over the network.

Behind it is the product's own `EmbeddedCoordinator`. On the way there, calls and answers are
delayed and lost as everything is; a write whose answer is lost raises `OutcomeUnknown`, applied or
not. A watch is a stream that breaks and is taken up again from its position.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from dstore.base.limits import COORDINATOR_TIMEOUT_S
from dstore.topology.coordinator import (
    NO_LEASE,
    CoordinatorError,
    CoordinatorUnavailable,
    OutcomeUnknown,
    WatchBatch,
)
from dstore.topology.embedded import EmbeddedCoordinator

if TYPE_CHECKING:
    from random import Random

    from dstore.topology.coordinator import (
        Found,
        Lease,
        LeaseId,
        Listing,
        Removed,
        Revision,
        Transaction,
        TransactionResult,
    )
    from tests.simulation.machines import Process
    from tests.simulation.network import Network
    from tests.simulation.trace import Trace

MACHINE: Final = "coordinator"
_BEAT_S: Final = 2.0
_SILENCE_S_MAX: Final = 6.0
_REFUSED_S: Final = (0.001, 0.05)
_TAKE_UP_S: Final = (0.05, 0.5)

Tamper = Callable[[str, str, tuple[Any, ...]], bool]
"""Told (machine that asks, method, its positional arguments); True loses the message."""


class Coordination:
    """The server side: one for the whole simulation, its state in memory."""

    def __init__(self, network: Network, *, random: Random, trace: Trace) -> None:
        """Prepare; its machine runs `program`."""
        self.network = network
        self.random = random
        self.trace = trace
        self.process: Process | None = None
        self.loses_request: Tamper = _never
        self.loses_reply: Tamper = _never
        self.watches: list[SimWatch] = []
        self.started = asyncio.Event()
        """Set from when it answers."""
        self._embedded: EmbeddedCoordinator | None = None

    @property
    def embedded(self) -> EmbeddedCoordinator:
        """The coordinator itself, for faults and checkers; its calls never wait."""
        assert self._embedded is not None, "the coordinator has not started"
        return self._embedded

    async def program(self, process: Process) -> None:
        """Serve until the end of the simulation; killing it would lose what etcd never loses."""
        self._embedded = await EmbeddedCoordinator.open(
            None, clock=process.clock, entropy=process.entropy, on_failure=process.fatal
        )
        self.process = process
        self.started.set()
        await asyncio.get_running_loop().create_future()

    def heal(self) -> None:
        """Lose no message on purpose any more."""
        self.loses_request = self.loses_reply = _never

    async def compact(self) -> None:
        """Forget all history but the newest revision: a watch that is behind finds a gap."""
        listing = await self.embedded.list("")
        await self.embedded.compact(listing.revision)
        self.trace.event("coordinator_compacted")

    def cut_watches(self) -> None:
        """Break every stream; each is taken up again from where it was."""
        self.trace.event("watches_cut")
        for watch in list(self.watches):
            watch.broken()

    async def end_lease_of(self, key: str) -> None:
        """End the lease under which a key stands, for no reason at all (B14)."""
        found = await self.embedded.get(key)
        if found.kv is not None and found.kv.lease_id != NO_LEASE:
            self.trace.event("lease_ended", key)
            await self.embedded.revoke(found.kv.lease_id)

    def client(self, process: Process) -> SimCoordinator:
        """Make a process's `Coordinator`."""
        return SimCoordinator(self, process)


class SimCoordinator:
    """A `Coordinator`: what one process sees of it."""

    def __init__(self, server: Coordination, process: Process) -> None:
        """Ask as `process`; see `Coordination.client`."""
        self.server = server
        self.process = process
        self._watches: list[SimWatch] = []
        self._is_closed = False

    async def get(
        self,
        key: str,
        *,
        revision: Revision | None = None,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Found:
        found: Found = await self._ask("get", key, timeout_s=timeout_s, revision=revision)
        return found

    async def peek(self, key: str, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Found:
        return await self.get(key, timeout_s=timeout_s)

    def accept(self) -> None:
        """Do nothing: it is the only one there ever is."""

    async def list(
        self,
        prefix: str,
        *,
        revision: Revision | None = None,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Listing:
        listing: Listing = await self._ask("list", prefix, timeout_s=timeout_s, revision=revision)
        return listing

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        lease_id: LeaseId = NO_LEASE,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Revision:
        revision: Revision = await self._write(
            "put", key, value, timeout_s=timeout_s, lease_id=lease_id
        )
        return revision

    async def delete(self, key: str, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Removed:
        removed: Removed = await self._write("delete", key, timeout_s=timeout_s)
        return removed

    async def commit(
        self, transaction: Transaction, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> TransactionResult:
        result: TransactionResult = await self._write("commit", transaction, timeout_s=timeout_s)
        return result

    async def grant(self, ttl_s: int, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Lease:
        lease: Lease = await self._ask("grant", ttl_s, timeout_s=timeout_s)
        return lease

    async def keep_alive(
        self, lease_id: LeaseId, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> int:
        ttl_s: int = await self._ask("keep_alive", lease_id, timeout_s=timeout_s)
        return ttl_s

    async def revoke(self, lease_id: LeaseId, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> None:
        await self._write("revoke", lease_id, timeout_s=timeout_s)

    def watch(self, prefix: str, *, after_revision: Revision | None = None) -> SimWatch:
        watch = SimWatch(self, prefix, after_revision=after_revision)
        self._watches.append(watch)
        return watch

    async def compact(
        self, revision: Revision, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> None:
        await self._ask("compact", revision, timeout_s=timeout_s)

    async def cluster_id(self, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> str:
        name: str = await self._ask("cluster_id", timeout_s=timeout_s)
        return name

    async def close(self) -> None:
        self._is_closed = True
        for watch in self._watches:
            await watch.aclose()

    # ------------------------------------------------------------------------------- on the wire

    async def _write(self, method: str, *args: Any, timeout_s: float, **named: Any) -> Any:
        return await self._exchange(method, args, named, timeout_s=timeout_s, late=OutcomeUnknown)

    async def _ask(self, method: str, *args: Any, timeout_s: float, **named: Any) -> Any:
        late = CoordinatorUnavailable
        return await self._exchange(method, args, named, timeout_s=timeout_s, late=late)

    async def _exchange(
        self,
        method: str,
        args: tuple[Any, ...],
        named: dict[str, Any],
        *,
        timeout_s: float,
        late: type[CoordinatorError],
    ) -> Any:
        server, me = self.server, self.process.name
        loop = asyncio.get_running_loop()
        if not self.process.is_alive:
            await loop.create_future()
        if self._is_closed:
            raise CoordinatorUnavailable("The coordinator is closed.")
        if not server.network.is_open(me, MACHINE) and server.random.random() < 0.5:
            await asyncio.sleep(server.random.uniform(*_REFUSED_S))
            raise CoordinatorUnavailable("The coordinator can't be reached.")
        answer: asyncio.Future[Any] = loop.create_future()
        timer = loop.call_later(timeout_s, _expire, answer, late)
        if not server.loses_request(me, method, args):
            server.network.send(me, MACHINE, self._arrive, method, args, named, answer)
        else:
            server.trace.event("coordinator_request_lost", f"{me} {method}")
        try:
            return await answer
        finally:
            timer.cancel()

    def _arrive(
        self,
        method: str,
        args: tuple[Any, ...],
        named: dict[str, Any],
        answer: asyncio.Future[Any],
    ) -> None:
        process = self.server.process
        if process is not None and process.is_alive:
            self.server.trace.note(f"{self.process.name}>{MACHINE} {method}")
            process.call_soon(self._begin, process, (method, args, named, answer))

    def _begin(self, process: Process, asked: tuple[Any, ...]) -> None:
        process.spawn(self._answer(*asked), name=asked[0])

    async def _answer(
        self, method: str, args: tuple[Any, ...], named: dict[str, Any], answer: Any
    ) -> None:  # fmt: skip
        """Do what was asked, in the coordinator's process, and send back what came of it."""
        server, error, result = self.server, None, None
        try:
            result = await getattr(server.embedded, method)(*args, **named)
        except CoordinatorError as failure:
            error = failure
        if server.loses_reply(self.process.name, method, args):
            server.trace.event("coordinator_reply_lost", f"{self.process.name} {method}")
            return
        server.network.send(MACHINE, self.process.name, _settle, answer, result, error)


class SimWatch:
    """A `Watch`: a stream from the coordinator, taken up again whenever it breaks."""

    def __init__(
        self, client: SimCoordinator, prefix: str, *, after_revision: Revision | None
    ) -> None:
        """Stand after a revision, or before everything (None)."""
        self._client = client
        self._server = client.server
        self._process = client.process
        self._prefix = prefix
        self._position = after_revision
        self._heard_at_ns = self._process.clock.monotonic_ns()
        self._batches: deque[WatchBatch | CoordinatorError] = deque()
        self._woken = asyncio.Event()
        self._broken = asyncio.Event()
        self._stream = 0  # the number of the stream that is listened to
        self._arrives_at_s = 0.0
        self._is_closed = False
        self._server.watches.append(self)
        self._process.on_death(self._forget)
        self._keeping = self._process.spawn(self._keep(), name="sim_watch")

    @property
    def heard_at_ns(self) -> int:
        """When the coordinator last gave a sign of life on this watch."""
        return self._heard_at_ns

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        while not self._batches:
            if self._is_closed:
                raise StopAsyncIteration
            self._woken.clear()
            await self._woken.wait()
        batch = self._batches.popleft()
        if isinstance(batch, CoordinatorError):
            raise batch
        return batch

    async def aclose(self) -> None:
        if not self._is_closed:
            self._forget()
            self._woken.set()
            self._keeping.cancel()

    def broken(self) -> None:
        """Break the stream."""
        self._stream += 1
        self._process.call_soon(self._broken.set)

    def _forget(self) -> None:
        self._is_closed = True
        self._stream += 1
        if self in self._server.watches:
            self._server.watches.remove(self)

    async def _keep(self) -> NoReturn:
        """Take the stream up again whenever it is broken, or silent for too long."""
        random = self._server.random
        while True:
            self._broken.clear()
            self._stream += 1
            self._server.network.send(
                self._process.name, MACHINE, self._arrive, self._stream, self._position
            )
            opened_ns = self._process.clock.monotonic_ns()
            while not self._broken.is_set():
                try:
                    async with asyncio.timeout(_BEAT_S):
                        await self._broken.wait()
                except TimeoutError:
                    heard_ns = max(opened_ns, self._heard_at_ns)
                    if self._process.clock.monotonic_ns() - heard_ns > _SILENCE_S_MAX * 1e9:
                        break
            await asyncio.sleep(random.uniform(*_TAKE_UP_S))

    # ---------------------------------------------------------------------- in the coordinator

    def _arrive(self, stream: int, position: Revision | None) -> None:
        process = self._server.process
        if process is not None and stream == self._stream:
            process.call_soon(self._begin, process, stream, position)

    def _begin(self, process: Process, stream: int, position: Revision | None) -> None:
        process.spawn(self._pump(stream, position), name="sim_watch_pump")

    async def _pump(self, stream: int, position: Revision | None) -> None:
        watch = self._server.embedded.watch(self._prefix, after_revision=position)
        try:
            while stream == self._stream:
                batch: WatchBatch | CoordinatorError | None = None
                try:
                    async with asyncio.timeout(_BEAT_S):
                        batch = await anext(watch)
                except TimeoutError:
                    pass
                except CoordinatorError as error:
                    batch = error
                self._send(stream, batch)
                if isinstance(batch, CoordinatorError):
                    return
        except StopAsyncIteration:
            pass
        finally:
            await watch.aclose()

    def _send(self, stream: int, batch: WatchBatch | CoordinatorError | None) -> None:
        """Send a batch, or a sign of life, behind what was sent before it."""
        network, loop = self._server.network, asyncio.get_running_loop()
        arrives_at_s = loop.time() + network.draw_delay_s(MACHINE, self._process.name)
        self._arrives_at_s = max(self._arrives_at_s + 1e-6, arrives_at_s)
        loop.call_at(self._arrives_at_s, self._deliver, stream, batch)

    def _deliver(self, stream: int, batch: WatchBatch | CoordinatorError | None) -> None:
        if stream != self._stream:
            return
        if not self._server.network.is_open(MACHINE, self._process.name):
            self._stream += 1  # nothing behind the gap may arrive; its reader will notice
            return
        self._process.call_soon(self._take, stream, batch)

    def _take(self, stream: int, batch: WatchBatch | CoordinatorError | None) -> None:
        """Give a batch to the reader, in its process."""
        if stream != self._stream:
            return
        self._heard_at_ns = self._process.clock.monotonic_ns()
        if batch is None:
            return
        if not isinstance(batch, CoordinatorError):
            self._position = batch.revision
        self._server.trace.note(
            f"{MACHINE}>{self._process.name} {type(batch).__name__} {self._prefix}"
        )
        self._batches.append(batch)
        self._woken.set()


def _expire(answer: asyncio.Future[Any], late: type[CoordinatorError]) -> None:
    if not answer.done():
        answer.set_exception(late("The coordinator did not answer in time."))


def _settle(
    answer: asyncio.Future[Any], result: object, error: CoordinatorError | None
) -> None:  # fmt: skip
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


def _never(_source: str, _method: str, _args: tuple[Any, ...]) -> bool:
    return False
