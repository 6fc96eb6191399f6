"""Replicas are moved where they should be: by themselves, and when an operator says so.

A leader's job. It plans (`planner`), writes down in control's store what is to be, and then brings
that about step by step (`balancing`), each step decided anew on what store and coordinator say by
then. So it may end anywhere, and whoever leads next goes on. Two leaders harm nothing: the store
refuses the older one, and each change of a range's value compares what it was decided on (B5).

Bytes go from a range's primary to who learns, at the pace that `replication.copying` keeps; control
sees none of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_S
from dstore.base.limits import (
    MOVE_HAND_OVER_S,
    MOVES_AT_ONCE,
    MOVES_INTERVAL_S,
    MOVES_ONTO_NODE,
    MOVES_PAUSE_S,
    MOVES_PLANNED,
    PLAN_CHANGES_MAX,
    REPLACED_AFTER_S,
    VISIBLE_TIMEOUT_S,
)
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError
from dstore.model.tables import TableId
from dstore.replication import placements
from dstore.replication.replica_calls import HandOver
from dstore.replication.surroundings import pause_ms
from dstore.replication.whereabouts import primary_of
from dstore.service.control.balancing import Outlook, StepKind, look, node_sites
from dstore.service.control.leader import NotLeading, Term
from dstore.service.control.move_plans import (
    APPLY_PLAN,
    MOVE_REPLICAS,
    PLACEMENT,
    add_task,
    approved,
)
from dstore.service.control.move_progress import can_begin
from dstore.service.control.planner import Change, Why, plan
from dstore.service.control.publications import held_publication
from dstore.service.control.realm import append
from dstore.service.control.rounds import Rounds
from dstore.service.control.split_choice import is_awaited
from dstore.service.control.whereabouts import is_alive, where
from dstore.storage.control import pauses, splits, tables, tasks
from dstore.storage.control.components import NODES
from dstore.storage.control.records import HolderState, NodeUuid, RangeId, ReplicaRecord
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dstore.replication.peers.port import Peer
    from dstore.replication.placements import Placed
    from dstore.service.control.balancing import Step
    from dstore.service.control.realm import Realm
    from dstore.storage.control.store import Transaction
    from dstore.topology.coordinator import Coordinator, Revision
    from dstore.topology.values import RangePlacement
    from dstore.topology.watcher import Update

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What there is to do: `changes` that have not begun, beside the steps of those that have.

    `is_paused`: an operator wants none to begin, but those that are `approved`. `splitting` are
    ranges, by id, that are being split: nothing begins there but what mends.
    """

    outlook: Outlook
    changes: tuple[Change, ...]
    is_paused: bool
    approved: tuple[Change, ...] = ()
    splitting: frozenset[str] = frozenset()


