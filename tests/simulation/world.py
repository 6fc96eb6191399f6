"""One seed's world: virtual time, machines, a network, a coordinator, and what came of it."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from random import Random
from typing import TYPE_CHECKING, Any, Final, Self

import apsw
import structlog

from dstore.base.logging import LogLevel, configure
from dstore.base.metrics import create_metrics
from tests.simulation.coordination import MACHINE as COORDINATOR
from tests.simulation.coordination import Coordination
from tests.simulation.disk import SimDisk
from tests.simulation.loop import OWNER, SimLoop
from tests.simulation.machines import Machine, Program
from tests.simulation.network import Network
from tests.simulation.peers import Switchboard
from tests.simulation.trace import Trace
from tests.simulation.traps import trapped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, MutableMapping

LIMIT_S: Final = 3_600.0  # of virtual time: a world that is still at work then hangs


class World:
    """Everything that a seed decides. Use it as a context manager; `run` once inside."""

    def __init__(self, seed: int, *, keeps_trace: bool = False) -> None:
        """Make an empty world; `keeps_trace` keeps every line of the trace."""
        self.seed = seed
        self.loop = SimLoop(self.random("order"))
        self.trace = Trace(self.loop, keeps_all=keeps_trace)
        self.network = Network(self.loop, random=self.random("network"), trace=self.trace)
        self.machines: dict[str, Machine] = {}
        self.board = Switchboard(
            self.network,
            loop=self.loop,
            random=self.random("peers"),
            trace=self.trace,
        )
        self.coordination = Coordination(
            self.network, random=self.random("coordination"), trace=self.trace
        )
        self.violations: list[str] = []
        self.metrics = create_metrics()  # of everybody: nobody looks at it
        self._disks: list[SimDisk] = []
        self.machine(COORDINATOR, self.coordination.program)

    def random(self, label: str) -> Random:
        """Make a generator for one use, so that more draws here change nothing elsewhere."""
        return Random(f"{self.seed} {label}")

    def machine(self, name: str, program: Program, *, has_disk: bool = False) -> Machine:
        """Add a machine, off; `start` it.

        Args:
            name: its address; unique.
            program: what a process of it does, at each start.
            has_disk: whether `Machine.disk` outlives its processes.
        """
        disk = None
        if has_disk:
            disk = SimDisk(self.random(f"disk of {name}"))
            self._disks.append(disk)
        machine = self.machines[name] = Machine(
            name,
            program,
            loop=self.loop,
            random=self.random(f"machine {name}"),
            trace=self.trace,
            disk=disk,
        )
        return machine

    def heal(self) -> None:
        """Undo every fault: links, messages, disks and clocks; start what is down."""
        self.network.heal()
        self.board.heal()
        self.coordination.heal()
        for disk in self._disks:
            disk.heal()
        for machine in self.machines.values():
            machine.slowness = 1.0
            machine.clock.set_rate(1.0)
        self.ensure_up()

    def ensure_up(self) -> None:
        """Start every machine that is down, and let every paused process go on."""
        for machine in self.machines.values():
            machine.ensure_up()

    def violate(self, what: str) -> None:
        """Note that something happened that must never happen."""
        self.trace.event("violation", what)
        self.violations.append(what)

    def run(self, main: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        """Run `main`, which belongs to no process, to its end in virtual time.

        Raises: what `main` raises; Deadlock, Livelock, Overrun of the loop.
        """
        self.loop.ends_at_s = self.loop.time() + LIMIT_S
        with self._logs(), trapped():
            self.loop.run_until_complete(self.loop.create_task(main(self)))
            self.violations += self.loop.failures

    def __enter__(self) -> Self:
        """Begin."""
        self._connections = set(map(id, apsw.connections()))
        return self

    def __exit__(self, *_: object) -> None:
        """Throw everything away; what is left of the processes does nothing any more."""
        for disk in self._disks:
            disk.kill()
        with self._logs(), trapped():
            self.loop.discard()
        for connection in apsw.connections():
            if id(connection) not in self._connections:
                with suppress(Exception):
                    connection.close(True)
        self.machines.clear()
        for disk in self._disks:
            disk.remove()

    @contextmanager
    def _logs(self) -> Iterator[None]:
        """Take the product's log events into the trace."""

        def taken(_logger: Any, method: str, fields: MutableMapping[str, Any]) -> Any:
            owner = OWNER.get()
            event = str(fields.pop("event", ""))
            self.trace.count(f"log.{event}")
            self.trace.note(f"{getattr(owner, 'name', '-')}: {method} {event}", str(fields))
            raise structlog.DropEvent

        configure(level=LogLevel.INFO)
        processors = structlog.get_config()["processors"]
        kept = list(processors)
        processors[:] = [taken]
        try:
            yield
        finally:
            processors[:] = kept
