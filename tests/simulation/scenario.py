"""One seed, played: a cluster, clients at work, faults; then healing, and judgement.

A `Scenario` says how to build a `Cluster` in a world; everything else is the same for all of them.
To prove something new, say how it is put together and what may befall it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from dstore.model.errors import DStoreError
from tests.simulation.checkers import unconserved
from tests.simulation.faults import Fault, Nemesis
from tests.simulation.history import Add, Call, Fate, History, Read, Value, fate_of
from tests.simulation.linearizability import violations
from tests.simulation.machines import Died
from tests.simulation.workloads import Workload, mixed
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections import Counter

DURATION_S: Final = 60.0  # of faults and load
HEALED_S_MAX: Final = 60.0  # after which every key must answer again
LOOK_S: Final = 0.5  # between two looks at the invariants
OPERATION_S_MAX: Final = 30.0  # then a client gives up: its operation is of unknown fate


class Cluster(Protocol):
    """What is to be proved: built in a world, by a `Scenario`."""

    async def start(self) -> None:
        """Start the machines, and make the table; return when it answers."""

    async def do(self, client: int, key: str, call: Call) -> Hashable:
        """Do one client's call. Returns: its answer, see `history`.

        Raises: a `DStoreError`; `machines.Died`: the process that the client talked to has ended.
        """

    def faults(self) -> Sequence[Fault]:
        """List what may befall it."""

    def broken(self) -> Sequence[str]:
        """Look at everything now, as nobody inside can. Returns: every invariant that is broken."""

    async def work(self) -> None:
        """Do what else is to be done beside the clients' requests, until cancelled or done."""

    async def settled(self) -> Sequence[str]:
        """Judge the end: faults are over, and every key has answered. Returns: what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A kind of cluster, its load, and what has to happen to it in enough seeds.

    `interesting` are names of the trace's counts: an exploration in which one of them never
    happened has proved less than it seems, and fails.
    """

    name: str
    build: Callable[[World], Cluster]
    interesting: frozenset[str] = frozenset()
    clients: int = 6
    keys: int = 12
    think_s: float = 1.0  # between two operations of a client, on average
    duration_s: float = DURATION_S
    fault_pause_s: float = 3.0  # between two faults, on average
    workload: Workload = mixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a seed."""

    seed: int
    violations: tuple[str, ...]
    digest: str  # of everything that happened
    counts: Counter[str]
    fates: dict[Fate, int]
    seconds: float  # virtual
    steps: int
    lines: tuple[str, ...] = field(default=(), repr=False)


def simulate(scenario: Scenario, seed: int, *, keeps_trace: bool = False) -> Outcome:
    """Play a seed to its end."""
    history = History()
    with World(seed, keeps_trace=keeps_trace) as world:
        try:
            world.run(lambda world: _Play(scenario, world, history).run())
        except AssertionError as error:  # a deadlock, an escape, or an assertion of the product's
            world.violate(f"{type(error).__name__}: {error}")
        return Outcome(
            seed=seed,
            violations=tuple(world.violations),
            digest=world.trace.digest(),
            counts=world.trace.counts,
            fates={fate: history.count(fate) for fate in Fate},
            seconds=world.loop.time(),
            steps=world.loop.steps,
            lines=tuple(world.trace.lines),
        )


class _Play:
    """The course of a seed."""

    def __init__(self, scenario: Scenario, world: World, history: History) -> None:
        self._scenario = scenario
        self._world = world
        self._history = history
        self._cluster = scenario.build(world)
        self._keys = [f"k{number}" for number in range(scenario.keys)]

    async def run(self) -> None:
        world, cluster, loop = self._world, self._cluster, self._world.loop
        await cluster.start()
        world.trace.note("started")
        nemesis = Nemesis(cluster.faults(), world=world, pause_s=self._scenario.fault_pause_s)
        working = loop.create_task(cluster.work())
        others = [loop.create_task(nemesis.run()), loop.create_task(self._look())]
        ends_s = loop.time() + self._scenario.duration_s
        clients = range(self._scenario.clients)
        await asyncio.gather(*(self._client(number, ends_s) for number in clients))
        for task in (*others, working):
            task.cancel()
        await nemesis.stop()
        world.heal()
        world.trace.note("healed")
        with suppress(asyncio.CancelledError):
            await working
        found = await self._final_values()
        self._judge(found)
        for told in (*cluster.broken(), *await cluster.settled()):
            world.violate(told)

    async def _client(self, number: int, ends_s: float) -> None:
        """Ask for one thing after the other."""
        loop, random = self._world.loop, self._world.random(f"client {number}")
        draw = self._scenario.workload(number, random, self._keys)
        while loop.time() < ends_s:
            key, call = draw()
            await self._ask(number, key, call)
            await asyncio.sleep(random.expovariate(1.0 / self._scenario.think_s))

    async def _ask(self, number: int, key: str, call: Call) -> Fate:
        history, trace = self._history, self._world.trace
        operation = history.invoke(f"c{number}", key, call)
        trace.note(f"c{number} {key} {call}")
        answer: Hashable = None
        try:
            async with asyncio.timeout(OPERATION_S_MAX):
                answer = await self._cluster.do(number, key, call)
            fate = Fate.OK
        except (TimeoutError, Died):
            fate = Fate.UNKNOWN
        except DStoreError as error:
            fate, answer = fate_of(error), type(error).__name__
        history.end(operation, fate, answer)
        trace.note(f"c{number} {key} {call} {fate} {answer!r}")
        trace.counts[f"operation.{fate}"] += 1
        return fate

    async def _look(self) -> None:
        """Hold the invariants against the cluster again and again."""
        while True:
            await asyncio.sleep(LOOK_S)
            for told in self._cluster.broken():
                self._world.violate(told)

    async def _final_values(self) -> dict[str, Value]:
        """Read every key; each must answer before long, now that nothing is wrong any more."""
        world, found = self._world, dict[str, Value]()
        by_s = world.loop.time() + HEALED_S_MAX
        for key in self._keys:
            while (fate := await self._ask(0, key, Read())) is not Fate.OK:
                if world.loop.time() > by_s:
                    world.violate(f"{key} does not answer {HEALED_S_MAX} s after the last fault")
                    return found
                world.trace.note(f"not healed yet: {key} {fate}")
                await asyncio.sleep(1.0)
            answer = self._history.operations[-1].answer
            assert answer is None or isinstance(answer, int | str), answer
            found[key] = answer
        world.trace.counts["heal_ms"] += int((world.loop.time() - by_s + HEALED_S_MAX) * 1_000)
        return found

    def _judge(self, found: dict[str, Value]) -> None:
        history, world = self._history, self._world
        for told in violations(history):
            world.violate(told)
        added = {operation.key for operation in history if isinstance(operation.call, Add)}
        mixed_up = {
            operation.key for operation in history if not isinstance(operation.call, Add | Read)
        }
        counters = {key: value for key, value in found.items() if key in added - mixed_up}
        if len(found) == len(self._keys) and not added & mixed_up:
            for told in unconserved(history, counters):
                world.violate(told)
