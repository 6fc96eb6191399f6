"""One read, asked of replicas one after the other until one has answered; the first answer counts.

The next replica is asked as soon as one fails, or is late for its pace. Who is asked already may
answer still; when one has, the others are not waited for.
"""

from __future__ import annotations

from asyncio import Future, Task, Timeout, TimerHandle, get_running_loop, timeout
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from dstore.base.clock import NS_PER_S
from dstore.model.errors import Corrupt, DStoreError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.base.clock import Clock
    from dstore.base.metrics import Metrics
    from dstore.base.tasks import Tasks
    from dstore.service.proxy.paces import Pace, Paces, Size

Ask = Callable[[str | None], Awaitable[Any]]


class Race:
    """A read among replicas. Used once, from one event loop."""

    def __init__(
        self,
        nodes: Sequence[str | None],
        ask: Ask,
        *,
        size: Size,
        paces: Paces,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
    ) -> None:
        """Prepare.

        Args:
            nodes: whom to ask, at least one, in this order.
            ask: asks a node; within a time of its own.
            size: what is read.
            paces: of nodes.
            clock: for paces.
            tasks: own what is asked of the second and of the others.
            metrics: count.
        """
        self._rest = list(nodes)
        self._ask = ask
        self._size = size
        self._paces = paces
        self._clock = clock
        self._tasks = tasks
        self._metrics = metrics
        self._until: Timeout | None = None  # of the one that is asked by the caller's own task
        self._others: set[Task[None]] = set()
        self._timers: list[TimerHandle] = []
        self._answer: Any = None
        self._ended: Future[None] | None = None

    async def run(self) -> Any:
        """Ask. Raises: Unavailable, Corrupt: what was wrong at the first, if nobody has answered.

        Whatever else is wrong is the read's own fault, and the same everywhere.
        """
        problem: Unavailable | Corrupt | None = None
        try:
            while self._rest or self._others:
                if self._others:
                    await self._until_others_end()
                    if self._answer is not None:
                        return self._answer
                    continue
                try:
                    return await self._first(self._rest.pop(0))
                except (Unavailable, Corrupt) as error:
                    problem = problem or error
            assert problem is not None
            raise problem
        finally:
            for timer in self._timers:
                timer.cancel()
            for task in self._others:
                task.cancel()

    async def _first(self, node: str | None) -> Any:
        """Ask a node in the caller's own task, which costs the least."""
        pace, began_ns = self._watched(node)
        try:
            async with timeout(None) as until:
                self._until = until
                reply = await self._ask(node)
        except TimeoutError:
            return self._answer  # another one's
        finally:
            self._until = None
        pace.answered((self._clock.monotonic_ns() - began_ns) / NS_PER_S)
        return reply

    async def _beside(self, node: str | None) -> None:
        """Ask a node beside those that have not answered."""
        pace, began_ns = self._watched(node)
        try:
            reply = await self._ask(node)
        except DStoreError:  # what is wrong with the read itself the first one says as well
            if self._rest and self._answer is None:
                self._begin_next()
            return
        pace.answered((self._clock.monotonic_ns() - began_ns) / NS_PER_S)
        if self._answer is None:
            self._answer = reply
            self._metrics.proxy_hedges_won.inc()
            until, self._until = self._until, None
            if until is not None:
                until.reschedule(get_running_loop().time())

    def _watched(self, node: str | None) -> tuple[Pace, int]:
        """Hear when a node is late."""
        pace = self._paces.of(node, self._size)
        if self._rest:
            self._watch(pace)
        return pace, self._clock.monotonic_ns()

    def _watch(self, pace: Pace) -> None:
        timer = get_running_loop().call_later(pace.late_s, self._late, pace)
        self._timers.append(timer)

    def _late(self, pace: Pace) -> None:
        pace.missed(self._clock.monotonic_ns())
        if not self._rest or self._answer is not None:
            return
        if self._paces.may_race():
            self._metrics.proxy_hedges.inc()
            self._begin_next()
        else:
            self._watch(pace)

    def _begin_next(self) -> None:
        task = self._tasks.spawn(self._beside(self._rest.pop(0)), name="ask_replica")
        self._others.add(task)
        task.add_done_callback(self._other_ended)

    def _other_ended(self, task: Task[None]) -> None:
        self._others.discard(task)
        ended = self._ended
        if (
            ended is not None
            and not ended.done()
            and (self._answer is not None or not self._others)
        ):
            ended.set_result(None)

    async def _until_others_end(self) -> None:
        """Wait until one has answered, or all have failed; whom the caller asked has failed."""
        if self._answer is None:
            self._ended = get_running_loop().create_future()
            await self._ended
