"""Calls of nodes: each goes where its range is by the view, and once more where that does no harm.

What certainly was not done is asked again within PROXY_CALL_TIMEOUT_S, as soon as the view shows
the range elsewhere, and otherwise after a pause: so a failover is hidden from clients. What may
have been done is asked again only if it carries the name of its request (I9), since then it is done
once however often it is asked for; from then on nothing but an answer says how it went.

How many wait is bounded, and so is what hangs at one node: clients of all other ranges find room.
"""

from __future__ import annotations

from asyncio import Future, Timeout, get_running_loop, timeout
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from dstore.base.clock import NS_PER_S
from dstore.base.limits import (
    MOVE_WAIT_S,
    NODE_CALLS_STUCK_MAX,
    NODE_STUCK_S,
    PROXY_CALL_TIMEOUT_S,
    PROXY_RETRY_AFTER_MS,
    PROXY_RETRY_S_MAX,
    PROXY_RETRY_S_MIN,
    PROXY_WAITING_MAX,
)
from dstore.model.errors import NotMine, Unavailable, UnavailableKind, Unknown
from dstore.model.ranges import RangeRef
from dstore.service.proxy.paces import Paces, Size
from dstore.service.proxy.races import Race

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.metrics import Metrics
    from dstore.base.tasks import Tasks
    from dstore.replication.peers.port import PeerRequest
    from dstore.service.peer_pool import PeerPool
    from dstore.service.proxy.range_news import RangeNews

Reply = TypeVar("Reply", bound=msgspec.Struct)

_DEADLINE_S_MIN: Final = 0.02  # below it an answer could not be waited for
_STUCK_NS: Final = int(NODE_STUCK_S * NS_PER_S)
# What passes by itself: the range is on its way, or its node is, or enough of its replicas are.
_PASSING: Final = frozenset(
    {
        UnavailableKind.MOVED,
        UnavailableKind.UNREACHABLE,
        UnavailableKind.LOCKED,
        UnavailableKind.DRAINING,
    }
)


class Doing(Enum):
    """What a call does, and so whether it may be made again when it may have been done."""

    READING = "reading"  # it changes nothing
    ONCE = "once"  # it writes, once however often it is asked for (I9)
    WRITING = "writing"  # it writes, each time


class NodeCall:
    """One call and its repetitions; a `range_news.Listener`."""

    __slots__ = ("began_ns", "doing", "of_any", "ref", "request", "until", "waiter")

    def __init__(
        self, ref: RangeRef, request: Any, *, doing: Doing, of_any: Size | None, began_ns: int
    ) -> None:
        """Begin at the range as its caller knows it; `of_any` replica unless it is None."""
        self.ref = ref
        self.request = request
        self.doing = doing
        self.of_any = of_any
        self.began_ns = began_ns
        self.until: Timeout | None = None  # of what can be asked elsewhere as well
        self.waiter: Future[None] | None = None

    def range_changed(self, newest: RangeRef | None) -> None:
        """Stop waiting, for the range to come back or for who had it to answer."""
        if newest is not None and _is_same_place(newest, self.ref):
            return
        if self.waiter is not None:
            if not self.waiter.done():
                self.waiter.set_result(None)
        elif self.until is not None:
            until, self.until = self.until, None
            # Whoever has split a range says in a moment that the write was not done: then it can be
            # asked of the part that has the key. A doubt nobody could end, the range being gone.
            is_awaited = newest is None and self.doing is Doing.ONCE
            until.reschedule(get_running_loop().time() + (MOVE_WAIT_S if is_awaited else 0.0))


