"""A component in the same process: the same calls, by reference, with nothing encoded.

What differs from a connection is only what a connection adds: nothing is lost on the way. Roles,
deadlines, bounds and errors are the same; the contract suite holds both to that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, TypeVar, cast

import msgspec

from dstore.base.clock import NS_PER_S, Clock
from dstore.base.futures import into
from dstore.base.limits import PEER_CALLS_MAX, PEER_DEADLINE_S_MAX, RETRY_AFTER_MS
from dstore.base.logging import get_logger
from dstore.base.tasks import Tasks
from dstore.model.errors import DStoreError, Unavailable, UnavailableKind
from dstore.replication.peers.calls import Method, Methods
from dstore.replication.peers.errors import failure, unreachable
from dstore.replication.peers.port import PeerRequest, Received
from dstore.security.identity import Identity

_log: Final = get_logger(__name__)

_FAILED: Final = "failed while it answered; its log says why"

Reply = TypeVar("Reply", bound=msgspec.Struct)


class DirectPeer:
    """A `Peer` that is a set of handlers in this process."""

    def __init__(
        self,
        methods: Methods,
        *,
        caller: Identity,
        clock: Clock,
        calls_max: int = PEER_CALLS_MAX,
    ) -> None:
        """Prepare.

        Args:
            methods: what is answered.
            caller: as whom this process calls.
            clock: for deadlines.
            calls_max: under way at a time.
        """
        self._methods = methods
        self._caller = caller
        self._clock = clock
        self._calls_max = calls_max
        self._tasks = Tasks(_never)
        self._under_way: set[asyncio.Future[Any]] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._is_closed = False

    async def call(
        self, request: PeerRequest[Reply], *, deadline_s: float, request_id: str = ""
    ) -> Reply:
        """Call the other component; see `port.Peer`."""
        assert 0 < deadline_s <= PEER_DEADLINE_S_MAX, deadline_s
        if self._is_closed:
            raise unreachable("is not called from here any more")
        method = self._methods.of(request, self._caller.role)
        if len(self._under_way) >= self._calls_max:
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                "A component of the cluster has as many calls at hand as it takes; retry.",
                retry_after_ms=RETRY_AFTER_MS,
            )
        deadline_ns = self._clock.monotonic_ns() + int(deadline_s * NS_PER_S)
        received = Received(self._caller, deadline_ns, request_id)
        try:
            outcome = method.handler(request, received)
            if type(outcome) is method.reply:
                return cast("Reply", outcome)  # as its request says
            reply = await self._outcome(method, outcome, deadline_s)
        except DStoreError:
            raise
        except Exception as error:
            _log.error("peer_call_failed", call=method.name, exc_info=error)
            raise failure(_FAILED, is_safe=method.is_safe) from error
        return cast("Reply", reply)

    async def close(self) -> None:
        """End; calls under way fail, and their work is cancelled. Safe to call twice."""
        self._is_closed = True
        for waiter in tuple(self._waiters):
            _wake(waiter, waiter)
        await self._tasks.close()

    async def _outcome(self, method: Method, outcome: Any, deadline_s: float) -> Any:
        """Wait for a reply without ever cancelling the work on it."""
        if isinstance(outcome, asyncio.Future):
            future: asyncio.Future[Any] = outcome
        else:
            assert isinstance(outcome, Coroutine), type(outcome)
            future = asyncio.get_running_loop().create_future()
            self._tasks.spawn(into(future, outcome), name=method.name)
        waiter = self._waiter_of(future)
        timer = waiter.get_loop().call_later(deadline_s, _wake, waiter, future)
        try:
            await waiter  # and not the future: a caller that is cancelled must not cancel the work
        finally:
            timer.cancel()
            self._waiters.discard(waiter)
        if self._is_closed and not future.done():
            raise failure("is not called from here any more", is_safe=method.is_safe)
        if not future.done():
            raise failure("did not answer in time", is_safe=method.is_safe)
        if future.cancelled():
            raise failure(_FAILED, is_safe=method.is_safe)
        reply = future.result()
        assert type(reply) is method.reply, type(reply)
        return reply

    def _waiter_of(self, future: asyncio.Future[Any]) -> asyncio.Future[None]:
        """Count a call as under way until its work ends, and make what its caller waits for."""
        waiter: asyncio.Future[None] = future.get_loop().create_future()
        self._waiters.add(waiter)
        self._under_way.add(future)
        future.add_done_callback(self._ended)
        future.add_done_callback(partial(_wake, waiter))
        return waiter

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self._under_way.discard(future)
        if not future.cancelled():
            future.exception()  # seen, even if the caller has gone


def _wake(waiter: asyncio.Future[None], _future: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _never(error: BaseException) -> None:
    """Take the failure of a critical task; there is none here."""
    raise AssertionError from error
