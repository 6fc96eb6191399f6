"""Virtual time: an asyncio event loop that never waits.

When nothing is ready, the clock jumps to the next timer. Which of the tasks that are ready runs
first is drawn from the seed; plain callbacks keep their order, which transports rely on. Everything
of asyncio that needs a socket, a signal or a child process is missing here, and fails loudly.

Callbacks belong to the process in whose context they were made (`OWNER`). Those of a process that
was killed are dropped unseen, those of one that is paused wait until it goes on.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from collections import deque
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor
    from random import Random

STEPS_AT_ONCE_MAX: Final = 100_000  # callbacks within one instant: beyond it somebody spins
_KEPT_TASKS_MIN: Final = 256
_CANCELLED_TIMERS_MIN: Final = 100


class State(Enum):
    """Whether a process gets the processor."""

    RUNNING = auto()
    PAUSED = auto()
    DEAD = auto()


class Owner(Protocol):
    """Whose callbacks they are."""

    state: State

    def stash(self, handle: asyncio.Handle) -> None:
        """Keep a callback for when the process goes on."""

    def work_s(self) -> float:
        """Draw how long a piece of work in a thread takes, in virtual seconds."""


OWNER: Final[ContextVar[Owner | None]] = ContextVar("owner", default=None)


class Deadlock(AssertionError):
    """Nothing is scheduled: whoever waits would wait for ever."""


class Livelock(AssertionError):
    """Callbacks follow each other without end, and no time passes."""


class Overrun(AssertionError):
    """The world is still at work when it should have ended long ago."""


class _Handle(asyncio.Handle):
    """A callback; asyncio's own asks the loop for its debug mode at each step of a life."""

    __slots__ = ()
    _repr = _source_traceback = None

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None  # type: ignore[assignment] # as the base does


class _Timer(asyncio.TimerHandle):
    """A callback of a later time."""

    __slots__ = ()
    _repr = _source_traceback = None

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._when = when
        self._scheduled = True
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = False

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._callback = self._args = None  # type: ignore[assignment] # as the base does
            if self._scheduled:
                self._loop._timer_cancelled_count += 1  # type: ignore[attr-defined]


class SimLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time; `steps` counts the callbacks that ran."""

    _ready: deque[Any]  # of handles, whose slots asyncio's types don't name
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self, random: Random) -> None:
        """Begin at 0 s; `random` is for the order of tasks alone."""
        super().__init__()
        self._random = random
        self._now_s = 0.0
        self._clock_resolution = 1e-9
        # (time, number, timer): the base's heap compares timers, which takes much of a seed's time.
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_number = 0
        self._numbers: dict[asyncio.Task[Any], int] = {}
        self._next_number = 0
        self._prune_at = _KEPT_TASKS_MIN
        self.steps = 0
        self._steps_at_jump = 0
        self.failures: list[str] = []
        self._free_at_s: WeakKeyDictionary[Executor, float] = WeakKeyDictionary()
        self.has_deaths = False
        self.ends_at_s = float("inf")
        self.set_task_factory(self._new_task)
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        """Tell the virtual time, in seconds."""
        return self._now_s

    def pending_tasks(self) -> list[asyncio.Task[Any]]:
        """List the tasks that have not ended, oldest first; those of dead processes too."""
        return [task for task in self._numbers if not task.done()]

    def put_back(self, handle: asyncio.Handle) -> None:
        """Run a callback now that was kept back."""
        self._ready.append(handle)

    # ------------------------------------------------------------------------------- one round

    def _run_once(self) -> None:
        """Do round after round until the loop is stopped: the base's loop around this one idles."""
        ready = self._ready
        while True:
            if not ready:
                self._jump()
            self._take_due()
            for handle in [ready.popleft()] if len(ready) == 1 else self._in_drawn_order():
                if handle._cancelled:
                    continue
                context: Context = handle._context
                owner = context.get(OWNER)
                if owner is not None and owner.state is not State.RUNNING:
                    if owner.state is State.PAUSED:
                        owner.stash(handle)
                    continue
                self.steps += 1
                try:
                    context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001 - as the base's handles do
                    self._note_failure(
                        self,
                        {
                            "message": f"Exception in callback {handle._callback!r}",
                            "exception": error,
                            "handle": handle,
                        },
                    )
            if self.steps - self._steps_at_jump > STEPS_AT_ONCE_MAX:
                raise Livelock(f"{STEPS_AT_ONCE_MAX} callbacks at {self._now_s:.6f} s")
            if self._stopping:
                return

    def _jump(self) -> None:
        """Go to the time of the next timer that is still wanted."""
        if self._timer_cancelled_count >= _CANCELLED_TIMERS_MIN:
            self._forget_cancelled()
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)[2]._scheduled = False  # type: ignore[attr-defined]
            self._timer_cancelled_count -= 1
        if not timers:
            raise Deadlock(f"nothing is scheduled after {self._now_s:.6f} s")
        if timers[0][0] > self._now_s:
            self._now_s = timers[0][0]
            self._steps_at_jump = self.steps
        if self._now_s > self.ends_at_s:
            raise Overrun(f"at work after {self.ends_at_s:.0f} s")

    def _take_due(self) -> None:
        timers, now_s, ready = self._timers, self._now_s, self._ready
        while timers and timers[0][0] <= now_s:
            handle = heapq.heappop(timers)[2]
            handle._scheduled = False  # type: ignore[attr-defined]
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                ready.append(handle)

    def _forget_cancelled(self) -> None:
        if self._timer_cancelled_count * 2 < len(self._timers):
            return
        kept = []
        for timer in self._timers:
            if timer[2]._cancelled:
                timer[2]._scheduled = False  # type: ignore[attr-defined]
            else:
                kept.append(timer)
        heapq.heapify(kept)
        self._timers = kept
        self._timer_cancelled_count = 0

    def call_later(  # type: ignore[override] # typed by use
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something after so many seconds."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override] # as above
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something at a time of this loop; of two at one time, the older one first."""
        timer = _Timer(when, callback, args, self, context)
        self._timer_number += 1
        heapq.heappush(self._timers, (when, self._timer_number, timer))
        return timer

    def call_soon(  # type: ignore[override] # as above
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call something in the next round."""
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _in_drawn_order(self) -> list[Any]:
        """Take what is ready; deal the steps of tasks anew among their places.

        They are sorted by age first, so that the iteration of a set of tasks, whose order is the
        memory's, leaves no trace.
        """
        handles = list(self._ready)
        self._ready.clear()
        places, steps, numbers = [], [], self._numbers
        for place, handle in enumerate(handles):
            task = getattr(handle._callback, "__self__", None)
            if type(task) is asyncio.Task:
                places.append(place)
                steps.append((numbers[task], place, handle))
        if len(steps) > 1:
            steps.sort()
            self._random.shuffle(steps)
            for place, (_, _, handle) in zip(places, steps, strict=True):
                handles[place] = handle
        return handles

    # ------------------------------------------------------------------------------- tasks

    def _new_task(
        self, loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """Make a task and hold it, so that no dead process's task is ever unwound by the collector.

        Unwinding runs `finally` blocks, which a killed process does not.
        """
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
        self._next_number += 1
        self._numbers[task] = self._next_number
        if len(self._numbers) > self._prune_at:
            self._numbers = {t: number for t, number in self._numbers.items() if not t.done()}
            self._prune_at = max(_KEPT_TASKS_MIN, 2 * len(self._numbers))
        return task

    def _note_failure(self, _loop: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        """Note what nobody has caught: it fails the seed, unless a dead process left it behind.

        Of a neglected future nobody knows whose it was, so after a death it tells nothing.
        """
        handle = told.get("handle")
        owner: Owner | None = None if handle is None else handle._context.get(OWNER)
        if owner is not None and owner.state is State.DEAD:
            return
        if handle is None and self.has_deaths:
            return
        self.failures.append(f"{told.get('message')}: {told.get('exception')!r}")

    def discard(self) -> None:
        """Throw everything away, unheard; nothing that was alive here does anything any more."""
        self.set_exception_handler(lambda _loop, _told: None)
        # A file that is let go of only now finds its disk without power; nobody can be told.
        hook, sys.unraisablehook = sys.unraisablehook, lambda _told: None
        try:
            for task in self.pending_tasks():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _unwind(task.get_coro())
            self._numbers.clear()
            self._ready.clear()
            self._timers.clear()
            self.close()
        finally:
            sys.unraisablehook = hook

    # ------------------------------------------------------------------------------- the rest

    def run_in_executor(  # type: ignore[override] # a future, as the base's, but typed by use
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Do a thread's work here, at once, when the virtual time that it takes is over.

        A pool of a single thread does one piece after the other, those that nobody waits for too.
        """
        future = self.create_future()
        owner = OWNER.get()
        at_s, after_s = self.time(), 0.0 if owner is None else owner.work_s()
        if executor is not None and getattr(executor, "_max_workers", 0) == 1:
            at_s = max(at_s, self._free_at_s.get(executor, 0.0))
            self._free_at_s[executor] = at_s + after_s
        self.call_at(at_s + after_s, _work, executor, func, args, future)
        return future

    def _process_events(self, event_list: Any) -> None:
        """Do nothing: there are no file descriptors."""

    def _write_to_self(self) -> None:
        """Do nothing: nobody wakes this loop from a thread."""

    async def getaddrinfo(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse to leave the simulation."""
        raise AssertionError("a simulated process looks up a real address")


def _work(
    executor: Executor | None,
    func: Callable[..., Any],
    args: tuple[Any, ...],
    future: asyncio.Future[Any],
) -> None:
    """Run a thread's work; a pool that takes on nothing any more says so itself."""
    if getattr(executor, "is_halted", False):
        assert executor is not None
        error = executor.submit(func, *args).exception()
        if not future.done():
            future.set_exception(error or AssertionError("a halted pool has worked"))
        return
    try:
        result = func(*args)
    except StopIteration as error:
        # As asyncio does it: a future can't hold it.
        result_error: BaseException | None = RuntimeError(repr(error))
        result = None
    except Exception as error:  # noqa: BLE001 - it is the waiter's
        result, result_error = None, error
    else:
        result_error = None
    if future.done():  # cancelled meanwhile
        return
    if result_error is None:
        future.set_result(result)
    else:
        future.set_exception(result_error)


def _unwind(work: Coroutine[Any, Any, Any] | Any) -> None:
    """Close a coroutine, whatever it says about that."""
    with suppress(BaseException):  # it is dead
        work.close()
