"""One stream on which all of a process's leases are kept alive.

etcd answers renewals in the order of their sending. If one is not answered in time the stream is
given up with all that wait on it, so that a late answer is never taken for that of a later renewal:
a lease would be believed to last longer than it does (RELIABILITY.md, B3).
"""

import asyncio
from collections import deque
from typing import Final

from aetcd import rpc

from dstore.base.tasks import Tasks
from dstore.topology.coordinator import (
    CoordinatorError,
    CoordinatorUnavailable,
    LeaseGone,
    LeaseId,
)
from dstore.topology.etcd_calls import EtcdCalls
from dstore.topology.etcd_wire import CallFailed, Endpoint, Stream, read, write

_WAITING_MAX: Final = 10_000  # renewals under way; far more than leases of one process


class EtcdKeepAlives:
    """Renews leases; opens its stream when it is needed."""

    __slots__ = ("_calls", "_line", "_opening", "_tasks")

    def __init__(self, calls: EtcdCalls, tasks: Tasks) -> None:
        """Use the servers of `calls`; `tasks` owns the reader of the stream."""
        self._calls = calls
        self._tasks = tasks
        self._line: _Line | None = None
        self._opening = asyncio.Lock()

    async def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """See `Coordinator.keep_alive`."""
        line: _Line | None = None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._opened(timeout_s)
                ttl_s = await line.renewed(lease_id)
        except TimeoutError:
            if line is not None:
                line.give_up(CoordinatorUnavailable("etcd did not renew a lease in time."))
                self._calls.leave(line.endpoint)
            raise CoordinatorUnavailable("etcd did not renew the lease in time.") from None
        if ttl_s <= 0:
            raise LeaseGone(f"There is no lease {lease_id:x}; it ended or never was.")
        return ttl_s

    def close(self) -> None:
        """End the stream; renewals under way fail."""
        if self._line is not None:
            self._line.give_up(CoordinatorUnavailable("The coordinator is closed."))

    async def _opened(self, timeout_s: float) -> "_Line":
        async with self._opening:
            if self._line is None or self._line.is_over:
                endpoint = await self._calls.endpoint(timeout_s)
                line = _Line(endpoint, self._calls)
                self._tasks.spawn(line.read(), name="etcd_keep_alives")
                self._line = line
            return self._line


class _Line:
    """One stream, from its opening to its end."""

    __slots__ = ("_calls", "_stream", "_waiting", "_writing", "endpoint", "is_over")

    def __init__(self, endpoint: Endpoint, calls: EtcdCalls) -> None:
        self.endpoint = endpoint
        self.is_over = False
        self._calls = calls
        self._stream: Stream = endpoint.open_keep_alive()
        # In the order of sending; a caller that gave up leaves its place taken.
        self._waiting: deque[tuple[LeaseId, asyncio.Future[int]]] = deque()
        self._writing = asyncio.Lock()

    async def renewed(self, lease_id: LeaseId) -> int:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with self._writing:
            if self.is_over or len(self._waiting) >= _WAITING_MAX:
                raise CoordinatorUnavailable("The stream of lease renewals is not open.")
            self._waiting.append((lease_id, answer))
            try:
                await write(self._stream, rpc.LeaseKeepAliveRequest(ID=lease_id))
            except CallFailed as failure:
                self.give_up(CoordinatorUnavailable(f"etcd can't be reached: {failure.reason}."))
            except asyncio.CancelledError:
                self.give_up(CoordinatorUnavailable("A lease's renewal was given up."))
                raise
        return await answer

    async def read(self) -> None:
        error: CoordinatorError = CoordinatorUnavailable("The stream of lease renewals ended.")
        try:
            while True:
                reply = await read(self._stream)
                self._calls.check_cluster(reply.header)
                lease_id, answer = self._waiting.popleft()
                if lease_id != reply.ID:
                    error = CoordinatorUnavailable("etcd renewed another lease than was asked for.")
                    self._fail(answer, error)
                    return
                if not answer.done():
                    answer.set_result(reply.TTL)
        except CallFailed as failure:
            error = CoordinatorUnavailable(f"etcd can't be reached: {failure.reason}.")
            self._calls.leave(self.endpoint)
        except CoordinatorError as rolled_back:
            error = rolled_back
        except IndexError:
            error = CoordinatorUnavailable("etcd renewed a lease that nobody asked for.")
        finally:
            self.give_up(error)

    def give_up(self, error: CoordinatorError) -> None:
        """End the stream and fail all that wait; safe to call twice."""
        self.is_over = True
        self._stream.cancel()
        while self._waiting:
            _, answer = self._waiting.popleft()
            self._fail(answer, error)

    def _fail(self, answer: asyncio.Future[int], error: CoordinatorError) -> None:
        if not answer.done():
            answer.set_exception(type(error)(error.message))
