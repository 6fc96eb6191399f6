"""Ranges whose primary's node is dead, or has another disk or a ruined file, get another primary.

Control follows its view: it is told when a node's `alive` key goes, waits for FAILOVER_GRACE_S, and
hears the other in-sync replicas; which of them is to be primary `replication.failover` decides. A
node is heard once for many ranges, and their values are changed many in a transaction. A range that
nobody can take over yet is tried again, until its node is back or somebody else is primary.

What is shown may be old, and another control may do the same: each swap compares the revision that
was captured before anybody was asked, so that costs time and no data (B5).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_S
from dstore.base.limits import (
    FAILOVER_ASK_S,
    FAILOVER_GRACE_S,
    FAILOVER_RETRY_S_MAX,
    FAILOVER_RETRY_S_MIN,
    FAILOVER_SERVING_S_MAX,
    FAILOVER_SILENT_S,
    FAILOVERS_AT_ONCE,
    LEASE_TTL_S,
    REPLICAS_ASKED_MAX,
)
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError
from dstore.replication import failover
from dstore.replication.packed_swaps import Swap, swap_all
from dstore.replication.placements import Placed
from dstore.replication.replica_calls import AskReplica, AskReplicas
from dstore.replication.whereabouts import has_other_disk, primary_of
from dstore.service.control.held import held_status
from dstore.service.control.whereabouts import is_alive, where
from dstore.topology import keyspace as keys
from dstore.topology.status import TopologyState
from dstore.topology.values import HeldStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from dstore.replication.peers.port import Peer
    from dstore.replication.replica_calls import ReplicaTold
    from dstore.service.control.leader import Term
    from dstore.service.control.realm import Realm
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.values import RangePlacement
    from dstore.topology.view import TopologyView
    from dstore.topology.watcher import Update

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """A range without a primary; to be looked at from `at_ns` on, on `Clock.monotonic_ns`."""

    at_ns: int
    retry_s: float = FAILOVER_RETRY_S_MIN


class Failovers:
    """Gives ranges to other primaries. `run` is a leader's job."""

    def __init__(
        self, realm: Realm, coordinator: Coordinator, *, peer_of: Callable[[str], Peer]
    ) -> None:
        """Prepare.

        Args:
            realm: whose view is followed.
            coordinator: has the ranges' values.
            peer_of: finds a node. Raises: Unreachable.
        """
        self._watcher = realm.watcher
        self._coordinator = coordinator
        self._peer_of = peer_of
        self._now_ns = realm.clock.monotonic_ns
        self._nodes: dict[str, int] = {}  # whose ranges are to be looked for, and when
        self._due: dict[keys.RangePath, _Due] = {}
        self._at_work: set[keys.RangePath] = set()
        self._groups = 0
        self._silent_until_ns: dict[str, int] = {}
        self._woken = asyncio.Event()

    async def run(self, _term: Term) -> None:
        """Look after ranges for as long as the term lasts."""
        self._nodes, self._due, self._at_work, self._groups = {}, {}, set(), 0
        end = self._watcher.subscribe(keys.EVERYTHING, self._on_update)
        try:
            await self._until_nodes_live()
            await self._find(None)  # what has happened while nobody led
            async with asyncio.TaskGroup() as group:
                while True:
                    self._woken.clear()
                    await self._find(self._taken_nodes())
                    while self._groups < FAILOVERS_AT_ONCE and (some := self._taken_ranges()):
                        self._groups += 1
                        group.create_task(self._look_after(some))
                    await self._rest()
        finally:
            end()

    async def _until_nodes_live(self) -> None:
        """Let nodes say that they live, if none does: the coordinator begins anew."""
        view = await self._watcher.known()
        if any(is_alive(view, node) for node in view.nodes):
            return
        while not any(is_alive(self._watcher.view, node) for node in self._watcher.view.nodes):
            self._woken.clear()
            await self._woken.wait()
        await asyncio.sleep(LEASE_TTL_S)

    # ------------------------------------------------------------------------------ what is due

    def _on_update(self, update: Update) -> None:
        for path in update.paths:
            match path:
                case keys.AlivePath(component=node) if is_alive(update.view, node):
                    self._nodes.pop(node, None)
                    self._silent_until_ns.pop(node, None)
                    self._woken.set()
                case keys.AlivePath(component=node) | keys.NodeBootPath(node=node):
                    self._nodes.setdefault(node, self._after_grace())
                    self._woken.set()
                case keys.NodeTablePath():
                    for ruined in _ruined_of(update.view, path):
                        self._due.setdefault(ruined, _Due(at_ns=self._after_grace()))
                        self._woken.set()
                case keys.RangePath() if path not in self._due:
                    placed = _shown(update.view, path)
                    if placed is not None and _is_lost(update.view, placed):
                        self._due[path] = _Due(at_ns=self._after_grace())
                        self._woken.set()
                case _:
                    pass

    def _after_grace(self) -> int:
        return self._now_ns() + int(FAILOVER_GRACE_S * NS_PER_S)

    def _taken_nodes(self) -> Collection[str]:
        """Take the nodes whose grace is over."""
        now_ns = self._now_ns()
        ready = [node for node, at_ns in self._nodes.items() if at_ns <= now_ns]
        for node in ready:
            del self._nodes[node]
        return ready

    async def _find(self, nodes: Collection[str] | None) -> None:
        """Note the ranges without a primary among those of some nodes; None: of all."""
        if nodes is None or nodes:
            view = self._watcher.view
            for path in await in_thread(partial(_lost, view, nodes)):
                self._note(path, _Due(at_ns=self._now_ns()))

    def _note(self, path: keys.RangePath, due: _Due) -> None:
        """Look at a range at some time, or earlier if that was meant before."""
        before = self._due.get(path)
        if before is None or due.at_ns < before.at_ns:
            self._due[path] = due

    def _taken_ranges(self) -> dict[keys.RangePath, _Due]:
        """Take some of what is due."""
        now_ns = self._now_ns()
        taken: dict[keys.RangePath, _Due] = {}
        for path, due in self._due.items():
            if due.at_ns <= now_ns and path not in self._at_work:
                taken[path] = due
                if len(taken) == REPLICAS_ASKED_MAX:
                    break
        for path in taken:
            del self._due[path]
        self._at_work.update(taken)
        return taken

    async def _rest(self) -> None:
        """Wait until something is due, or there is news."""
        times = [*self._nodes.values()]
        if self._groups < FAILOVERS_AT_ONCE:
            times += [due.at_ns for path, due in self._due.items() if path not in self._at_work]
        if not times:
            await self._woken.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(max(min(times) - self._now_ns(), 0) / NS_PER_S):
                await self._woken.wait()

    # ------------------------------------------------------------------------------ what is done

    async def _look_after(self, due: dict[keys.RangePath, _Due]) -> None:
        """Give ranges to others, as far as they are without a primary; the rest comes again."""
        try:
            left = await self._give(due) if self._may_give() else dict.fromkeys(due, False)
            for path, is_served in left.items():
                most_s = FAILOVER_SERVING_S_MAX if is_served else FAILOVER_RETRY_S_MAX
                retry_s = min(due[path].retry_s, most_s)
                at_ns = self._now_ns() + int(retry_s * NS_PER_S)
                self._note(path, _Due(at_ns=at_ns, retry_s=2 * retry_s))
        finally:
            self._at_work.difference_update(due)
            self._groups -= 1
            self._woken.set()

    def _may_give(self) -> bool:
        return self._watcher.status().state is TopologyState.LIVE

    async def _give(self, paths: Collection[keys.RangePath]) -> dict[keys.RangePath, bool]:
        """Returns: the ranges that still need it, and whether their primary lives and serves."""
        view = self._watcher.view
        shown = {path: _shown(view, path) for path in paths}
        lost = [each for each in shown.values() if each and _is_lost(view, each)]
        heard = await self._hear(view, lost)
        left: dict[keys.RangePath, bool] = {}
        swaps: list[Swap] = []
        for placed in lost:
            told, value = heard[placed.path], placed.value
            primary = told.get(value.node)
            is_served = primary is not None and primary.is_serving
            left[placed.path] = is_served and not _is_without_primary(view, value)
            chosen = failover.succeeded(value, told)
            if chosen is not None:
                swaps.append(Swap(before=placed, value=chosen))
        for swap, swapped in zip(swaps, await swap_all(self._coordinator, swaps), strict=True):
            if isinstance(swapped, Placed):
                failover.note(swap.before.value, swap.value)
                del left[swap.before.path]
            else:  # another control's, or the primary's; or the coordinator is away
                _log.info("not_failed_over", range=swap.value.range_id, reason=swapped.message)
        return left

    async def _hear(
        self, view: TopologyView, lost: Sequence[Placed]
    ) -> dict[keys.RangePath, dict[str, ReplicaTold]]:
        """Ask each node once for its replicas. Returns: what is heard, by range and node."""
        asked: dict[str, list[tuple[keys.RangePath, AskReplica]]] = {}
        for placed in lost:
            for each in placed.value.in_sync:
                ask = AskReplica(range_id=placed.value.range_id, incarnation=each.incarnation)
                asked.setdefault(each.node, []).append((placed.path, ask))
        heard: dict[keys.RangePath, dict[str, ReplicaTold]] = {each.path: {} for each in lost}
        told = await asyncio.gather(
            *(self._ask(view, node, [ask for _, ask in asks]) for node, asks in asked.items())
        )
        for (node, asks), answers in zip(asked.items(), told, strict=True):
            for (path, _), answer in zip(asks, answers, strict=False):
                if answer is not None:
                    heard[path][node] = answer
        return heard

    async def _ask(
        self, view: TopologyView, node: str, asks: Sequence[AskReplica]
    ) -> Sequence[ReplicaTold | None]:
        """Ask one node. Returns: nothing if it does not answer."""
        if self._now_ns() < self._silent_until_ns.get(node, 0):
            return ()
        try:
            answer = await self._peer_of(node).call(
                AskReplicas(asked=tuple(asks)), deadline_s=FAILOVER_ASK_S
            )
        except DStoreError as error:
            _log.info("node_not_heard", node=node, reason=error.message)
            if not is_alive(view, node):
                self._silent_until_ns[node] = self._now_ns() + int(FAILOVER_SILENT_S * NS_PER_S)
            return ()
        return answer.told


