"""A cluster whose nodes come, go, and lose their disks, while control moves replicas by itself.

Everything is the product's: control with its planner, moves and failovers, nodes with their
replicas, a proxy. An operator lets a node join, empties others and takes them back. Nodes come back
under their UUIDs with an empty disk, or with an old copy of their own.

What is never lost to one machine must be there afterwards; replicas are where they should be.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.model.errors import DStoreError
from dstore.model.status import ResourceStatus
from dstore.storage.control import tables
from dstore.storage.control.records import ComponentState, NodeUuid
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.values import ReplicaState
from tests.simulation.checkers import diverged
from tests.simulation.faults import Fault
from tests.simulation.machines import Died
from tests.simulation.plain_cluster import node_id
from tests.simulation.replicated_node import read_log
from tests.simulation.scenario import Scenario
from tests.simulation.whole_cluster import WholeCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from random import Random

    from tests.simulation.machines import Machine
    from tests.simulation.whole_cluster import Ruling
    from tests.simulation.world import World

_NODES: Final = 4
_FACTOR: Final = 3
_OPERATED_S: Final = (2.0, 12.0)  # between two commands of the operator
_BACKED_UP_S: Final = (0.5, 12.0)  # before a disk is lost
_AWAY_S: Final = (3.0, 9.0)  # whoever puts a directory back takes longer than a lease lasts
_SETTLED_S_MAX: Final = 120.0
_IN_SYNC_MIN: Final = 2  # where one disk may be lost
_STATES: Final = (
    ComponentState.ACTIVE,
    ComponentState.DRAINING,
    ComponentState.DECOMMISSIONING,
)

Placed = list[tuple[keys.RangePath, values.RangePlacement]]


class ElasticCluster(WholeCluster):
    """A `Cluster` of a control, a proxy and nodes, one of which joins later."""

    ranges_per_table = 2
    churn_s = (6.0, 20.0)

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        self._operator = world.random("operator")
        if self._operator.random() < 0.5:
            self.replaced_after_s = 8.0
        super().__init__(world, nodes=_NODES)
        self.admitted.discard(_NODES)
        self._is_disk_lost = False

    def faults(self) -> Sequence[Fault]:
        """All that befalls a whole cluster, and the loss of a node's disk."""
        return (
            *super().faults(),
            Fault(name="disk_lost", strike=self._lose_disk, weight=6.0),
        )

    def broken(self) -> Sequence[str]:
        """No gap, and every primary has noted the value by which it serves (recollection)."""
        return [*super().broken(), *self._unnoted()]

    async def work(self) -> None:
        """Make and delete tables, and do what an operator does."""
        async with asyncio.TaskGroup() as group:
            group.create_task(super().work())
            group.create_task(self._operate())

    async def settled(self) -> Sequence[str]:
        """Empty a node or none; then replicas are where they should be, and equal."""
        out = self._operator.choice((None, *range(1, _NODES + 1)))
        self.admitted.add(_NODES)
        left: str | None = "nobody has done what the operator wants"
        try:
            async with asyncio.timeout(_SETTLED_S_MAX):
                await self._until_done(lambda ruling: self.admit(ruling.plane, ruling.process))
                await self._until_done(partial(_pause, False))
                for number in range(1, _NODES + 1):
                    await self._until_done(partial(_intend, number, ComponentState.ACTIVE))
                if out is not None:
                    away = partial(_intend, out, ComponentState.DECOMMISSIONING)
                    await self._until_done(away)
                while (left := await self._unsettled(out)) is not None:
                    self.world.trace.note(f"not settled: {left}")
                    await asyncio.sleep(0.5)
        except TimeoutError:
            return [f"replicas are not where they should be, {out} out: {left}"]
        await asyncio.sleep(1.0)
        return [*await self._different(), *await super().settled()]

    # ------------------------------------------------------------------------------- operator

    async def _operate(self) -> None:
        """Let a node join, then empty nodes, take them back, and stop moving for a while."""
        random = self._operator
        while True:
            await asyncio.sleep(random.uniform(*_OPERATED_S))
            kind = random.random()
            if _NODES not in self.admitted:
                self.admitted.add(_NODES)
                self.world.trace.event("node_joins")
                await self._done(lambda ruling: self.admit(ruling.plane, ruling.process))
            elif kind < 0.8:
                number, state = random.randrange(1, _NODES + 1), random.choice(_STATES)
                if await self._done(partial(_intend, number, state)):
                    self.world.trace.event(f"node_{state}")
            else:
                is_on = random.random() < 0.3
                await self._done(partial(_pause, is_on))

    async def _until_done(self, work: Callable[[Ruling], Coroutine[Any, Any, None]]) -> None:
        while not await self._done(work):  # noqa: ASYNC110 - control tells nobody
            await asyncio.sleep(0.5)

    # ------------------------------------------------------------------------------- faults

    async def _lose_disk(self, random: Random) -> None:
        """Let a node come back with an empty disk, or with an old copy of its own (B9).

        Not while somebody else's replicas are not what the coordinator takes them for: what one
        machine does may lose nothing, what two do may.
        """
        number = random.randrange(1, _NODES + 1)
        machine = self.nodes[number - 1]
        disk = machine.disk
        assert disk is not None
        backup: dict[str, bytes] = {}
        if random.random() < 0.6:
            if not self._may_be_lost(machine):
                return
            backup = disk.backup()
            await asyncio.sleep(random.uniform(*_BACKED_UP_S))
        before, usual = self._boots().get(node_id(number)), machine.restarts_in_s
        if before is None or not self._may_be_lost(machine):
            return
        try:
            # Whatever was decided while it was up is known when it comes back.
            self._is_disk_lost, machine.restarts_in_s = True, None
            machine.kill()
            await asyncio.sleep(random.uniform(*_AWAY_S))
            if machine.process is not None or not self._is_spare(number):
                self._is_disk_lost = False
                return
            disk.put_back(backup)
            self.world.trace.event("old_disk" if backup else "empty_disk", machine.name)
        finally:
            machine.restarts_in_s = usual
            machine.ensure_up()
        while (now := self._boots()[node_id(number)]).number == before.number:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.5)
        if now.incarnation == before.incarnation:
            return  # nobody can tell from outside when it has again what it lacks
        # Until it has learned what it had, it is the one machine.
        while not self._is_whole_again(number):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.5)
        self._is_disk_lost = False

    def _may_be_lost(self, machine: Machine) -> bool:
        return not self._is_disk_lost and machine.is_up

    def _is_spare(self, lost: int) -> bool:
        """Tell whether every range of a node has another in-sync replica on the disk it names."""
        disks, me = self._disks(), node_id(lost)
        for _, value in self._placed():
            others = [each for each in value.in_sync if each.node != me]
            if len(others) == len(value.in_sync):
                continue
            if value.min_in_sync < _IN_SYNC_MIN or not others:
                return False
            if any(disks.get(each.node) != each.incarnation for each in others):
                return False
        return True

    def _is_whole_again(self, number: int) -> bool:
        """Tell whether a node's replicas, if it has any, are in sync on the disk that it has."""
        disk, me = self._disks().get(node_id(number)), node_id(number)
        return all(
            each.incarnation == disk and each.state is ReplicaState.IN_SYNC
            for _, value in self._placed()
            for each in value.replicas
            if each.node == me
        )

    def _disks(self) -> dict[str, str]:
        return {node: boot.incarnation for node, boot in self._boots().items()}

    def _boots(self) -> dict[str, values.NodeBoot]:
        """Read how often each node has begun, and with which disk."""
        found: dict[str, values.NodeBoot] = {}
        for number in self._numbers.values():
            path = keys.NodeBootPath(node_id(number))
            for kv in self.world.coordination.embedded._versions.list(path.path).kvs:
                found[node_id(number)] = values.decode(path, kv.value)
        return found

    def _placed(self) -> Placed:
        found: Placed = []
        for kv in self.world.coordination.embedded._versions.list("tenant/").kvs:
            path = keys.parse(kv.key)
            if isinstance(path, keys.RangePath):
                found.append((path, values.decode(path, kv.value)))
        return found

    # ------------------------------------------------------------------------------- judgement

    def _unnoted(self) -> Sequence[str]:
        """Look for primaries that serve by a value that their node would not remember."""
        told = []
        for number, living in self.living.items():
            own = living.node._replicas
            if own is None or not living.process.is_alive:
                continue
            for range_id, replica in own._replicas._replicas.items():
                serving = replica._serving
                if serving is None or serving.is_closed or len(serving.placed.value.replicas) < 2:
                    continue
                placed = serving.placed
                noted = own._notes._durable.get(range_id, (0, 0))
                if noted < (placed.value.epoch, placed.revision):
                    told.append(f"node-{number} serves {range_id} by what it has not noted")
        return told

    async def _unsettled(self, out: int | None) -> str | None:
        """Say what is still to be done; None: nothing is."""
        away = None if out is None else node_id(out)
        disks = self._disks()
        wanted = min(_FACTOR, _NODES - (out is not None))
        for path, value in self._placed():
            if value.status is not ResourceStatus.ACTIVE:
                continue
            if len(value.in_sync) != len(value.replicas) or len(value.replicas) != wanted:
                return f"{path.path} has {value.replicas}"
            if any(each.node == away for each in value.replicas):
                return f"{path.path} is on {away}"
            if any(disks.get(each.node) != each.incarnation for each in value.replicas):
                return f"{path.path} is on another disk"
        ruling = self.ruling
        if ruling is None or not ruling.process.is_alive:
            return "control is down"
        try:
            on_their_way = await ruling.process.run(_on_their_way(ruling), name="look")
        except (DStoreError, Died) as error:
            return repr(error)
        return f"{on_their_way} are on their way" if on_their_way else None

    async def _different(self) -> Sequence[str]:
        """Compare the replicas of every range: their logs, and their rows."""
        told: list[str] = []
        for path, value in self._placed():
            if value.status is not ResourceStatus.ACTIVE:
                continue
            logs, rows = {}, {}
            for each in value.replicas:
                living = self.living[self._numbers[f"node-{int(each.node[-12:])}"]]
                try:
                    found = await living.process.run(
                        _content(living.node, value.range_id), name="look"
                    )
                except (DStoreError, Died) as error:
                    told.append(f"{path.path} can't be read on {each.node}: {error!r}")
                    continue
                logs[each.node], rows[each.node] = found
            told += diverged(logs)
            if any(each != next(iter(rows.values())) for each in rows.values()):
                told.append(f"{path.path} has other rows on another of {sorted(rows)}")
        return told