class Moves:
    """Moves replicas and primaries. `run` is a leader's job."""

    def __init__(
        self,
        realm: Realm,
        coordinator: Coordinator,
        *,
        peer_of: Callable[[str], Peer],
        replaced_after_s: float = REPLACED_AFTER_S,
    ) -> None:
        """Prepare.

        Args:
            realm: whose view is followed.
            coordinator: has the ranges' values.
            peer_of: finds a node. Raises: Unreachable.
            replaced_after_s: how long a node is gone before its replicas are made anew elsewhere.
        """
        self._realm = realm
        self._coordinator = coordinator
        self._peer_of = peer_of
        self._replaced_after_s = replaced_after_s
        self._absent_since_ns: dict[str, int] = {}
        self._rounds = Rounds(
            self._go_on, watcher=realm.watcher, clock=realm.clock, failed="replicas_not_moved"
        )
        self._is_followed = False  # by a task

    async def run(self, term: Term) -> None:
        """Move for as long as the term lasts. Raises: NotLeading: another leads."""
        self._absent_since_ns = {}
        await self._rounds.run(
            term,
            prefix=keys.EVERYTHING,
            on_update=self._on_update,
            pause_s=lambda: MOVES_PAUSE_S,
            interval_s=lambda: MOVES_INTERVAL_S,
        )

    async def planned(self, *, limit: int = PLAN_CHANGES_MAX) -> Planned:
        """Look at everything, and plan; `limit` is `plan`'s. Raises: Unavailable: the store."""
        realm = self._realm
        view = realm.watcher.view
        async with realm.plane.store.snapshot() as tx:
            records = await NODES.every(tx)
            on_their_way = await tables.replicas_on_their_way(tx)
            is_paused = await pauses.is_paused(tx)
            applied = await tasks.unfinished_of(tx, APPLY_PLAN)
            begun = await splits.begun(tx)
        sites = node_sites(view, records, self._gone())
        outlook = await in_thread(
            partial(look, view, sites, on_their_way, replication_factor=realm.replication_factor)
        )
        changes = await in_thread(partial(plan, outlook.nodes, outlook.ranges, limit=limit))
        now_us = realm.clock.wall_us()
        sites_of = {site.range_id: site for site in outlook.ranges}
        return Planned(
            outlook=outlook,
            changes=changes,
            is_paused=is_paused,
            splitting=frozenset(each.range_id for each in begun if is_awaited(each, now_us)),
            approved=tuple(
                change
                for task in applied
                for change in approved(task)
                if change.range_id in sites_of and can_begin(sites_of[change.range_id], change)
            ),
        )

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Know that a task follows what is moved."""
        self._is_followed = True
        try:
            yield
        finally:
            self._is_followed = False

    # ------------------------------------------------------------------------------ who is gone

    def _now_ns(self) -> int:
        return self._realm.clock.monotonic_ns()

    def _gone(self) -> frozenset[str]:
        """Name the nodes that have been away for too long, as far as this process has seen."""
        now_ns, view = self._now_ns(), self._realm.watcher.view
        absent = {node for node in view.nodes if not is_alive(view, node)}
        self._absent_since_ns = {
            node: self._absent_since_ns.get(node, now_ns) for node in sorted(absent)
        }
        bound_ns = int(self._replaced_after_s * NS_PER_S)
        return frozenset(
            node for node, since in self._absent_since_ns.items() if now_ns - since >= bound_ns
        )

    def _on_update(self, update: Update) -> None:
        if any(
            isinstance(
                path,
                keys.RangePath
                | keys.NodeTablePath
                | keys.NodeRangesPath
                | keys.AlivePath
                | keys.DetailsPath,
            )
            for path in update.paths
        ):
            self._rounds.wake()

    # ------------------------------------------------------------------------------ one round

    async def _go_on(self, term: Term) -> None:
        """Do what can be done now."""
        if self._realm.watcher.status().state is not TopologyState.LIVE:
            return
        found = await self.planned(limit=MOVES_PLANNED)
        reached = [
            each
            for each in await asyncio.gather(
                *(self._take(term, step) for step in found.outlook.steps[:MOVES_AT_ONCE])
            )
            if each is not None
        ]
        if found.approved or not found.is_paused:
            reached += await self._begin(term, found)
        if reached:
            self._rounds.wake()
            with suppress(TimeoutError):
                async with asyncio.timeout(VISIBLE_TIMEOUT_S):
                    await self._realm.watcher.reached(max(reached))

    async def _begin(self, term: Term, found: Planned) -> list[Revision]:
        """Begin what is planned, as far as there is room."""
        outlook = found.outlook
        busy = outlook.moving | found.splitting
        busy |= {each.placed.value.range_id for each in outlook.steps}
        onto, room = Counter(outlook.onto), MOVES_AT_ONCE - len(outlook.moving)
        reached: list[Revision] = []
        begun: dict[str, Change] = {}
        for change in (*found.approved, *(() if found.is_paused else found.changes)):
            if room <= 0:
                break
            if change.range_id in begun or (change.range_id in busy and not _mends(change)):
                continue
            value = outlook.placed[change.range_id].value
            if change.primary not in {None, *(each.node for each in value.in_sync)}:
                continue  # it will be, once it has learned
            if change.add is not None:
                if onto[change.add] >= MOVES_ONTO_NODE:
                    continue
                onto[change.add] += 1
            room -= 1
            begun[change.range_id] = change
        for range_id, change in begun.items():
            revision = await self._begin_one(term, outlook.placed[range_id], change)
            if revision is not None:
                reached.append(revision)
        return reached

    async def _begin_one(self, term: Term, placed: Placed, change: Change) -> Revision | None:
        try:
            if change.primary is not None:
                await self._hand_over(placed, change.primary)
                return None
            revision = await self._write_down(term, placed, change)
        except NotLeading:
            raise
        except DStoreError as error:
            _log.info("move_not_begun", range=change.range_id, reason=error.message)
            return None
        _log.info(
            "move_begun",
            range=change.range_id,
            why=str(change.why),
            add=change.add,
            remove=change.remove,
            size_bytes=change.size_bytes,
        )
        return revision

    async def _take(self, term: Term, step: Step) -> Revision | None:
        """Take one step. Returns: the revision at which it is to be seen; None: nothing is new."""
        try:
            return await self._taken(term, step)
        except NotLeading:
            raise
        except (DStoreError, ValueError) as error:  # it can't be, as things are by now
            range_id = step.placed.value.range_id
            _log.info("move_waits", range=range_id, step=str(step.kind), reason=str(error))
            return None

    async def _taken(self, term: Term, step: Step) -> Revision | None:
        placed, node = step.placed, step.node
        if step.kind is StepKind.RAISE:
            return await self._swap(placed, placements.with_factor(placed.value, step.factor))
        assert node is not None
        match step.kind:
            case StepKind.JOIN:
                return await self._join(placed, node)
            case StepKind.TAKE_OUT:
                return await self._swap(placed, placements.without(placed.value, node))
            case StepKind.LET_GO:
                return await self._mark(term, placed, {node: HolderState.LEAVING})
            case StepKind.HAND_OVER:
                await self._hand_over(placed, node)
            case StepKind.FORGET:
                await self._forget(term, placed, node)
        return None

    # ------------------------------------------------------------------------------ the steps

    async def _write_down(self, term: Term, placed: Placed, change: Change) -> Revision | None:
        """Write down who is to have a replica and who is to have none, and name it to who is."""
        wanted = {
            change.add: HolderState.HOLDING,
            change.remove: HolderState.RETIRING,
        }
        states = {NodeUuid(node): state for node, state in wanted.items() if node is not None}
        is_followed = self._is_followed or change.add is None
        return await self._mark(term, placed, states, is_followed=is_followed)

    async def _mark(
        self,
        term: Term,
        placed: Placed,
        states: Mapping[NodeUuid, HolderState],
        *,
        is_followed: bool = True,
    ) -> Revision | None:
        realm, value = self._realm, placed.value
        async with term.transaction() as tx:
            record = await tables.get_by_id(tx, TableId(value.table_id))
            if record is None or not record.status.is_held:
                return None  # it is being deleted, which takes all of it from the nodes
            for node, state in states.items():
                wanted = ReplicaRecord(range_id=RangeId(value.range_id), node=node, state=state)
                await tables.mark_replica(tx, wanted)
            ranges = await tables.ranges(tx, record.table_id)
            replicas = await tables.replicas(tx, record.table_id)
            published = [
                held_publication(record, node, ranges=ranges, replicas=replicas) for node in states
            ]
            sequence = await append(tx, published)
            if not is_followed:
                await add_task(tx, realm, MOVE_REPLICAS, subject=PLACEMENT)
                realm.tasks_due.set()
        return await realm.shown(sequence)

    async def _forget(self, term: Term, placed: Placed, node: NodeUuid) -> None:
        async with term.transaction() as tx:
            await tables.remove_replica(tx, RangeId(placed.value.range_id), node)
        _log.info("replica_gone", range=placed.value.range_id, node=node)

    async def _join(self, placed: Placed, node: NodeUuid) -> Revision | None:
        async with self._realm.plane.store.snapshot() as tx:
            if not await _is_holding(tx, placed.value, node):
                return None
        there = where(self._realm.watcher.view, node)
        if there.uri is None or there.incarnation is None:
            return None
        replica = values.Replica(
            node=node,
            incarnation=there.incarnation,
            uri=there.uri,
            state=values.ReplicaState.LEARNER,
        )
        return await self._swap(placed, placements.with_learner(placed.value, replica))

    async def _swap(self, placed: Placed, value: RangePlacement) -> Revision | None:
        if value == placed.value:
            return None
        swapped = await placements.swap(self._coordinator, placed, value, pause=pause_ms)
        _log.info(
            "replicas_changed",
            range=value.range_id,
            nodes=[each.node for each in value.replicas],
            factor=value.factor,
        )
        return swapped.revision

    async def _hand_over(self, placed: Placed, heir: str) -> None:
        """Have the primary make another the primary; what that does the view shows soon."""
        value = placed.value
        ask = HandOver(
            range_id=value.range_id,
            epoch=value.epoch,
            incarnation=primary_of(value).incarnation,
            node=heir,
        )
        await self._peer_of(value.node).call(ask, deadline_s=MOVE_HAND_OVER_S)
        _log.info("range_handed_over", range=value.range_id, before=value.node, node=heir)


async def _is_holding(tx: Transaction, value: RangePlacement, node: NodeUuid) -> bool:
    found = await tables.get_replica(tx, RangeId(value.range_id), node)
    return found is not None and found.state is HolderState.HOLDING


def _mends(change: Change) -> bool:
    """Tell whether a change may begin while its range is changing: who was to come is lost."""
    return change.why is Why.REPAIR and change.add is not None