class NodeCalls:
    """Calls nodes. Used from one event loop."""

    def __init__(
        self,
        peers: PeerPool,
        news: RangeNews,
        *,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
    ) -> None:
        """Call the nodes of `peers` about ranges that `news` finds.

        `tasks` own what is asked of a second node beside the first; `metrics` count.
        """
        self._peers = peers
        self._news = news
        self._clock = clock
        self._tasks = tasks
        self._metrics = metrics
        self._paces = Paces()
        self._at_nodes: dict[str | None, dict[NodeCall, int]] = {}  # since when they are asked
        self._waiting = 0
        metrics.proxy_waiting.set_function(lambda: self._waiting)

    def knows(self, node: str) -> bool:
        """Tell whether there is such a node; one that is away is there all the same."""
        return self._peers.knows(node)

    async def ask(
        self,
        ref: RangeRef,
        request: PeerRequest[Reply],
        *,
        doing: Doing = Doing.READING,
        of_any: Size | None = None,
    ) -> Reply:
        """Have the primary of a range answer, or any replica, within PROXY_CALL_TIMEOUT_S.

        Args:
            ref: the range as the caller knows it, in the epoch that `request` names.
            request: what to ask.
            doing: what it does there.
            of_any: how much is read, if any replica may answer: the primary is asked first, and
                another one too as soon as the primary is late.
        Raises: what the node raises. NotMine: there is no such range any more. Unavailable:
            certainly nothing was done. Unknown.
        """
        call = NodeCall(
            ref, request, doing=doing, of_any=of_any, began_ns=self._clock.monotonic_ns()
        )
        self._news.listen(ref.range_id, call)
        try:
            try:
                return cast("Reply", await self._attempt(call, PROXY_CALL_TIMEOUT_S))
            except (Unavailable, Unknown) as error:
                problem = error
            return cast("Reply", await self._made_again(call, problem))
        finally:
            self._news.leave(ref.range_id, call)

    async def ask_node(self, node: str, request: PeerRequest[Reply]) -> Reply:
        """Have a node answer what only reads and is of no range. Raises: as `ask`."""
        return await self.ask(RangeRef(range_id="", node=node), request)

    # ---------------------------------------------------------------------------------- one attempt

    async def _attempt(self, call: NodeCall, left_s: float) -> Any:
        if call.of_any is not None and call.ref.others:
            return await self._at_any(call, call.of_any, left_s)
        if call.doing is Doing.WRITING:
            return await self._asked(call, call.ref.node, left_s)
        try:
            async with timeout(None) as until:
                call.until = until
                return await self._asked(call, call.ref.node, left_s)
        except TimeoutError:
            raise _left(call) from None
        finally:
            call.until = None

    async def _at_any(self, call: NodeCall, size: Size, left_s: float) -> Any:
        """Ask one replica after the other; as soon as one is late the next one too."""
        race = Race(
            self._paces.order(call.ref, size, now_ns=self._clock.monotonic_ns()),
            lambda node: self._asked(call, node, left_s),
            size=size,
            paces=self._paces,
            clock=self._clock,
            tasks=self._tasks,
            metrics=self._metrics,
        )
        return await race.run()

    async def _asked(self, call: NodeCall, node: str | None, left_s: float) -> Any:
        """Ask a node. Raises: Unavailable (overloaded): too much hangs there already."""
        at_node, now_ns = self._at_nodes.get(node), self._clock.monotonic_ns()
        if at_node is None:
            at_node = self._at_nodes[node] = {}
        elif (
            len(at_node) >= NODE_CALLS_STUCK_MAX
            and now_ns - next(iter(at_node.values())) > _STUCK_NS
        ):
            self._metrics.proxy_refused.inc()
            raise _crowded("Too many requests hang at one node of the cluster; wait, then retry.")
        at_node[call] = now_ns
        try:
            return await self._peers.peer(node).call(call.request, deadline_s=left_s)
        finally:
            del at_node[call]
            if not at_node:
                del self._at_nodes[node]

    # --------------------------------------------------------------------------------- all attempts

    async def _made_again(self, call: NodeCall, problem: Unavailable | Unknown) -> Any:
        """Wait until it may help, and ask again, until there is an answer or no time is left."""
        if not _may_help(call, problem):
            raise problem
        if self._waiting >= PROXY_WAITING_MAX:
            self._metrics.proxy_refused.inc()
            raise _told(problem, None)
        self._waiting += 1
        try:
            return await self._persist(call, problem)
        finally:
            self._waiting -= 1

    async def _persist(self, call: NodeCall, problem: Unavailable | Unknown) -> Any:
        until_ns = call.began_ns + int(PROXY_CALL_TIMEOUT_S * NS_PER_S)
        doubt = problem if isinstance(problem, Unknown) else None
        first, pause_s = call.ref, PROXY_RETRY_S_MIN
        while True:
            is_ahead = isinstance(problem, NotMine) and problem.epoch > call.ref.epoch
            has_moved = await self._moved(call, MOVE_WAIT_S if is_ahead else pause_s, until_ns)
            pause_s = PROXY_RETRY_S_MIN if has_moved else min(2 * pause_s, PROXY_RETRY_S_MAX)
            left_s = (until_ns - self._clock.monotonic_ns()) / NS_PER_S
            if left_s < _DEADLINE_S_MIN:
                raise _told(problem, doubt)
            newest = self._news.newest(call.ref)
            if newest is None:
                raise doubt or NotMine(call.ref.range_id)
            if newest.epoch != call.ref.epoch:
                call.request = msgspec.structs.replace(call.request, epoch=newest.epoch)
            call.ref = newest
            self._metrics.proxy_retries.inc()
            try:
                reply = await self._attempt(call, left_s)
            except (Unavailable, Unknown) as error:
                problem = error
            else:
                if not _is_same_place(newest, first):
                    self._metrics.proxy_failovers_hidden.inc()
                return reply
            if isinstance(problem, Unknown):
                doubt = problem
            if not _may_help(call, problem):
                raise _told(problem, doubt)

    async def _moved(self, call: NodeCall, wait_s: float, until_ns: int) -> bool:
        """Wait until the view shows a call's range elsewhere, but not for long."""
        newest = self._news.newest(call.ref)
        if newest is None or not _is_same_place(newest, call.ref):
            return True
        left_s = (until_ns - self._clock.monotonic_ns()) / NS_PER_S
        waiter = call.waiter = get_running_loop().create_future()
        try:
            async with timeout(min(wait_s, max(left_s, 0.0))):
                await waiter
        except TimeoutError:
            return False
        finally:
            call.waiter = None
        return True


