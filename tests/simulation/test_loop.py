"""The loop, the processes on it and the network between them: virtual, seeded, and sealed off."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dstore.model.errors import Refused, Unavailable, Unknown, invalid
from dstore.replication.peers.calls import Answered, Calls, Methods, PeerCall
from dstore.replication.peers.errors import Unreachable
from dstore.replication.peers.port import PeerRequest, Received
from dstore.security.identity import ComponentRole, Identity
from tests.simulation.loop import Deadlock
from tests.simulation.traps import Escaped
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.simulation.machines import Process


class Said(msgspec.Struct, frozen=True, array_like=True):
    """The reply of every call here."""

    number: int


class Add(PeerRequest[Said], frozen=True, array_like=True):
    """Adds, after a while; writes."""

    number: int


class Ask(PeerRequest[Said], frozen=True, array_like=True):
    """Reads the sum."""

    number: int


ROLES = frozenset({ComponentRole.PROXY})
ADD = PeerCall(name="test.add", request=Add, reply=Said, roles=ROLES, is_safe=False)
ASK = PeerCall(name="test.ask", request=Ask, reply=Said, roles=ROLES, is_safe=True)
PLANE = "00000000-0000-4000-8000-000000000000"
PROXY = Identity(control_plane=PLANE, role=ComponentRole.PROXY, uuid=PLANE)


class Adder:
    """A process that adds up; it forgets everything when it dies."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.total = 0

    async def program(self, process: Process) -> None:
        self.total = 0
        methods = (Answered(call=ADD, handler=self.add), Answered(call=ASK, handler=self.ask))
        self.world.board.listen(process, Methods(methods))
        await asyncio.get_running_loop().create_future()

    async def add(self, request: Add, _received: Received) -> Said:
        if request.number < 0:
            raise invalid("Only what is positive is added.")
        await asyncio.sleep(0.01)
        self.total += request.number
        return Said(self.total)

    def ask(self, _request: Ask, _received: Received) -> Said:
        return Said(self.total)


async def _idle(_process: Process) -> None:
    await asyncio.get_running_loop().create_future()


def _run(world: World, work: Callable[[Adder, Callable[..., Awaitable[int]]], Any]) -> Adder:
    adder = Adder(world)
    world.machine("adder", adder.program)
    world.machine("caller", _idle)

    async def main(_world: World) -> None:
        world.machines["adder"].start()
        caller = world.machines["caller"].start()
        peer = world.board.peer(caller, "adder", calls=Calls((ADD, ASK)), identity=PROXY)

        async def call(request: PeerRequest[Said], deadline_s: float = 1.0) -> int:
            task = caller.spawn(peer.call(request, deadline_s=deadline_s), name="call")
            return (await task).number

        await asyncio.sleep(0)
        await work(adder, call)

    with world:
        world.run(main)
    assert world.violations == []
    return adder


def test_time_jumps() -> None:
    """An hour of virtual time costs nothing, and comes in order."""
    seen: list[float] = []

    async def main(world: World) -> None:
        async def tick(after_s: float) -> None:
            await asyncio.sleep(after_s)
            seen.append(world.loop.time())

        await asyncio.gather(tick(2_000.0), tick(0.5), tick(3_000.0))

    with World(1) as world:
        world.run(main)
    assert seen == [0.5, 2_000.0, 3_000.0]


def test_a_hang_is_an_error() -> None:
    """Who waits for nothing fails the seed at once, instead of the night."""

    async def main(_world: World) -> None:
        await asyncio.get_running_loop().create_future()

    with World(1) as world, pytest.raises(Deadlock):
        world.run(main)


@pytest.mark.parametrize(
    "escape",
    [
        lambda: float(time.time()),
        lambda: time.sleep(0),
        lambda: threading.Thread(target=int).start(),
    ],
)
def test_the_real_world_is_out_of_reach(escape: Callable[[], object]) -> None:
    """Real time, real threads and real sockets would make a seed that can't be replayed."""

    async def main(_world: World) -> None:
        escape()

    with World(1) as world, pytest.raises(Escaped):
        world.run(main)


def test_the_seed_decides_who_runs_first() -> None:
    """Tasks that are ready at once run in an order that the seed draws, and that replays."""

    def order(seed: int) -> list[int]:
        seen: list[int] = []

        async def main(_world: World) -> None:
            async def step(number: int) -> None:
                await asyncio.sleep(0)
                seen.append(number)

            await asyncio.gather(*(step(number) for number in range(6)))

        with World(seed) as world:
            world.run(main)
        return seen

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(8)}) > 4