async def _intend(number: int, state: ComponentState, ruling: Ruling) -> None:
    await ruling.control.elasticity.intend(NodeUuid(node_id(number)), state, actor="operator")


async def _pause(is_on: bool, ruling: Ruling) -> None:
    await ruling.control.elasticity.pause(is_on=is_on, actor="operator")


async def _on_their_way(ruling: Ruling) -> int:
    async with ruling.plane.store.snapshot() as tx:
        return len(await tables.replicas_on_their_way(tx))


async def _content(node: Any, range_id: str) -> tuple[Any, Any]:
    file = await node.node.holdings.open_held(range_id)
    found: tuple[Any, Any] = await file.look(
        lambda connection: (
            read_log(connection),
            connection.execute("SELECT * FROM v1 ORDER BY RID_ID, C_COL").fetchall(),
        )
    )
    return found


ELASTIC: Final = Scenario(
    name="elastic",
    build=ElasticCluster,
    bulk=0.15,
    interesting=frozenset(
        {
            "kill",
            "power_cut",
            "pause",
            "operation.ok",
            "operation.unknown",
            "scan",
            "batch",
            "node_joins",
            "node_draining",
            "node_decommissioning",
            "empty_disk",
            "old_disk",
            "log.node_is_old_copy",
            "log.node_addresses_published",
            "log.failed_over",
            "log.handed_over",
            "log.move_begun",
            "log.copy_done",
            "log.replica_gone",
        }
    ),
)
