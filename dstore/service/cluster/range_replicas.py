"""A node's replicas in its cluster: each follows what the topology shows of its range.

Every range that a node of a cluster holds is a replica, be it the only one. What a replica serves,
`holdings` knows in the same step of the event loop: a client is answered in that epoch or refused
(I6). A range is added before anything can be asked of it, and removed before its file goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dstore.base.tasks import Tasks
from dstore.replication.peers.calls import Answered
from dstore.replication.placements import Placed
from dstore.replication.replicas import Replicas
from dstore.replication.surroundings import Surroundings
from dstore.service.calls.recollection_calls import ASK_REMEMBERED
from dstore.service.cluster.departure import Departure
from dstore.service.cluster.index_feeds import IndexFeeds
from dstore.service.cluster.placement_notes import PlacementNotes
from dstore.service.cluster.range_samples import RangeSamples
from dstore.service.cluster.range_seeds import RangeSeeds
from dstore.service.cluster.replica_files import ReplicaFiles
from dstore.service.cluster.scrubs import Scrubs
from dstore.topology import keyspace as keys
from dstore.topology.values import ComponentStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.base.metrics import IndexMetrics
    from dstore.model.errors import Corrupt
    from dstore.replication.peers.port import Peer, Received
    from dstore.service.calls.recollection_calls import AllRemembered, AskRemembered
    from dstore.service.cluster.notices import NodeNotices
    from dstore.service.cluster.scrubs import ScrubSettings
    from dstore.service.holdings import Holdings
    from dstore.service.node import Node
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.view import PlacedRange
    from dstore.topology.watcher import TopologyWatcher, Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node of a cluster, as its replicas need it.

    Attributes:
        uuid: the node's, in the control plane.
        incarnation: of its disk.
        began_ns: when this process began, on `clock`.
        peer_of: finds another node. Raises: Unreachable.
        on_serving: told of each range, by its id, that is served from now on, or no longer.
        on_fault: told of a range whose content is not what it should be, and why.
        on_damage: told of a range in whose file something can't be read, and what.
        on_anew: told of a range whose file has nothing of what was in it any more.
        on_failure: told of what nobody foresaw; it ends the process.
        notices: tell the operator.
        scrubs: how ranges are scrubbed.
        entropy: spreads the first scrubs.
        indexes: count what global indexes are fed.
    """

    uuid: str
    incarnation: str
    began_ns: int
    clock: Clock
    coordinator: Coordinator
    watcher: TopologyWatcher
    peer_of: Callable[[str], Peer]
    on_serving: Callable[[str], None]
    on_fault: Callable[[str, Corrupt], None]
    on_damage: Callable[[str, Corrupt], None]
    on_anew: Callable[[str], None]
    on_failure: Callable[[BaseException], None]
    notices: NodeNotices
    scrubs: ScrubSettings
    entropy: Entropy
    indexes: IndexMetrics


