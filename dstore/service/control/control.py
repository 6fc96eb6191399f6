"""One control process, put together: what it answers, what it runs, what its operator asks.

    plane = await open_plane(store, control_key, …)
    control = Control(plane, coordinator, watcher, ControlSettings(uri=…), clock=…, entropy=…)
    tasks.spawn(control.run(), name="control", critical=True)      # beside watcher.run()
    Methods([*control.answered, *key_methods.answered])            # for the peer listener

It begins nothing before `run`, and needs neither store nor coordinator to be constructed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dstore.base.limits import REPLACED_AFTER_S, REPLICATION_FACTOR_DEFAULT
from dstore.replication.peers.calls import Answered
from dstore.replication.peers.errors import unreachable
from dstore.replication.peers.port import Received
from dstore.security.identity import ComponentRole
from dstore.service.calls import control_calls as calls
from dstore.service.calls.recovery_calls import RECOVERIES
from dstore.service.control.addresses import Addresses
from dstore.service.control.compaction import Compaction
from dstore.service.control.credentials import ControlCredentials
from dstore.service.control.deletions import Deletions
from dstore.service.control.discards import discard_handlers
from dstore.service.control.elasticity import Elasticity
from dstore.service.control.failover import Failovers
from dstore.service.control.index_rebuilds import IndexRebuilds
from dstore.service.control.indexes import Indexes
from dstore.service.control.leader import Leader
from dstore.service.control.losses import Losses
from dstore.service.control.move_tasks import MoveTasks
from dstore.service.control.moves import Moves
from dstore.service.control.notices import NoticeTaker
from dstore.service.control.observer import Observer
from dstore.service.control.presence import Presence
from dstore.service.control.publisher import Publisher
from dstore.service.control.realm import Realm
from dstore.service.control.recovery import Recovery
from dstore.service.control.scrubs import TableScrubs
from dstore.service.control.settling import Settling
from dstore.service.control.splits import Splits, SplitSettings
from dstore.service.control.survey import Survey
from dstore.service.control.tables import ControlTables
from dstore.service.control.tasks import TaskRunner
from dstore.service.control.tenants import ControlTenants
from dstore.topology import keyspace as keys
from dstore.topology import values

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.replication.peers.port import Peer
    from dstore.service.control.plane import ControlPlane
    from dstore.service.peer_pool import Nodes
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.watcher import TopologyWatcher


Ask = TypeVar(
    "Ask",
    calls.CreateTenant,
    calls.DeleteTenant,
    calls.CreateTable,
    calls.DeclareTable,
    calls.SetTable,
    calls.DeleteTable,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """How a control process is set.

    Attributes:
        uri: of its peer listener, as others reach it.
        version: of dStore, to be shown.
        zone: where it runs.
        ranges_per_table: see `placement.range_count`.
        replication_factor: how many replicas a range has where a table does not say.
        moves_replicas: whether replicas and primaries are moved where they should be.
        replaced_after_s: how long a node is gone before its replicas are made anew elsewhere.
        splits: from where on ranges are split, if replicas are moved.
        has_indexes: whether global indexes are made.
    """

    uri: str
    version: str
    zone: str = ""
    ranges_per_table: int | None = None
    replication_factor: int = REPLICATION_FACTOR_DEFAULT
    moves_replicas: bool = True
    replaced_after_s: float = REPLACED_AFTER_S
    splits: SplitSettings = field(default_factory=SplitSettings)
    has_indexes: bool = True


class Control:
    """A control process at work."""

    def __init__(
        self,
        plane: ControlPlane,
        coordinator: Coordinator,
        watcher: TopologyWatcher,
        *,
        settings: ControlSettings,
        clock: Clock,
        entropy: Entropy,
        nodes: Nodes | None = None,
    ) -> None:
        """Put it together; `watcher` is of `coordinator`, of the scope `everything`.

        Without `nodes` no node can be asked anything.
        """
        nodes = _NoNodes() if nodes is None else nodes
        self.publisher = Publisher(
            plane.store,
            coordinator,
            plane=plane.uuid,
            watcher=watcher,
            nodes=nodes,
            entropy=entropy,
        )
        self.leader = Leader(
            plane, coordinator, uri=settings.uri, watcher=watcher, clock=clock, entropy=entropy
        )
        self.realm = Realm(
            plane=plane,
            leader=self.leader,
            publisher=self.publisher,
            watcher=watcher,
            clock=clock,
            entropy=entropy,
            ranges_per_table=settings.ranges_per_table,
            replication_factor=settings.replication_factor,
            has_indexes=settings.has_indexes,
        )
        self.tenants = ControlTenants(self.realm)
        self.tables = ControlTables(self.realm)
        self.credentials = ControlCredentials(self.realm)
        self.survey = Survey(self.realm)
        self.recovery = Recovery(self.realm, coordinator)
        self._observer = Observer(self.realm)
        self._addresses = Addresses(self.realm, coordinator)
        self._failovers = Failovers(self.realm, coordinator, peer_of=nodes.peer)
        self._settling = Settling(self.realm, coordinator, nodes=nodes)
        self._compaction = Compaction(coordinator)
        self.moves = Moves(
            self.realm, coordinator, peer_of=nodes.peer, replaced_after_s=settings.replaced_after_s
        )
        self.splits = Splits(self.realm, self.moves, peer_of=nodes.peer, settings=settings.splits)
        self.elasticity = Elasticity(self.realm, self.moves)
        self.indexes = Indexes(self.realm, peer_of=nodes.peer)
        self.losses = Losses(self.realm, coordinator, peer_of=nodes.peer)
        self.scrubs = TableScrubs(self.realm, nodes)
        self.rebuilds = IndexRebuilds(self.realm)
        self._tasks = self._task_runner()
        self._moves_replicas = settings.moves_replicas
        self._notices = NoticeTaker(self.realm, coordinator)
        self._presence = Presence(
            coordinator,
            keys.ComponentId(plane.process),
            _details(settings, started_at_us=clock.wall_us()),
            role=ComponentRole.CONTROL,
            clock=clock,
            entropy=entropy,
        )

    def _task_runner(self) -> TaskRunner:
        return TaskRunner(
            self.realm,
            {
                **Deletions(self.realm).handlers,
                **discard_handlers(),
                **self.losses.handlers,
            },
            followers={
                **MoveTasks(self.realm, self.moves).handlers,
                **self.splits.handlers,
                **self.indexes.handlers,
            },
        )

    @property
    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """What this process answers its peers, beside what `KeyMethods` does."""
        return (
            Answered(call=calls.CREATE_TENANT, handler=self._create_tenant),
            Answered(call=calls.DELETE_TENANT, handler=self._delete_tenant),
            Answered(call=calls.CREATE_TABLE, handler=self._create_table),
            Answered(call=calls.DECLARE_TABLE, handler=self._declare_table),
            Answered(call=calls.SET_TABLE, handler=self._set_table),
            Answered(call=calls.DELETE_TABLE, handler=self._delete_table),
            Answered(call=RECOVERIES, handler=self.recovery.answer),
        )

    async def run(self) -> None:
        """Be a control process until cancelled: show itself, stand for leader, and lead."""
        begin = (self.publisher.begin, self._tasks.begin)
        jobs = [
            self.publisher.run,
            self._observer.run,
            self._addresses.run,
            self._failovers.run,
            self._settling.run,
            self._compaction.run,
            self._tasks.run,
            self._notices.run,
            self.indexes.run,
        ]
        if self._moves_replicas:
            jobs += [self.moves.run, self.splits.run]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._presence.run(), name="control_presence")
            group.create_task(self.recovery.run(), name="control_recovery")
            group.create_task(self.leader.run(begin=begin, jobs=jobs), name="control_leader")

    async def _create_tenant(
        self, ask: calls.CreateTenant, received: Received
    ) -> calls.TenantChanged:
        return await self.tenants.create(_named(ask, received))

    async def _delete_tenant(self, ask: calls.DeleteTenant, received: Received) -> calls.TenantGone:
        return await self.tenants.delete(_named(ask, received))

    async def _create_table(self, ask: calls.CreateTable, received: Received) -> calls.TableChanged:
        return await self.tables.create(_named(ask, received))

    async def _declare_table(
        self, ask: calls.DeclareTable, received: Received
    ) -> calls.TableChanged:
        return await self.tables.declare(_named(ask, received))

    async def _set_table(self, ask: calls.SetTable, received: Received) -> calls.TableChanged:
        return await self.tables.set(_named(ask, received))

    async def _delete_table(self, ask: calls.DeleteTable, received: Received) -> calls.TableChanged:
        return await self.tables.delete(_named(ask, received))


class _NoNodes:
    """Nobody can be asked."""

    def peer(self, node: str, *, last_uri: str | None = None) -> Peer:
        """See `Nodes.peer`."""
        del node, last_uri
        raise unreachable("can't be asked by this process")


def _details(settings: ControlSettings, *, started_at_us: int) -> values.Details:
    return values.Details(
        status=values.ComponentStatus.OKAY,
        uri=settings.uri,
        zone=settings.zone,
        version=settings.version,
        started_at_us=started_at_us,
    )


def _named(ask: Ask, received: Received) -> Ask:
    """Note for the audit log through which component somebody asks."""
    through = f"{received.caller.role} {received.caller.uuid}"
    actor = f"{ask.actor} through {through}" if ask.actor else through
    return msgspec.structs.replace(ask, actor=actor)