def _shown(view: TopologyView, path: keys.RangePath) -> Placed | None:
    """Find a range's value in the view."""
    table = view.table(path.tenant, path.table)
    found = None if table is None else table.range_of(path.low_hash)
    if found is None or found.low_hash != path.low_hash:
        return None
    return Placed(path=path, value=found.placement, revision=found.mod_revision)


def _is_lost(view: TopologyView, placed: Placed) -> bool:
    """Tell whether a range has no primary, or one that can't open it, and somebody who could be."""
    return _is_without_primary(view, placed.value) or (
        _has_others(placed.value) and _is_ruined(view, placed.path, placed.value)
    )


def _is_without_primary(view: TopologyView, value: RangePlacement) -> bool:
    return _has_others(value) and (
        not is_alive(view, value.node) or has_other_disk(primary_of(value), where(view, value.node))
    )


def _has_others(value: RangePlacement) -> bool:
    return len(value.in_sync) > 1 and value.is_settled


def _is_ruined(view: TopologyView, path: keys.RangePath, value: RangePlacement) -> bool:
    """Tell whether a range's primary says that its file is damaged; it may serve all the same."""
    status = held_status(
        view, node=value.node, tenant=path.tenant, table=path.table, range_id=value.range_id
    )
    return status is HeldStatus.DAMAGED