class RangeReplicas:
    """The replicas of an open node. Used from one event loop."""

    def __init__(self, node: Node, member: Member) -> None:
        """Begin with none; from here on the node serves nothing but as `add` lets it."""
        self._holdings = node.holdings
        self._member = member
        self._tasks = Tasks(member.on_failure)
        self._notes = self._notes_of(node.holdings)
        self._seeds = RangeSeeds(
            node.holdings,
            disk=node.disk,
            node=member.uuid,
            tasks=self._tasks,
            view=lambda: member.watcher.view,
            end=self.remove,
            follow=self._begin_child,
        )
        self._around = Surroundings(
            node=member.uuid,
            incarnation=member.incarnation,
            clock=member.clock,
            coordinator=member.coordinator,
            peer_of=member.peer_of,
            open_file=node.holdings.open_held,
            on_serving=self._serving,
            on_fault=self._faulty,
            note=self._notes.note,
            files=ReplicaFiles(
                node.holdings,
                node.files,
                on_damage=member.on_damage,
                on_anew=member.on_anew,
                on_condemned=self._condemned,
                on_short=member.notices.tell_of_shortfall,
            ),
            tasks=self._tasks,
            began_ns=member.began_ns,
            pace=node.pace,
        )
        self._replicas = Replicas(self._around, bed=self._seeds)
        self._departure = Departure(
            member.uuid,
            self._replicas,
            watcher=member.watcher,
            coordinator=member.coordinator,
            tasks=self._tasks,
        )
        self.scrubs = Scrubs(
            self._replicas,
            self._around,
            node.holdings,
            settings=member.scrubs,
            notices=member.notices,
            entropy=member.entropy,
        )
        self._samples = RangeSamples(
            self._replicas, self._around, heat=node.heat, is_busy=self.scrubs.is_running
        )
        self.indexes = self._index_feeds(node)
        self._of_files = node.replications
        self._expiry = node.expiry
        node.expiry.replicate()
        node.holdings.replicate(self._of_files, on_wanted=self._around.turns.want)
        self._subscriptions = (
            member.watcher.subscribe(keys.TENANTS, self._changed),
            member.watcher.subscribe(keys.TABLES, self._tables_changed),
            member.watcher.subscribe(keys.NODES, self._nodes_changed),
        )

    def _notes_of(self, holdings: Holdings) -> PlacementNotes:
        return PlacementNotes(
            holdings,
            incarnation=self._member.incarnation,
            tasks=self._tasks,
            noted=[held.range_id for held in holdings.ranges.values() if held.is_noted],
        )

    def _index_feeds(self, node: Node) -> IndexFeeds:
        return IndexFeeds(
            self._replicas,
            self._around,
            node.holdings,
            disk=node.disk,
            heat=node.heat,
            notices=self._member.notices,
            view=lambda: self._member.watcher.view,
            counts=self._member.indexes,
        )

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls that replicas answer, and their handlers."""
        return (
            *self._replicas.answered(),
            *self.scrubs.answered(),
            *self._samples.answered(),
            *self.indexes.answered(),
            Answered(call=ASK_REMEMBERED, handler=self._remembered),
        )

    def add(self, range_id: str) -> None:
        """Let a range that is held here be a replica; once more changes nothing."""
        if self._replicas.of(range_id) is not None:
            return
        self._of_files[range_id] = self._replicas.add(range_id)
        held = self._holdings.ranges[range_id]
        shown = self._member.watcher.view.table(held.tenant, held.table)
        placed = None if shown is None else shown.range_of(held.hash_start)
        if placed is not None:
            self._follow(held.tenant, held.table, placed)

    async def settle_seeds(self, tenant: str, table: str) -> None:
        """Make ranges of the seeds that are some by now; let go of those that never will be."""
        await self._seeds.settle((tenant, table))

    def seeds_of(self, range_id: str) -> Sequence[str]:
        """List the seeds of a range's children that are here, by id."""
        return [held.range_id for held in self._seeds.of(range_id)]

    async def uproot_seeds(self, range_id: str) -> None:
        """Delete the seeds of a range that is given up. Raises: Unavailable, Unknown."""
        await self._seeds.uproot_all(range_id)

    def _begin_child(self, range_id: str, placed: Placed | None) -> None:
        """Let a child be a replica, in the turn of the event loop in which it is a range."""
        self.add(range_id)
        if placed is not None:
            self._replicas.follow(placed)

    def leave(self, range_id: str) -> None:
        """Answer no other replica of a range: whether it goes is looked at behind this."""
        replica = self._replicas.of(range_id)
        if replica is not None:
            replica.leave()

    def stay(self, range_id: str) -> None:
        """Undo `leave`: the range does not go."""
        replica = self._replicas.of(range_id)
        if replica is not None:
            replica.stay()

    def remove(self, range_id: str) -> None:
        """Let go of a range whose file is about to be deleted; `leave` comes first."""
        self._replicas.remove(range_id)
        self._of_files.pop(range_id, None)
        self._notes.forget(range_id)

    @property
    def is_settled(self) -> bool:
        """Whether every range is served of which the topology names this node primary."""
        return not any(map(self.is_waiting, self._of_files))

    def is_waiting(self, range_id: str) -> bool:
        """Tell whether the topology names this node primary of a range that it can't serve yet."""
        replica = self._replicas.of(range_id)
        if replica is None or replica.fault is not None:
            return False
        return replica.is_named and replica.serving_epoch is None

    def retreat(self, range_id: str) -> None:
        """Be primary of a damaged range only for as long as nobody else can be."""
        self._departure.retreat(range_id)

    async def depart(self, timeout_s: float) -> None:
        """Give all ranges away, within so many seconds, since the node is about to stop."""
        self._around.leaving.set()
        await self._departure.run(timeout_s)

    async def close(self) -> None:
        """End all of them; writes under way are answered as unknown. Safe to call twice."""
        for end in self._subscriptions:
            end()
        await self._tasks.close()

    def _serving(self, range_id: str, epoch: int | None) -> None:
        self._holdings.serve(range_id, epoch)
        self.indexes.serving(range_id, epoch)
        self._expiry.serve(range_id, is_on=epoch is not None)
        if epoch is not None:
            self.scrubs.served(range_id)
        self._member.on_serving(range_id)

    def _condemned(self, range_id: str, node: str) -> None:
        self.scrubs.condemned(range_id, node)

    def _faulty(self, range_id: str, error: Corrupt) -> None:
        """Tell of damage; clients too, if there is no other replica to answer them."""
        replica = self._replicas.of(range_id)
        placed = None if replica is None or replica.fault is not error else replica.placed
        if placed is not None and len(placed.value.in_sync) == 1:
            self._holdings.fail(range_id, error)
        self._member.on_fault(range_id, error)

    def _nodes_changed(self, update: Update) -> None:
        """Ask those at once that are back: of ranges that nobody uses they are asked seldom."""
        for path in update.paths:
            if isinstance(path, keys.DetailsPath) and path.component != self._member.uuid:
                seen = update.view.node(path.component)
                details = None if seen is None else seen.details
                if details is not None and details.value.status is ComponentStatus.OKAY:
                    self._tasks.spawn(self._replicas.rouse(path.component), name="rouse_learners")

    def _tables_changed(self, update: Update) -> None:
        for path in update.paths:
            if isinstance(path, keys.TablePath):
                self.indexes.look((path.tenant, path.table))

    def _changed(self, update: Update) -> None:
        for path in update.paths:
            if not isinstance(path, keys.RangePath):
                continue
            shown = update.view.table(path.tenant, path.table)
            placed = None if shown is None else shown.range_of(path.low_hash)
            if placed is not None and placed.low_hash == path.low_hash:
                self._follow(path.tenant, path.table, placed)
            self._seeds.look((path.tenant, path.table))

    def _follow(self, tenant: str, table: str, placed: PlacedRange) -> None:
        path = keys.RangePath(tenant, table, placed.low_hash)
        shown = Placed(path=path, value=placed.placement, revision=placed.mod_revision)
        if shown.value.range_id in self._of_files:
            self._notes.note_soon(shown)
        self._replicas.follow(shown)

    async def _remembered(self, request: AskRemembered, _received: Received) -> AllRemembered:
        await self._seeds.be_asked(request)
        return await self._notes.remembered(request)