def _is_same_place(one: RangeRef, other: RangeRef) -> bool:
    return one.node == other.node and one.epoch == other.epoch


def _may_help(call: NodeCall, problem: Unavailable | Unknown) -> bool:
    """Tell whether to ask once more may help, and does no harm."""
    if isinstance(problem, Unknown):
        return call.doing is not Doing.WRITING
    return problem.kind in _PASSING


def _left(call: NodeCall) -> NotMine | Unknown:
    """Say that an answer was not waited for, since the range has gone elsewhere meanwhile."""
    if call.doing is Doing.READING:
        return NotMine(call.ref.range_id, call.ref.epoch)
    return Unknown(
        "The range has moved while the write was under way; read it to find out, or repeat the "
        "write with the same request id."
    )


def _told(problem: Unavailable | Unknown, doubt: Unknown | None) -> Unavailable | Unknown:
    """Give what the client hears: that nothing was done, only if that is so of all attempts.

    A range that is away is nothing that it could find by looking elsewhere.
    """
    if doubt is not None:
        return doubt
    if isinstance(problem, NotMine):
        return _crowded("The range of the entry is on its way; retry.", UnavailableKind.MOVED)
    return problem


def _crowded(message: str, kind: UnavailableKind = UnavailableKind.OVERLOADED) -> Unavailable:
    return Unavailable(kind, message, retry_after_ms=PROXY_RETRY_AFTER_MS)
