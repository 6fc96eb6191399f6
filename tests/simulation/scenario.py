"""One seed, played: a cluster, clients at work, faults; then healing, and judgement.

A `Scenario` says how to build a `Cluster` in a world; everything else is the same for all of them.
To prove something new, say how it is put together and what may befall it.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from dstore.model.errors import DStoreError
from tests.simulation.checkers import unconserved
from tests.simulation.faults import Fault, Nemesis
from tests.simulation.history import Add, Call, Fate, History, Put, Read, Value, fate_of
from tests.simulation.linearizability import violations
from tests.simulation.machines import Died
from tests.simulation.workloads import Workload, mixed
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable
    from random import Random

    from tests.simulation.workloads import Draw

DURATION_S: Final = 60.0  # of faults and load
HEALED_S_MAX: Final = 60.0  # after which every key must answer again
LOOK_S: Final = 0.5  # between two looks at the invariants
OPERATION_S_MAX: Final = 30.0  # then a client gives up: its operation is of unknown fate
_SCANS: Final = 0.3  # of what is asked for at once
_AT_ONCE_MAX: Final = 8


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


@runtime_checkable
class Bulk(Protocol):
    """A `Cluster` that does several things at once. Whatever it raises is of all of them."""

    async def put_all(self, client: int, puts: Mapping[str, Put]) -> Sequence[DStoreError | None]:
        """Put values as one batch. Returns: of each why it is certain that it was not put."""

    async def read_all(self, client: int, keys: Sequence[str]) -> Sequence[Value]:
        """Read values as one batch."""

    async def scan(self, client: int) -> Mapping[str, Value]:
        """Read everything; each value is one that its key had meanwhile."""


@runtime_checkable
class Losing(Protocol):
    """A `Cluster` that may lose what was acknowledged, and knows what; it notes that itself."""

    def judged_by(self, history: History, keys: Sequence[str]) -> None:
        """Hear by which history it is judged, and of which keys."""


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
    bulk: float = 0.0  # of what clients ask for is batches and scans, of a `Bulk`


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
    with _collected_behind(), World(seed, keeps_trace=keeps_trace) as world:
        try:
            world.run(lambda world: _Play(scenario, world, history).run())
        # A deadlock, an escape, an assertion of the product's; or what was waited for never came.
        except (AssertionError, TimeoutError) as error:
            world.violate(f"{type(error).__name__}: {error}")
        return Outcome(
            seed=seed,
            violations=tuple(world.violations),
            digest=world.trace.digest(),
            counts=world.trace.counts,
            fates={fate: history.count(fate) for fate in Fate},
            seconds=world.loop.time(),
            steps=world.loop.steps,
            lines=tuple(world.trace.lines) if keeps_trace or world.violations else (),
        )


@contextmanager
def _collected_behind() -> Iterator[None]:
    """Let the garbage of a seed lie until its end, which is quicker than to look for it often."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()
        # Whoever is unwound only now belongs to a dead process; nobody can be told how that went.
        hook, sys.unraisablehook = sys.unraisablehook, lambda _told: None
        try:
            gc.collect()
        finally:
            sys.unraisablehook = hook


class _Play:
    """The course of a seed."""

    def __init__(self, scenario: Scenario, world: World, history: History) -> None:
        self._scenario = scenario
        self._world = world
        self._history = history
        self._cluster = scenario.build(world)
        self._keys = [f"k{number}" for number in range(scenario.keys)]
        if isinstance(self._cluster, Losing):
            self._cluster.judged_by(history, self._keys)

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
            if self._scenario.bulk and random.random() < self._scenario.bulk:
                await self._ask_at_once(number, draw, random)
            else:
                key, call = draw()
                await self._ask(number, key, call)
            await asyncio.sleep(random.expovariate(1.0 / self._scenario.think_s))

    async def _ask(self, number: int, key: str, call: Call) -> Fate:
        (fate,) = await self._asked(
            number, {key: call}, self._one(self._cluster.do(number, key, call))
        )
        return fate

    async def _one(self, work: Awaitable[Hashable]) -> Sequence[Hashable]:
        return [await work]

    async def _ask_at_once(self, number: int, draw: Draw, random: Random) -> None:
        """Ask for a scan, or for batches of what is drawn, and singly for what fits in none."""
        cluster = self._cluster
        assert isinstance(cluster, Bulk)
        if random.random() < _SCANS:
            self._world.trace.event("scan")
            calls: dict[str, Call] = {key: Read() for key in self._keys}
            await self._asked(number, calls, self._scanned(cluster, number))
            return
        self._world.trace.event("batch")
        drawn = dict(draw() for _ in range(random.randrange(2, _AT_ONCE_MAX + 1)))
        puts = {key: call for key, call in drawn.items() if isinstance(call, Put)}
        reads = [key for key, call in drawn.items() if isinstance(call, Read)]
        asked: list[Awaitable[Any]] = [
            self._ask(number, key, call)
            for key, call in drawn.items()
            if not isinstance(call, Put | Read)
        ]
        if puts:
            asked.append(self._asked(number, puts, cluster.put_all(number, puts)))
        if reads:
            asked.append(
                self._asked(number, dict.fromkeys(reads, Read()), cluster.read_all(number, reads))
            )
        await asyncio.gather(*asked)

    async def _scanned(self, cluster: Bulk, number: int) -> Sequence[Value]:
        found = await cluster.scan(number)
        return [found.get(key) for key in self._keys]

    async def _asked(
        self, number: int, calls: Mapping[str, Call], work: Awaitable[Sequence[Hashable]]
    ) -> list[Fate]:
        """Note what came of calls that are asked for together, one for a key."""
        history, trace = self._history, self._world.trace
        operations = [history.invoke(f"c{number}", key, call) for key, call in calls.items()]
        for key, call in calls.items():
            trace.note(f"c{number} {key} {call}")
        answers: Sequence[Hashable] = [None] * len(operations)
        fate = Fate.OK
        try:
            async with asyncio.timeout(OPERATION_S_MAX):
                answers = await work
        except (TimeoutError, Died):
            fate = Fate.UNKNOWN
        except DStoreError as error:
            fate, answers = fate_of(error), [type(error).__name__] * len(operations)
        fates = []
        for operation, told in zip(operations, answers, strict=True):
            its, answer = fate, told
            if isinstance(told, DStoreError):
                its, answer = fate_of(told), type(told).__name__
            history.end(operation, its, answer)
            trace.note(f"c{number} {operation.key} {operation.call} {its} {answer!r}")
            trace.counts[f"operation.{its}"] += 1
            fates.append(its)
        return fates

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