def test_calls_arrive_and_errors_too() -> None:
    """A call is answered; a refusal arrives as the error that it is."""

    async def work(_adder: Adder, call: Callable[..., Awaitable[int]]) -> None:
        assert await call(Add(3)) == 3
        assert await call(Ask(0)) == 3
        with pytest.raises(Refused):
            await call(Add(-1))

    _run(World(1), work)


def test_nothing_reaches_who_is_cut_off() -> None:
    """A write over a cut link is unknown while the connection seems to stand, then refused."""

    async def work(adder: Adder, call: Callable[..., Awaitable[int]]) -> None:
        await call(Add(1))
        parting = adder.world.network.part(["caller"], ["adder"])
        with pytest.raises(Unknown):
            await call(Add(1))
        with pytest.raises(Unreachable):
            await call(Ask(0))
        await asyncio.sleep(6.0)
        with pytest.raises(Unreachable):  # no connection any more: certainly not written
            await call(Add(1))
        parting.mend()
        assert await call(Ask(0)) == 1

    _run(World(1), work)


def test_a_lost_answer_leaves_a_write_unknown() -> None:
    """The other side has done it, and the caller must not be told that it has not."""

    async def work(adder: Adder, call: Callable[..., Awaitable[int]]) -> None:
        adder.world.board.loses_reply = lambda _source, _target, name: name == "test.add"
        with pytest.raises(Unknown):
            await call(Add(5))
        assert adder.total == 5

    _run(World(1), work)


def test_killed_processes_unwind_nothing() -> None:
    """`kill -9` runs no finally block; and who waits for an answer hears that it was lost."""
    unwound: list[str] = []

    async def work(adder: Adder, call: Callable[..., Awaitable[int]]) -> None:
        machine = adder.world.machines["adder"]
        process = machine.process
        assert process is not None

        async def stubborn() -> None:
            try:
                await asyncio.sleep(1.0)
            finally:
                unwound.append("stubborn")

        process.spawn(stubborn(), name="stubborn")
        await call(Add(1))
        machine.kill()
        with pytest.raises(Unknown):
            await call(Add(1))
        await asyncio.sleep(5.0)
        assert unwound == []
        with pytest.raises(Unavailable):
            await call(Add(1))
        machine.start()
        await asyncio.sleep(0)
        assert await call(Ask(0)) == 0

    _run(World(3), work)


def test_a_paused_process_goes_on_where_it_was() -> None:
    """SIGSTOP: time passes, timers are late, calls wait in the queue, and nothing is lost."""

    async def work(adder: Adder, call: Callable[..., Awaitable[int]]) -> None:
        machine = adder.world.machines["adder"]
        await call(Add(1))
        machine.pause()
        with pytest.raises(Unknown):
            await call(Add(1))
        before_ns = machine.clock.monotonic_ns()
        await asyncio.sleep(30.0)
        assert machine.clock.monotonic_ns() - before_ns > 29e9
        assert adder.total == 1
        machine.resume()
        await asyncio.sleep(1.0)
        assert adder.total == 2
        assert await call(Ask(0)) == 2

    _run(World(1), work)


def test_repeated_calls_are_for_those_that_allow_it() -> None:
    """Whether a method bears a repetition is said by name; others arrive once at most."""

    async def work(adder: Adder, call: Callable[..., Awaitable[int]]) -> None:
        adder.world.network.weather.repeat = 1.0
        await call(Add(1))
        await asyncio.sleep(1.0)
        assert adder.total == 1
        adder.world.board.repeatable = frozenset({"test.add"})
        await call(Add(1))
        await asyncio.sleep(1.0)
        assert adder.total == 3

    _run(World(1), work)


def test_a_single_thread_keeps_its_order() -> None:
    """What was given up is done all the same, before whatever comes behind it in that thread.

    Once a rollback overtook the slow statement that had been given up, which was done outside of
    any transaction then: control's store had half of a change (indexed 4096).
    """
    done: list[str] = []

    async def main(world: World) -> None:
        async def program(process: Process) -> None:
            loop = asyncio.get_running_loop()
            thread = ThreadPoolExecutor(1)
            process.machine.slowness = 1e3
            first = loop.run_in_executor(thread, done.append, "slow")
            first.cancel()
            process.machine.slowness = 1.0
            await loop.run_in_executor(thread, done.append, "quick")
            thread.shutdown()

        world.machine("slow", program).start()
        await asyncio.sleep(120.0)

    with World(1) as world:
        world.run(main)
    assert done == ["slow", "quick"]
