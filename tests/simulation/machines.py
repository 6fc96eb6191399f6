"""Machines, and the processes that live on them one after another.

A machine has a name, a clock and perhaps a disk. Its process is one life of a program: started,
paused, killed, started anew from what the disk has kept. Whatever a process begins, tasks, timers
and callbacks of futures, runs in its context, so the loop knows whose it is; a killed one is simply
never run again. No `finally` block runs, nothing is closed, nothing more leaves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tests.simulation.clocks import SimClock
from tests.simulation.loop import OWNER, SimLoop, State
from tests.support.entropy import SeededEntropy

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.disk import SimDisk
    from tests.simulation.trace import Trace

Result = TypeVar("Result")
Program = Callable[["Process"], Coroutine[Any, Any, None]]
"""A process's whole life, as `daemon` runs one: it wires things up, then serves until it is killed.
What it raises ends the process."""

_WORK_S: Final = (0.000_05, 0.002)  # of a piece of work in a thread: mostly a sync
_LONG_WORK_S: Final = (0.002, 0.2)
_LONG_WORK_CHANCE: Final = 0.02
_WORK_S_MAX: Final = 20.0  # however slow: what began in time is done before all must be healed
_LAST_BREATH_S: Final = 0.02  # between a fatal error and the end of its process


class Died(Exception):
    """The process ended before it had done what was asked of it; nobody knows how far it came."""


class Process:
    """One life of a program on a machine; the `Owner` of its callbacks."""

    def __init__(self, machine: Machine, *, life: int) -> None:
        """Begin as `life`, from 1; `Machine.start` makes processes."""
        self.machine = machine
        self.life = life
        self.state = State.RUNNING
        self.entropy = SeededEntropy(machine.random)
        self.failure: BaseException | None = None
        self.context = Context()
        self.context.run(OWNER.set, self)
        self._stash: list[asyncio.Handle] = []
        self._deaths: list[Callable[[], object]] = []

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.machine.name

    @property
    def clock(self) -> SimClock:
        """The machine's clock."""
        return self.machine.clock

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; it may be paused."""
        return self.state is not State.DEAD

    def spawn(self, work: Coroutine[Any, Any, Result], *, name: str) -> asyncio.Task[Result]:
        """Begin a task of this process, from outside of it too."""
        return self.machine.loop.create_task(work, name=name, context=self.context)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call something in this process; when it goes on, if it is paused."""
        self.machine.loop.call_soon(callback, *args, context=self.context)

    async def run(self, work: Coroutine[Any, Any, Result], *, name: str) -> Result:
        """Have some work done in this process, from outside. Raises: Died: the process ended."""
        waiter: asyncio.Future[None] = self.machine.loop.create_future()
        task = self.spawn(work, name=name)
        task.add_done_callback(lambda _: _wake(waiter))
        self.on_death(lambda: _wake(waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            task.add_done_callback(_pass_over)
            raise
        if not task.done():
            raise Died
        return task.result()

    def on_death(self, told: Callable[[], object]) -> None:
        """Call `told`, outside of the process, when it has ended."""
        self._deaths.append(told)

    def fatal(self, error: BaseException) -> None:
        """Let the process end because of `error`: what a program gives as its `on_fatal`."""
        if self.failure is None:
            self.failure = error
            self.machine.trace.event("process_fatal", f"{self.name} {type(error).__name__}")
            after_s = self.machine.random.uniform(0.0, _LAST_BREATH_S)
            self.machine.loop.call_later(after_s, self._end, context=Context())

    def stash(self, handle: asyncio.Handle) -> None:
        """Keep a callback while the process is paused."""
        self._stash.append(handle)

    def work_s(self) -> float:
        """Draw the duration of work in a thread."""
        random = self.machine.random
        usual_s = _LONG_WORK_S if random.random() < _LONG_WORK_CHANCE else _WORK_S
        return min(random.uniform(*usual_s) * self.machine.slowness, _WORK_S_MAX)

    def go_on(self) -> None:
        """Give back the callbacks that were kept, in their order."""
        stash, self._stash = self._stash, []
        for handle in stash:
            self.machine.loop.put_back(handle)

    def end(self) -> None:
        """Run nothing of this process any more."""
        self.state = State.DEAD
        self._stash.clear()
        deaths, self._deaths = self._deaths, []
        for told in deaths:
            told()

    def _end(self) -> None:
        if self.machine.process is self and self.is_alive:
            self.machine.kill()

    async def live(self, program: Program) -> None:
        """Run the program; its end, however it comes, ends the process."""
        try:
            await program(self)
        except Exception as error:  # noqa: BLE001 - it is kept for whoever asks
            self.failure = error
            self.machine.trace.event("process_failed", f"{self.name} {error!r}")
        self.machine.loop.call_soon(self._end, context=Context())


def _pass_over(task: asyncio.Task[Any]) -> None:
    """Take note of how work has ended that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Machine:
    """A place where processes run; its disk outlives them."""

    def __init__(
        self,
        name: str,
        program: Program,
        *,
        loop: SimLoop,
        random: Random,
        trace: Trace,
        disk: SimDisk | None = None,
    ) -> None:
        """Set it up, with nothing running on it."""
        self.name = name
        self.loop = loop
        self.random = random
        self.trace = trace
        self.disk = disk
        self.clock = SimClock(loop)
        self.slowness = 1.0  # of what its threads do, its disk's above all
        self.process: Process | None = None
        self.restarts_in_s: tuple[float, float] | None = None
        """When a process that has ended is followed by another one: between these; None: never."""
        self._program = program
        self._lives = 0
        if disk is not None:
            disk.on_cut = self._power_is_gone

    @property
    def is_up(self) -> bool:
        """Whether a process lives here; it may be paused."""
        return self.process is not None

    @property
    def is_running(self) -> bool:
        """Whether a process lives here and gets the processor."""
        return self.process is not None and self.process.state is State.RUNNING

    def start(self) -> Process:
        """Begin a new life from what the disk holds."""
        assert self.process is None, f"{self.name} runs already"
        if self.disk is not None and self._lives:
            self.disk.restart()
        self._lives += 1
        process = self.process = Process(self, life=self._lives)
        self.trace.note(f"start {self.name} {self._lives}")
        process.spawn(process.live(self._program), name=f"{self.name} {self._lives}")
        return process

    def ensure_up(self) -> None:
        """Start a process if there is none, and let a paused one go on."""
        if self.process is None:
            self.start()
        self.resume()

    def kill(self) -> None:
        """End the process as `kill -9` does: what it has written is the kernel's, synced or not."""
        self._end("kill")
        if self.disk is not None:
            self.disk.kill()

    def cut_power(self) -> None:
        """End the process, and lose or tear on the disk what was not synced."""
        self._end("power_cut")
        if self.disk is not None:
            self.disk.cut()

    def pause(self) -> None:
        """Stop the process where it is, as SIGSTOP does; its clocks run on."""
        assert self.process is not None
        self.process.state = State.PAUSED
        self.trace.event("pause", self.name)

    def resume(self) -> None:
        """Let a paused process go on; fine if it is not paused."""
        if self.process is not None and self.process.state is State.PAUSED:
            self.process.state = State.RUNNING
            self.trace.note(f"resume {self.name}")
            self.process.go_on()

    def _end(self, how: str) -> None:
        process, self.process = self.process, None
        if process is not None:
            self.loop.has_deaths = True
            self.trace.event(how, self.name)
            process.end()
            if self.restarts_in_s is not None:
                after_s = self.random.uniform(*self.restarts_in_s)
                self.loop.call_later(after_s, self.ensure_up, context=Context())

    def _power_is_gone(self) -> None:
        """Take note that the disk has lost its power in the middle of an operation."""
        self._end("power_cut")
