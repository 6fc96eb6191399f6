"""Nodes as ranges are put on them: what the store and the view say of each, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dstore.service.control.placement import Candidate
from dstore.storage.control import tables
from dstore.storage.control.components import NODES
from dstore.storage.control.records import ComponentState, NodeRecord, NodeUuid, RangeRecord
from dstore.topology import values

if TYPE_CHECKING:
    from dstore.storage.control.store import Transaction
    from dstore.topology.view import TopologyView

_TAKES_RANGES = frozenset({ComponentState.JOINING, ComponentState.ACTIVE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A node that ranges can be on: where it is, and which disk it has now."""

    candidate: Candidate
    uri: str
    incarnation: str

    @property
    def replica(self) -> values.Replica:
        """A replica here of a range that is made: new and empty, so in sync."""
        return values.Replica(
            node=self.candidate.node,
            incarnation=self.incarnation,
            uri=self.uri,
            state=values.ReplicaState.IN_SYNC,
        )


def new_placement(
    record: RangeRecord, *, nodes: Sequence[NodeUuid], sites: Mapping[NodeUuid, Site]
) -> values.RangePlacement:
    """Make what the coordinator shows of a range when it is made.

    From then on the range's value is changed by comparing what was there, and never made anew from
    the store (REPLICATION.md, in-sync set).

    Args:
        record: the range; its node is the primary.
        nodes: all that are to hold it, the primary among them.
        sites: where those are.
    """
    assert record.node in nodes
    # In one order, so that views share one object among all ranges on the same nodes.
    replicas = tuple(sites[node].replica for node in sorted(nodes))
    return values.RangePlacement(
        node=record.node,
        high_hash=record.high_hash,
        uri=sites[record.node].uri,
        table_id=record.table_id,
        range_id=record.range_id,
        epoch=record.epoch,
        replicas=replicas,
        status=record.status,
        factor=len(replicas),
    )


async def sites(tx: Transaction, view: TopologyView) -> Mapping[NodeUuid, Site]:
    """List the nodes that take new ranges: admitted, not in maintenance, alive and okay."""
    loads = await tables.replicas_by_node(tx)
    primaries = await tables.primaries_by_node(tx)
    found: dict[NodeUuid, Site] = {}
    for record in await all_nodes(tx):
        if record.state in _TAKES_RANGES:
            made = site_of(
                record,
                view,
                ranges=loads.get(record.uuid, 0),
                primaries=primaries.get(record.uuid, 0),
            )
            if made is not None:
                found[record.uuid] = made
    return found


async def all_nodes(tx: Transaction) -> tuple[NodeRecord, ...]:
    """Read every node's record, by UUID, removed ones included."""
    return await NODES.every(tx)


def site_of(
    record: NodeRecord, view: TopologyView, *, ranges: int, primaries: int = 0
) -> Site | None:
    """Say where a node is, if it can be given something now; the two counts are its load."""
    seen = view.node(record.uuid)
    if seen is None or seen.alive is None or seen.details is None or seen.boot is None:
        return None
    details = seen.details.value
    if details.status is not values.ComponentStatus.OKAY:
        return None
    return Site(
        candidate=Candidate(
            node=record.uuid,
            zone=details.zone or record.zone,
            ranges=ranges,
            primaries=primaries,
            free_bytes=details.free_bytes,
            capacity_bytes=details.capacity_bytes or record.capacity_bytes,
            load_percent=details.load_percent,
        ),
        uri=details.uri,
        incarnation=seen.boot.value.incarnation,
    )


def last_site_of(record: NodeRecord, view: TopologyView) -> Site:
    """Say where a node is, or was when it was last seen, or joined, whether it serves or not."""
    seen = view.node(record.uuid)
    details = None if seen is None or seen.details is None else seen.details.value
    boot = None if seen is None or seen.boot is None else seen.boot.value
    return Site(
        candidate=Candidate(node=record.uuid),
        uri=record.uri if details is None else details.uri,
        incarnation=values.NO_INCARNATION if boot is None else boot.incarnation,
    )
