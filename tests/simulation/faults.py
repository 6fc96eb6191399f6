"""What goes wrong, drawn from the seed: each fault begins, lasts, and ends, or is ended by healing.

A fault is a coroutine function of a generator. The nemesis lets one or more of them loose at a time
and cancels what is left when the faults are to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.coordination import MACHINE as COORDINATOR

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.machines import Machine
    from tests.simulation.world import World

_DRIFT: Final = 0.002  # of a bad quartz, ten times over

Strike = Callable[["Random"], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of trouble; `weight` is how often it is drawn beside the others."""

    name: str
    strike: Strike
    weight: float = 1.0


class Nemesis:
    """Lets faults loose until it is stopped; `at_once` of them at most."""

    def __init__(
        self, faults: Sequence[Fault], *, world: World, at_once: int = 3, pause_s: float
    ) -> None:
        """Draw among `faults`, one every `pause_s` on average."""
        self._faults = faults
        self._world = world
        self._random = world.random("nemesis")
        self._at_once = at_once
        self._pause_s = pause_s
        self._striking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Strike, until cancelled."""
        loop, random = self._world.loop, self._random
        while True:
            await asyncio.sleep(random.expovariate(1.0 / self._pause_s))
            if len(self._striking) >= self._at_once:
                continue
            (fault,) = random.choices(self._faults, [fault.weight for fault in self._faults])
            self._world.trace.event(f"fault.{fault.name}")
            task = loop.create_task(fault.strike(random), name=fault.name)
            self._striking.add(task)
            task.add_done_callback(self._striking.discard)

    async def stop(self) -> None:
        """End what is under way; each fault undoes itself."""
        tasks = sorted(self._striking, key=lambda task: task.get_name())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


class Faults:
    """The ordinary troubles of a world's machines. `Cluster`s pick among them."""

    def __init__(self, world: World) -> None:
        """Trouble this world."""
        self._world = world

    def kills(self, machines: Sequence[Machine]) -> Fault:
        """End a process; whoever supervises it starts another one."""

        async def strike(random: Random) -> None:
            machine = random.choice(machines)
            if machine.is_up:
                machine.kill()

        return Fault(name="kill", strike=strike, weight=2.0)

    def power_cuts(self, machines: Sequence[Machine]) -> Fault:
        """Cut a machine's power, in the middle of one of its next operations or right now."""

        async def strike(random: Random) -> None:
            machine = random.choice(machines)
            if not machine.is_up or machine.disk is None:
                return
            if random.random() < 0.7:
                machine.disk.cut_after = random.randrange(30)
            else:
                machine.cut_power()

        return Fault(name="power_cut", strike=strike, weight=2.0)

    def cuts_in_a_sync(self, machines: Sequence[Machine]) -> Fault:
        """Let syncs take very long, and cut the power while one is on its way."""

        async def strike(random: Random) -> None:
            machine = random.choice(machines)
            machine.slowness = 300.0
            try:
                await asyncio.sleep(random.uniform(0.05, 0.5))
                if machine.is_up:
                    machine.cut_power()
            finally:
                machine.slowness = 1.0

        return Fault(name="cut_in_a_sync", strike=strike, weight=2.0)

    def pauses(self, machines: Sequence[Machine], *, s_max: float = 12.0) -> Fault:
        """Stop a process where it is, for up to `s_max` seconds."""

        async def strike(random: Random) -> None:
            machine = random.choice(machines)
            if not machine.is_running:
                return
            machine.pause()
            try:
                await asyncio.sleep(random.uniform(0.01, s_max))
            finally:
                machine.resume()

        return Fault(name="pause", strike=strike)

    def partitions(
        self, some: Sequence[Machine], others: Sequence[Machine], *, s_max: float = 15.0
    ) -> Fault:
        """Cut one machine of `some` off from one or all of `others`, one way or both."""

        async def strike(random: Random) -> None:
            here = random.choice(some).name
            theirs = [other.name for other in others if other.name != here]
            if random.random() < 0.5:
                theirs = [random.choice(theirs)]
            way, is_one_way = random.random(), random.random() < 0.5
            sides = ([here], theirs) if way < 0.5 else (theirs, [here])
            parting = self._world.network.part(*sides, one_way=is_one_way)
            try:
                await asyncio.sleep(random.uniform(0.05, s_max))
            finally:
                parting.mend()

        return Fault(name="partition", strike=strike, weight=2.0)

    def storms(self, *, repeats: bool = True) -> Fault:
        """Delay, lose and repeat messages everywhere for a while."""

        async def strike(random: Random) -> None:
            weather = self._world.network.weather
            weather.spike = random.choice((0.0, 0.03, 0.2))
            weather.drop = random.choice((0.0, 0.01, 0.05))
            weather.repeat = random.choice((0.0, 0.03, 0.2)) if repeats else 0.0
            try:
                await asyncio.sleep(random.uniform(1.0, 15.0))
            finally:
                weather.calm()

        return Fault(name="storm", strike=strike, weight=2.0)

    def resets(self, some: Sequence[Machine], others: Sequence[Machine]) -> Fault:
        """Break the connections of a pair."""

        async def strike(random: Random) -> None:
            self._world.board.reset(random.choice(some).name, random.choice(others).name)

        return Fault(name="reset", strike=strike)

    def slow_machines(self, machines: Sequence[Machine]) -> Fault:
        """Let a machine's disk take up to a thousand times as long."""

        async def strike(random: Random) -> None:
            machine = random.choice(machines)
            machine.slowness = 10.0 ** random.uniform(1.0, 3.0)
            try:
                await asyncio.sleep(random.uniform(0.5, 10.0))
            finally:
                machine.slowness = 1.0

        return Fault(name="slow_disk", strike=strike)

    def disk_errors(self, machines: Sequence[Machine]) -> Fault:
        """Let a sync or a write fail, or let there be no space for a while."""

        async def strike(random: Random) -> None:
            disk = random.choice(machines).disk
            assert disk is not None
            kind = random.randrange(3)
            if kind == 0:
                disk.fail_syncs = 1
            elif kind == 1:
                disk.fail_writes = 1
            else:
                disk.is_full = True
            try:
                await asyncio.sleep(random.uniform(0.1, 5.0))
            finally:
                disk.fail_syncs = disk.fail_writes = 0
                disk.is_full = False

        return Fault(name="disk_error", strike=strike)

    def clock_jumps(self, machines: Sequence[Machine]) -> Fault:
        """Suspend a machine for some seconds, set its wall clock, or let its clock drift."""

        async def strike(random: Random) -> None:
            clock = random.choice(machines).clock
            kind = random.randrange(3)
            if kind == 0:
                clock.skip(random.uniform(0.0, 8.0))
            elif kind == 1:
                clock.shift_us += random.randrange(-5_000_000, 5_000_000)
            else:
                clock.set_rate(1.0 + random.uniform(-_DRIFT, _DRIFT))

        return Fault(name="clock_jump", strike=strike, weight=0.5)

    def coordinator_cut_off(self, machines: Sequence[Machine], *, s_max: float = 15.0) -> Fault:
        """Take the coordinator away from everybody."""

        async def strike(random: Random) -> None:
            names = [machine.name for machine in machines]
            one_way = random.random() < 0.3
            parting = self._world.network.part([COORDINATOR], names, one_way=one_way)
            try:
                await asyncio.sleep(random.uniform(0.1, s_max))
            finally:
                parting.mend()

        return Fault(name="coordinator_away", strike=strike)

    def coordinator_gaps(self) -> Fault:
        """Compact the history, then break all watches: each finds a gap where it was."""

        async def strike(random: Random) -> None:
            await self._world.coordination.compact()
            self._world.coordination.cut_watches()

        return Fault(name="coordinator_gap", strike=strike)

    def lost_leases(self, keys: Sequence[str]) -> Fault:
        """End the lease of one of these keys, for no reason (B14)."""

        async def strike(random: Random) -> None:
            await self._world.coordination.end_lease_of(random.choice(keys))

        return Fault(name="lease_lost", strike=strike)

    def lost_decisions(self) -> Fault:
        """Lose the coordinator's next answer to a transaction: it was applied, and nobody knows."""

        async def strike(random: Random) -> None:
            coordination = self._world.coordination
            left = random.randrange(1, 4)

            def loses(_machine: str, method: str, _args: tuple[Any, ...]) -> bool:
                nonlocal left
                left -= method == "commit"
                return method == "commit" and left >= 0

            before = coordination.loses_reply
            coordination.loses_reply = loses
            try:
                await asyncio.sleep(random.uniform(1.0, 8.0))
            finally:
                coordination.loses_reply = before

        return Fault(name="decision_lost", strike=strike)
