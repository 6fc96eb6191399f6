"""A data node in a cluster: from its start, locked, to its end.

It holds `node/{uuid}/alive`, which only one process can, and unlocks its database with control's
share. Then it counts its start and serves its ranges; it carries out what the topology gives it and
says how that goes. From there on it serves whether control and the coordinator are there or not
(I10), until another process has started under its UUID: then it ends at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.base.limits import (
    CONTROL_ANSWER_S,
    LEASE_TTL_S,
    OWN_KEYS_LAST_S,
)
from dstore.base.logging import get_logger
from dstore.base.metrics import IndexMetrics, ScrubMetrics
from dstore.base.tasks import Tasks
from dstore.model.errors import Corrupt, DStoreError, RefusalKind, Refused
from dstore.service.calls.key_calls import AskComponentKey
from dstore.service.cluster.assignments import Assignments, TableState
from dstore.service.cluster.boot_counter import BootCounter, Booted
from dstore.service.cluster.node_details import NodeDetails, NodePlace
from dstore.service.cluster.notices import NodeNotices
from dstore.service.cluster.own_keys import OwnKeys
from dstore.service.cluster.range_replicas import Member, RangeReplicas
from dstore.service.cluster.rewriting import rewrite_files
from dstore.service.cluster.scrubs import ScrubSettings
from dstore.service.cluster.table_reports import TableReports
from dstore.service.cluster.tenant_shares import TenantShareBook
from dstore.service.range_gate import RangeGate
from dstore.service.range_server import RangeServer
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.backoff import Backoff
from dstore.topology.coordinator import CoordinatorError, Revision
from dstore.topology.leases import LeasedKey
from dstore.topology.values import ComponentStatus

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.replication.peers.calls import Answered
    from dstore.replication.peers.port import Peer
    from dstore.security.keys import ControlShare
    from dstore.service.disk_space import DiskSpace
    from dstore.service.node import Node
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.watcher import TopologyWatcher, Update

_log = get_logger(__name__)

WAITING_FOR_CONTROL: Final = "locked: waiting for control"
WAITING_FOR_COORDINATOR: Final = "waiting for the coordinator"
OPENING_RANGES: Final = "opening its ranges"
WAITING_FOR_TWIN: Final = (
    "another process has this node's UUID, or has had it until a moment ago; it must end first"
)


Opening = Callable[["ControlShare"], Awaitable["Node"]]
"""Opens the node's data directory with control's share (`node.open_node`)."""

Jobs = Callable[["Node"], Sequence[Coroutine[Any, Any, None]]]
"""What runs beside an open node for as long as it serves."""


class ClusterNode:
    """One node's life in a cluster. Used from one event loop."""

    def __init__(
        self,
        place: NodePlace,
        *,
        coordinator: Coordinator,
        watcher: TopologyWatcher,
        control: Peer,
        opening: Opening,
        jobs: Jobs,
        peer_of: Callable[[str], Peer],
        clock: Clock,
        entropy: Entropy,
        rewrites_files: bool = False,
        scrubs: ScrubSettings | None = None,
        indexes: IndexMetrics | None = None,
    ) -> None:
        """Put it together; `run` makes it live.

        Args:
            place: who it is.
            coordinator: of its control plane.
            watcher: of the same; its `run` and `keep_copy` are somebody else's tasks.
            control: any control that can answer (`enrolment.control_link`).
            opening: opens the data directory; it makes it on the first start.
            jobs: of the node itself.
            peer_of: finds another node by its UUID. Raises: Unreachable.
            clock: for leases and notices.
            entropy: for sessions, nonces and retries.
            rewrites_files: write files anew whose keys were drawn before control had a share of
                them (I4); of no use where control's keys lie in the same directory.
            scrubs: how its ranges are scrubbed, and who counts that.
            indexes: count what global indexes are fed.
        """
        self._indexes = indexes or IndexMetrics()
        self._scrubs = scrubs or ScrubSettings(counts=ScrubMetrics())
        self._began_ns = clock.monotonic_ns()
        self._peer_of = peer_of
        self._rewrites_files = rewrites_files
        self._place = place
        self._me = keys.ComponentId(place.identity.uuid)
        self._coordinator = coordinator
        self._watcher = watcher
        self._control = control
        self._opening = opening
        self._jobs = jobs
        self._clock = clock
        self._entropy = entropy
        self._is_draining = False
        self._counter: BootCounter | None = None
        self._booted: Booted | None = None
        self._is_serving = False
        self._problem = WAITING_FOR_CONTROL  # while it does not serve
        self._own = OwnKeys(coordinator, entropy)
        self._notices = NodeNotices(coordinator, node=self._me, clock=clock, entropy=entropy)
        self._details = NodeDetails(
            place, self._own, self._notices, status=self._status, disk=self._disk
        )
        self._reports: TableReports | None = None
        self._assignments: Assignments | None = None
        self._replicas: RangeReplicas | None = None
        self._gate = RangeGate(f"The node is {WAITING_FOR_CONTROL}.")
        self._opened = Tasks(_raised_by_run)
        self._is_alive = asyncio.Event()
        self._superseded = asyncio.Event()
        self._is_start_unseen = asyncio.Event()
        self.node: Node | None = None
        """The open node; None while it is locked."""

    # ------------------------------------------------------------------------------ for others

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls that it answers, and their handlers."""
        return self._gate.answered()

    @property
    def problem(self) -> str:
        """Why it does not serve, or not all that it holds, in a phrase; "" if it does."""
        if self._is_serving:
            if not self._has_looked:
                return OPENING_RANGES
            return WAITING_FOR_CONTROL if self._is_locked else ""
        if self.node is None or self._is_alive.is_set() or self._superseded.is_set():
            return self._problem
        seen = self._watcher.view.node(self._me)
        is_taken = seen is not None and seen.alive is not None
        return WAITING_FOR_TWIN if is_taken else WAITING_FOR_COORDINATOR

    @property
    def is_settled(self) -> bool:
        """Whether it serves, and has done and told everything that it knows of."""
        assignments, replicas = self._assignments, self._replicas
        if not self._is_serving or assignments is None or replicas is None:
            return False
        return assignments.is_settled and replicas.is_settled and self._own.is_all_said

    @property
    def is_serving(self) -> bool:
        """Whether it answers for ranges, of which it may not have opened all."""
        return self._is_serving

    @property
    def pending_rewrites(self) -> int:
        """Files whose keys were drawn before control had a share of them (I4)."""
        return 0 if self.node is None else len(self.node.holdings.to_be_rewritten())

    def announce(self, uri: str) -> None:
        """Learn where others reach its peer listener; call it before `run`."""
        self._details.uri = uri

    async def depart(self, timeout_s: float) -> None:
        """Give away the ranges that others can take, within so many seconds; it serves on."""
        self._is_draining = True
        if self._is_serving and self._replicas is not None:
            self._details.say()
            await self._replicas.depart(timeout_s)

    async def drain(self) -> None:
        """Say that it is about to stop, if it can be said within OWN_KEYS_LAST_S."""
        self._is_draining = True
        if self._details.uri is None or not self._is_alive.is_set():
            return
        self._details.say()
        with suppress(TimeoutError, DStoreError):
            async with asyncio.timeout(OWN_KEYS_LAST_S):
                if self._counter is not None and self._booted is not None:
                    await self._counter.mark(self._booted.boot)
                await self._own.all_said()

    async def close(self) -> None:
        """Close what was opened, once `run` has ended. Safe to call twice."""
        self._gate.close("The node has ended.")
        await self._opened.drain()
        node, self.node = self.node, None
        if node is not None:
            await node.close()

    # ------------------------------------------------------------------------------ its life

    async def run(self) -> None:
        """Live until cancelled; run it once, as a critical task.

        Raises: ExceptionGroup: of Refused (conflict): another process has started under this node's
            UUID. Of Corrupt, WrongKey: the directory can't be opened.
        """
        alive = LeasedKey(
            self._coordinator,
            keys.AlivePath(self._place.identity.role, self._me).path,
            values.encode(values.Alive(session=self._entropy.uuid())),
            ttl_s=LEASE_TTL_S,
            is_exclusive=True,  # a second process with this UUID waits until this one is gone
            clock=self._clock,
            entropy=self._entropy,
            on_change=self._alive_changed,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(alive.run(), name="node_alive")
            unlocking = group.create_task(self._unlock(), name="node_unlock")
            await self._is_alive.wait()
            for work in (self._own.run(), self._notices.run(), self._details.keep()):
                group.create_task(work, name="node_says")
            node = await unlocking
            self._problem = WAITING_FOR_COORDINATOR
            counter = self._counter = self._boot_counter(node)
            booted = self._booted = await self._count_start(counter)
            self._watcher.on_recovered(self._say_anew)
            group.create_task(self._show_start_anew(counter, booted), name="node_start")
            group.create_task(counter.keep_marked(booted.boot), name="node_start")
            end_watch = self._watcher.subscribe(keys.node_prefix(self._me), self._seen)
            try:
                group.create_task(self._end_if_superseded(), name="node_superseded")
                if booted.is_old_copy:
                    self._notices.tell_of_copy()
                replicas = self._replicas = self._replicas_of(node, booted)
                self._serve(node, replicas)
                await self._work(node, replicas, group)
            finally:
                end_watch()
                self._is_serving = False
                if self._replicas is not None:
                    await self._replicas.close()

    def _replicas_of(self, node: Node, booted: Booted) -> RangeReplicas:
        return RangeReplicas(
            node,
            Member(
                uuid=self._me,
                incarnation=booted.boot.incarnation,
                began_ns=self._began_ns,
                clock=self._clock,
                coordinator=self._coordinator,
                watcher=self._watcher,
                peer_of=self._peer_of,
                on_serving=self._serving_changed,
                on_fault=self._faulty,
                on_damage=self._found_damaged,
                on_anew=self._begun_anew,
                on_failure=_raised_by_run,
                notices=self._notices,
                scrubs=self._scrubs,
                entropy=self._entropy,
                indexes=self._indexes,
            ),
        )

    def _serving_changed(self, range_id: str) -> None:
        if self._reports is not None:
            self._reports.look_at(range_id)

    async def _work(self, node: Node, replicas: RangeReplicas, group: asyncio.TaskGroup) -> None:
        """Begin what a serving node does, and wait for its end."""
        reports = self._reports = TableReports(
            self._own,
            node.holdings,
            heat=node.heat,
            node=self._me,
            is_waiting=replicas.is_waiting,
        )
        assignments = self._assignments = Assignments(
            self._me,
            control_plane=self._place.identity.control_plane,
            watcher=self._watcher,
            coordinator=self._coordinator,
            control=self._control,
            holdings=node.holdings,
            duties=node.duties,
            replicas=replicas,
            shares=TenantShareBook(self._control, self._place.identity.control_plane),
            entropy=self._entropy,
            on_state=self._table_changed,
            on_conflict=self._notices.tell_of_conflict,
            on_unknown=self._notices.tell_of_unknown,
            on_looked=self._details.say,
        )
        rewriting = (rewrite_files(node),) if self._rewrites_files else ()
        for job in (
            *self._jobs(node),
            reports.measure(),
            replicas.scrubs.run(),
            replicas.indexes.sweep(),
            *rewriting,
        ):
            group.create_task(job, name="node_job")
        reports.found(await self._watcher.known())
        own = partial(self._own.follow, node=self._me)
        end_watch = self._watcher.subscribe(keys.node_prefix(self._me), own)
        try:
            await assignments.run()
        finally:
            end_watch()

    def _table_changed(self, state: TableState) -> None:
        assert self._reports is not None
        was_locked = self._is_locked
        self._reports.note(state)
        if was_locked != self._is_locked:
            self._details.say()

    def _damaged(self, range_id: str, error: Corrupt) -> None:
        self._notices.tell_of_damage(range_id, error)
        self._note_damage(range_id)

    def _faulty(self, range_id: str, error: Corrupt) -> None:
        self._notices.tell_of_fault(range_id, error.message)
        self._note_damage(range_id)

    def _note_damage(self, range_id: str) -> None:
        if self._reports is not None:
            self._reports.note_damage(range_id)
        if self._replicas is not None:
            self._replicas.retreat(range_id)
            self._replicas.scrubs.suspect(range_id)

    def _found_damaged(self, range_id: str, error: Corrupt) -> None:
        """Hear of damage that a scrub has found, which does about it what can be done."""
        self._notices.tell_of_damage(range_id, error)
        if self._reports is not None:
            self._reports.note_damage(range_id)

    def _begun_anew(self, range_id: str) -> None:
        if self._reports is not None:
            self._reports.note_anew(range_id)

    def _serve(self, node: Node, replicas: RangeReplicas) -> None:
        server = RangeServer(
            node.holdings,
            node.ranges,
            items=node.items,
            deferred=node.deferred,
            disk=node.disk,
            on_damage=self._damaged,
        )
        self._gate.open((*server.answered(), *replicas.answered()))
        self._is_serving = True
        self._details.say()
        _log.info("node_serves", node=self._me, ranges=len(node.holdings.ranges))

    # ---------------------------------------------------------------------------- unlocking

    async def _unlock(self) -> Node:
        """Open the node with control's share, however long control is away."""
        share = await self._share()
        # A thread that opens the directory can't be stopped: `close` waits for it.
        await asyncio.shield(self._opened.spawn(self._open(share), name="node_open"))
        assert self.node is not None
        return self.node

    async def _open(self, share: ControlShare) -> None:
        self.node = await self._opening(share)

    async def _share(self) -> ControlShare:
        backoff, told = Backoff(self._entropy), ""
        while True:
            try:
                given = await self._control.call(AskComponentKey(), deadline_s=CONTROL_ANSWER_S)
            except DStoreError as error:
                if error.message != told:
                    _log.warning("node_locked", node=self._me, reason=error.message)
                told = error.message
                if isinstance(error, Refused):
                    self._problem = f"locked: control refuses: {error.message}"
                await asyncio.sleep(backoff.next_s())
            else:
                return given.share(self._place.identity.control_plane)

    def _boot_counter(self, node: Node) -> BootCounter:
        return BootCounter(
            self._coordinator,
            node,
            node=self._me,
            control_plane=self._place.identity.control_plane,
            entropy=self._entropy,
        )

    async def _count_start(self, counter: BootCounter) -> Booted:
        backoff = Backoff(self._entropy)
        while True:
            await self._is_alive.wait()  # it may have been lost while the node was unlocked
            try:
                return await counter.count()
            except CoordinatorError as error:
                _log.warning("node_start_not_counted", reason=error.message)
                await asyncio.sleep(backoff.next_s())

    async def _show_start_anew(self, counter: BootCounter, booted: Booted) -> None:
        """Show the start that was counted to a coordinator that begins anew, until cancelled."""
        backoff = Backoff(self._entropy)
        while True:
            await self._is_start_unseen.wait()
            try:
                await counter.show(booted.boot)
            except CoordinatorError as error:
                _log.warning("node_start_not_shown", reason=error.message)
                await asyncio.sleep(backoff.next_s())
            else:
                self._is_start_unseen.clear()

    # ------------------------------------------------------------------------------- twins

    def _alive_changed(self, held_since: Revision | None) -> None:
        """Note whether the key is held. Once the node serves, losing it stops nothing (I10)."""
        if held_since is None:
            self._is_alive.clear()
        else:
            self._is_alive.set()

    def _seen(self, update: Update) -> None:
        seen = update.view.node(self._me)
        booted = self._booted
        if seen is None or seen.boot is None or booted is None:
            return
        known, mine = seen.boot.value, booted.boot
        if known.number >= mine.number and not known.is_of_run(mine):
            self._superseded.set()

    async def _end_if_superseded(self) -> None:
        await self._superseded.wait()
        self._is_serving = False
        self._problem = WAITING_FOR_TWIN
        self._gate.close("Another process has started as this node; ask that one.")
        _log.error("node_superseded", node=self._me)
        raise Refused(
            RefusalKind.CONFLICT,
            "Another process has started with this node's UUID, so this one ends. Is a copy of the "
            "data directory in use?",
        )

    # ------------------------------------------------------------------------ what it says

    def _status(self) -> ComponentStatus:
        if self._is_draining:
            return ComponentStatus.DRAINING
        if self.node is None:
            return ComponentStatus.LOCKED
        if not self._has_looked:
            return ComponentStatus.STARTING
        if self._is_locked:
            return ComponentStatus.LOCKED
        return ComponentStatus.OKAY if self.node.disk.has_space else ComponentStatus.NO_SPACE

    @property
    def _has_looked(self) -> bool:
        return self._assignments is not None and self._assignments.has_looked

    @property
    def _is_locked(self) -> bool:
        return self._reports is not None and self._reports.is_locked

    def _disk(self) -> DiskSpace | None:
        return None if self.node is None else self.node.disk

    def _say_anew(self) -> None:
        """Say everything once more: the coordinator begins anew."""
        self._own.forget()
        self._is_start_unseen.set()
        self._details.say()
        if self._reports is not None:
            self._reports.say_all()


def _raised_by_run(error: BaseException) -> None:
    """Take the failure of a critical task; there is none here."""
    raise AssertionError from error