def _ruined_of(view: TopologyView, report: keys.NodeTablePath) -> Iterator[keys.RangePath]:
    """Find the ranges of a table that a node is the primary of, and says to be damaged."""
    node, tenant, table = report.node, report.tenant, report.table
    seen, shown = view.node(node), view.table(tenant, table)
    told = None if seen is None else seen.reported.get(keys.held_name(tenant, table))
    if shown is None or told is None or told.value.status is not HeldStatus.DAMAGED:
        return
    for placed in shown.ranges:
        path = keys.RangePath(tenant, table, placed.low_hash)
        if placed.placement.node == node and _is_ruined(view, path, placed.placement):
            yield path


def _lost(view: TopologyView, nodes: Collection[str] | None) -> list[keys.RangePath]:
    """Find the ranges without a primary; about 1 µs each."""
    found = [
        keys.RangePath(tenant.name, table.definition.name, placed.low_hash)
        for tenant in view.tenants.values()
        for table in tenant.tables.values()
        for placed in table.ranges
        if (nodes is None or placed.placement.node in nodes)
        and _is_without_primary(view, placed.placement)
    ]
    for node, seen in view.nodes.items() if nodes is None else ():
        for name in seen.reported:
            tenant_name, _, table_name = name.partition("/")
            report = keys.NodeTablePath(keys.ComponentId(node), tenant_name, table_name)
            found += _ruined_of(view, report)
    return found
