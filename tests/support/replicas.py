"""Ranges with several replicas in the coordinator, and nodes that say where those stand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dstore.model.errors import DStoreError
from dstore.model.hashing import HASH_MAX
from dstore.replication.peers.errors import unreachable
from dstore.replication.replica_calls import AskReplica, AskReplicas, ReplicasTold, ReplicaTold
from dstore.security.identity import ComponentRole
from dstore.service.calls.recollection_calls import AllRemembered, AskRemembered, Remembered
from dstore.storage.log_records import LogPoint, Standing
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Coordinator
from dstore.topology.view import TopologyView
from tests.support import topology
from tests.support.topology import uuid

DISK = 900
"""The number of the disk that a node has unless a test says otherwise."""


def replica(
    number: int,
    *,
    disk: int = DISK,
    state: values.ReplicaState = values.ReplicaState.IN_SYNC,
) -> values.Replica:
    """Make the replica on node `number`."""
    return values.Replica(
        node=uuid(number), incarnation=uuid(disk), uri=f"https://node{number}:8001/", state=state
    )


def learner(number: int, *, disk: int = DISK) -> values.Replica:
    """Make a learner on node `number`."""
    return replica(number, disk=disk, state=values.ReplicaState.LEARNER)


def placement(
    *replicas: values.Replica, range_number: int = 500, epoch: int = 1, factor: int | None = None
) -> values.RangePlacement:
    """Make a range's value; its primary is the first of the replicas."""
    return values.RangePlacement(
        node=replicas[0].node,
        high_hash=HASH_MAX,
        uri=replicas[0].uri,
        table_id=uuid(100),
        range_id=uuid(range_number),
        epoch=epoch,
        replicas=replicas,
        factor=len(replicas) if factor is None else factor,
    )


def told(seq: int = 1, *, epoch: int = 1, is_serving: bool = False) -> ReplicaTold:
    """Make what a replica says of itself."""
    standing = Standing(
        promised_epoch=epoch,
        epoch=epoch,
        end=LogPoint(seq=seq, digest=bytes(32)),
        applied_seq=seq,
        history=(),
    )
    return ReplicaTold(standing=standing, is_serving=is_serving)


async def put_table(
    coordinator: Coordinator, *ranges: tuple[int, values.RangePlacement], name: str = "orders"
) -> None:
    """Let a tenant's table be in the coordinator, with its ranges by low hash."""
    await coordinator.put(keys.TenantPath("acme").path, topology.tenant())
    defined = topology.definition(name=name)
    await coordinator.put(keys.TablePath("acme", name).path, topology.table(defined))
    for low_hash, value in ranges:
        await coordinator.put(keys.RangePath("acme", name, low_hash).path, values.encode(value))


@dataclass(kw_only=True)
class TellingNode:
    """A node that says what it is told to; `calls` are the questions that have reached it.

    `remembered` is by range, None in it: it can't tell; of a range that is not in it, it says that
    it never knew a value.
    """

    incarnation: str = field(default_factory=lambda: uuid(DISK))
    remembered: dict[str, Remembered | None] = field(default_factory=dict)
    says: ReplicaTold | None = field(default_factory=told)
    is_dead: bool = False
    delay_s: float = 0.0
    calls: list[Sequence[AskReplica]] = field(default_factory=list)

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Any:
        """Answer AskReplicas and AskRemembered."""
        del request_id
        async with asyncio.timeout(deadline_s):
            await asyncio.sleep(self.delay_s)
        if isinstance(request, AskRemembered):
            if self.is_dead:
                raise unreachable("is dead")
            nothing = Remembered(value=b"", revision=0, promised_epoch=0)
            told = tuple(self.remembered.get(each, nothing) for each in request.range_ids)
            return AllRemembered(incarnation=self.incarnation, told=told)
        assert isinstance(request, AskReplicas)
        self.calls.append(request.asked)
        if self.is_dead:
            raise unreachable("is dead")
        return ReplicasTold(told=tuple(self.says for _ in request.asked))

    async def close(self) -> None:
        """Have nothing to end."""


@dataclass(kw_only=True)
class TellingNodes:
    """A `Nodes`; who is not in it is not known."""

    nodes: dict[str, TellingNode]

    @classmethod
    def numbered(cls, count: int) -> TellingNodes:
        """Make nodes 1 to `count`."""
        return cls(nodes={uuid(number): TellingNode() for number in range(1, count + 1)})

    def __getitem__(self, number: int) -> TellingNode:
        return self.nodes[uuid(number)]

    def peer(self, node: str, *, last_uri: str | None = None) -> TellingNode:
        """See `Nodes.peer`."""
        del last_uri
        if node not in self.nodes:
            raise _unknown()
        return self.nodes[node]


def _unknown() -> DStoreError:
    return unreachable("is not known here")


def range_view(
    value: values.RangePlacement,
    disks: Mapping[int, int],
    *,
    dead: tuple[int, ...] = (),
    opening: tuple[int, ...] = (),
    local_indexes: tuple[values.HeldIndex, ...] = (),
) -> TopologyView:
    """Show one range, and nodes that say that they hold it on these disks."""
    shown = {
        "tenant/acme": topology.tenant(),
        "table/acme/orders": topology.table(),
        "tenant/acme/orders/0": values.encode(value),
    }
    for number, disk in disks.items():
        status = values.HeldStatus.OPENING if number in opening else values.HeldStatus.OKAY
        report = values.HeldReport(
            range_id=value.range_id, status=status, local_indexes=local_indexes
        )
        node = keys.ComponentId(uuid(number))
        boot = values.NodeBoot(number=1, nonce="n", incarnation=uuid(disk))
        said = values.NodeTableDetails(status=status, ranges=(report,))
        shown[keys.NodeBootPath(node).path] = values.encode(boot)
        shown[keys.NodeTablePath(node, "acme", "orders").path] = values.encode(said)
        if number not in dead:
            path = keys.AlivePath(ComponentRole.NODE, node).path
            shown[path] = values.encode(values.Alive(session=uuid(number)))
    return topology.fold(shown).view
