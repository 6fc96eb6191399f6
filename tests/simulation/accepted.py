"""A replicated range that loses so many replicas for good that nobody can open it any more.

Once in a seed all in-sync replicas but one lose their disks, or all of them do and a learner is
left. Then an operator accepts what is left, by the product's own decision (`accepted_loss`), and
the machines come back with empty disks, as new ones would.

What may be lost is known to the checker. If an in-sync replica is left, nothing: the history is
judged as ever. If a learner is, the range goes back to what that one's log says: each key is put to
the value that it has there, at the moment in which the range is opened, by nobody; what was
acknowledged before may be gone, but not come back, and nothing that is acknowledged later is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dstore.model.errors import DStoreError, Refused
from dstore.model.keys import KeyKind, encode_key
from dstore.replication import accepted_loss, placements
from dstore.replication.accepted_loss import Left
from dstore.replication.peers.calls import Calls
from dstore.replication.replica_calls import REPLICA_CALLS, AskReplica
from dstore.replication.surroundings import pause_ms
from dstore.security.identity import ComponentRole, Identity
from dstore.topology.values import RangeState
from tests.simulation.history import Fate, Put
from tests.simulation.machines import Died
from tests.simulation.replicated import CLIENT
from tests.simulation.replicated_calls import value_of
from tests.simulation.replicated_node import PATH, PLANE, RANGE_ID, node_id, number_of
from tests.simulation.returned import RETURNED, ReturnedCluster

if TYPE_CHECKING:
    from dstore.replication.peers.port import Peer
    from dstore.replication.placements import Placed
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.values import RangePlacement
    from tests.simulation.faults import Fault
    from tests.simulation.history import Call, History, Value
    from tests.simulation.machines import Process
    from tests.simulation.replicated_node import Node
    from tests.simulation.world import World

_REPLICAS: Final = 3
_BEGINS_S: Final = (4.0, 10.0)
_LEAVES_S: Final = 12.0  # until who is cut off has left the set
_LAGS_S: Final = (0.5, 3.0)  # while others write without it
_AWAY_S: Final = 8.0  # longer than a client's request travels, and a lease lasts
_ASKED_S: Final = 2.0
_RETRIED_S: Final = 0.3
_KINDS: Final = frozenset({"kill", "hand_over", "pause", "storm"})


class AcceptedCluster(ReturnedCluster):
    """A range on three nodes of four, of which all but one are lost for good."""

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world)
        self.factor = 3
        self._may_ask = asyncio.Event()
        self._may_ask.set()
        self._is_lossless = world.random("loss").random() < 0.5
        self._was_lost = False
        self._asking = 0  # clients, now
        self._history: History | None = None
        self._keys: Sequence[str] = ()

    def judged_by(self, history: History, keys: Sequence[str]) -> None:
        """Know where to note what was lost."""
        self._history, self._keys = history, keys

    def faults(self) -> Sequence[Fault]:
        """Befall primaries; disks are lost by `work`."""
        return [each for each in super().faults() if each.name in _KINDS]

    async def do(self, client: int, key: str, call: Call) -> Hashable:
        """Let clients ask only while they may, and know who does."""
        await self._may_ask.wait()
        self._asking += 1
        try:
            return await super().do(client, key, call)
        finally:
            self._asking -= 1

    async def work(self) -> None:
        """Lose the range, and accept it; once begun, that comes to its end."""
        losing = self.world.loop.create_task(self._lose())
        try:
            await asyncio.shield(losing)
        except asyncio.CancelledError:
            await losing
            raise

    async def settled(self) -> Sequence[str]:
        """It is said that writes may be lost if they may be, and only then."""
        told = [*await super(ReturnedCluster, self).settled()]
        is_marked = (await self._value()).state is RangeState.POSSIBLE_LOSS
        if is_marked != self._was_lost:
            told.append(f"possible loss: {is_marked}, and it is {self._was_lost}")
        return told

    # ------------------------------------------------------------------------------- the loss

    async def _lose(self) -> None:
        random = self.world.random("loss")
        await asyncio.sleep(random.uniform(*_BEGINS_S))
        while len(numbers := await self._counting()) < _REPLICAS:  # noqa: ASYNC110 - from outside
            await asyncio.sleep(_RETRIED_S)
        left = random.choice(numbers)
        if not self._is_lossless and not await self._made_learner(left):
            return
        # An operation that is done in what is lost, and done again when it is asked for anew, would
        # be two in the history.
        self._may_ask.clear()
        while self._asking:  # noqa: ASYNC110 - as above
            await asyncio.sleep(_RETRIED_S)
        lost = [number for number in numbers if number != left]
        usual = [self.nodes[number - 1].restarts_in_s for number in lost]
        for number in lost:
            machine = self.nodes[number - 1]
            machine.restarts_in_s = None
            machine.kill()
            assert machine.disk is not None
            machine.disk.put_back({})
        try:
            self.nodes[left - 1].ensure_up()
            self.world.network.heal()
            await asyncio.sleep(_AWAY_S)
            await self._accept({node_id(number) for number in lost})
        finally:
            for number, restarts in zip(lost, usual, strict=True):
                self.nodes[number - 1].restarts_in_s = restarts
                self.nodes[number - 1].ensure_up()
            self._may_ask.set()

    async def _made_learner(self, number: int) -> bool:
        """Cut a node off until it has left the set, and others have gone on without it."""
        name, random = f"node-{number}", self.world.random("loss")
        others = [each for each in self.world.machines if each not in (name, CLIENT)]
        parting = self.world.network.part([name], others)
        ends_s = self.world.loop.time() + _LEAVES_S
        try:
            while self.world.loop.time() < ends_s:
                if number not in await self._counting():
                    await asyncio.sleep(random.uniform(*_LAGS_S))
                    return number not in await self._counting()
                await asyncio.sleep(_RETRIED_S)
        finally:
            parting.mend()
        return False

    async def _counting(self) -> list[int]:
        return [number_of(each.node) for each in (await self._value()).in_sync]

    async def _accept(self, gone: set[str]) -> None:
        """Be the operator: look, say it, and look again until the range is open."""
        process = self.world.machine("operator", _stand_by).start()
        identity = Identity(control_plane=PLANE, role=ComponentRole.CONTROL, uuid=PLANE)
        peers: dict[str, Peer] = {
            node_id(n): self.world.board.peer(
                process, f"node-{n}", calls=Calls(REPLICA_CALLS), identity=identity
            )
            for n in self.numbers
        }
        coordinator = self.world.coordination.client(process)
        wanted: RangePlacement | None = None
        while wanted is None:
            try:
                wanted = await process.run(
                    self._accepted(coordinator, peers, gone), name="accept_loss"
                )
            except Refused as error:
                self.world.trace.event("loss_refused", error.message)
                if "goes on" in error.message or "serves" in error.message:
                    return  # who was to be left behind has come back into the set
            except DStoreError:
                pass
            await asyncio.sleep(_RETRIED_S)
        self.world.trace.event("loss_accepted", str(wanted.state))
        self._was_lost = wanted.state is RangeState.POSSIBLE_LOSS
        self.world.trace.event("writes_may_be_lost" if self._was_lost else "nothing_is_lost")
        if self._was_lost:
            await self._note_what_is_left()

    async def _accepted(
        self, coordinator: Coordinator, peers: Mapping[str, Peer], gone: set[str]
    ) -> RangePlacement:
        placed = await placements.read(coordinator, PATH)
        assert placed is not None
        told = await asyncio.gather(
            *(self._left(peers, each.node) for each in placed.value.replicas)
        )
        left = {
            each.node: one
            for each, one in zip(placed.value.replicas, told, strict=True)
            if one is not None
        }
        wanted = accepted_loss.accepted(placed.value, left, gone=gone, awaited=())
        self._hold_against(placed, left, wanted)
        swapped = await placements.swap(coordinator, placed, wanted, pause=pause_ms)
        return swapped.value

    async def _left(self, peers: Mapping[str, Peer], node: str) -> Left | None:
        boot = self._boot(number_of(node))
        if boot is None:
            return None
        ask = AskReplica(range_id=RANGE_ID, incarnation=boot.incarnation)
        try:
            told = await peers[node].call(ask, deadline_s=_ASKED_S)
        except DStoreError:
            return None
        return Left(incarnation=boot.incarnation, told=told)

    def _hold_against(
        self, placed: Placed, left: Mapping[str, Left], wanted: RangePlacement
    ) -> None:
        """Look from outside whether it is the best of what is there."""
        counting = {
            each.node for each in placed.value.in_sync if self._is_on(each) and each.node in left
        }
        if counting and wanted.node not in counting:
            self.tell("a replica that holds everything is there, and another one is taken")
        if not counting and wanted.state is not RangeState.POSSIBLE_LOSS:
            self.tell("nobody holds everything, and nothing is said to be lost")
        if wanted.epoch <= max(each.told.standing.promised_epoch for each in left.values()):
            self.tell("what is accepted is in an epoch that somebody has promised")

    async def _note_what_is_left(self) -> None:
        """Note what every key is by now, as soon as it is open; no client asks for anything yet."""
        assert self._history is not None
        for key in self._keys:
            value = await self._value_of(key)
            self._history.end(self._history.invoke("loss", key, Put(value)), Fate.OK)

    async def _value_of(self, key: str) -> Value:
        """Ask the primary, whoever that is by then."""
        while True:
            life = self.lives[number_of((await self._value()).node)]
            try:
                return await life.process.run(_read(life, key), name="look")
            except (DStoreError, Died):
                await asyncio.sleep(_RETRIED_S)


async def _read(life: Node, key: str) -> Value:
    file = await life.open_file(RANGE_ID)
    return value_of(await file.read(encode_key((KeyKind.STRING, key))))


async def _stand_by(_process: Process) -> None:
    await asyncio.get_running_loop().create_future()


ACCEPTED: Final = replace(
    RETURNED,
    name="accepted",
    build=AcceptedCluster,
    interesting=frozenset({"writes_may_be_lost", "nothing_is_lost", "loss_refused"}),
)
