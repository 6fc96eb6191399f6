"""A control process without its listeners: what it has open, answers and runs.

A control of its own (`control`) adds a peer listener, through which components join; in a process
of all roles the others ask by reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from dstore import __version__
from dstore.api.admin.door import TokenDoor
from dstore.api.admin.join_tokens import PlaneJoinTokens
from dstore.api.admin.routes import ControlAdmin, control_routes
from dstore.api.admin.status import Report
from dstore.api.http.health import Readiness
from dstore.replication.peers.calls import Methods
from dstore.replication.peers.errors import unreachable
from dstore.roles.base import Job, Runtime
from dstore.service.control.admission import Admissions
from dstore.service.control.control import Control, ControlSettings
from dstore.service.control.key_feed import KeyFeed
from dstore.service.control.key_methods import KeyMethods
from dstore.service.control.membership import Memberships
from dstore.service.control.plane import register_control
from dstore.service.control.recovery import count_recoveries
from dstore.service.control.roster import Roster
from dstore.service.control.shares import TenantShareGiver
from dstore.service.control.split_choice import SplitBounds
from dstore.service.control.splits import SplitSettings
from dstore.service.control.verdicts import HoldingVerdicts
from dstore.service.peer_pool import PeerPool
from dstore.topology.status import TopologyState
from dstore.topology.watcher import TopologyWatcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dstore.api.admin.ports import Credentials, Door
    from dstore.api.admin.status import Section
    from dstore.api.http.route import Route
    from dstore.base.metrics import Metrics
    from dstore.replication.peers.port import Peer
    from dstore.service.control.plane import ControlPlane
    from dstore.service.peer_pool import Dial
    from dstore.topology.coordinator import Coordinator


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlProcess:
    """A control process, open; `methods` are what other components may ask it.

    Whoever opens it closes `nodes`, the peers that it asks itself.
    """

    runtime: Runtime
    plane: ControlPlane
    control: Control
    watcher: TopologyWatcher
    nodes: PeerPool
    roster: Roster
    admissions: Admissions
    feed: KeyFeed
    methods: Methods

    @classmethod
    async def open(
        cls,
        runtime: Runtime,
        plane: ControlPlane,
        coordinator: Coordinator,
        *,
        uri: str,
        dial: Dial | None = None,
    ) -> Self:
        """Put it together; nothing runs yet.

        Args:
            runtime: of the role.
            plane: open; the caller closes its store.
            coordinator: the caller closes it.
            uri: of this process's peer listener, as others reach it.
            dial: makes the peers of nodes; None: there are none but those near (`nodes.add_near`).
        Raises: Unavailable: control's store.
        """
        clock, entropy = runtime.clock, runtime.entropy
        watcher = TopologyWatcher(
            coordinator,
            clock=clock,
            metrics=runtime.metrics,
            recoveries=partial(count_recoveries, plane.store),
        )
        nodes = PeerPool(watcher, dial=dial or _no_such_node, tasks=runtime.tasks)
        control = Control(
            plane,
            coordinator,
            watcher,
            settings=_control_settings(runtime, uri=uri),
            clock=clock,
            entropy=entropy,
            nodes=nodes,
        )
        roster = Roster(plane.store, clock=clock)
        await roster.refresh()
        feed = KeyFeed(plane, clock=clock)
        keys = KeyMethods(
            memberships=Memberships(plane, clock=clock, entropy=entropy),
            shares=TenantShareGiver(plane),
            verdicts=HoldingVerdicts(plane),
            feed=feed,
            roster=roster,
        )
        return cls(
            runtime=runtime,
            plane=plane,
            control=control,
            watcher=watcher,
            nodes=nodes,
            roster=roster,
            admissions=Admissions(plane, clock=clock, entropy=entropy),
            feed=feed,
            methods=Methods([*control.answered, *keys.answered()]),
        )

    def admin_routes(
        self,
        *,
        door: Door | None = None,
        credentials: Credentials | None = None,
        sections: Sequence[Callable[[], Awaitable[Section]]] = (),
        measure: Callable[[Metrics], None] | None = None,
    ) -> tuple[Route, ...]:
        """Bind the admin API.

        Args:
            door: tells who asks; None asks control's store for the operator's tokens.
            credentials: of clients; None changes those in control's store, and no more.
            sections: what the status says of other roles in this process, see `NodeStatus`.
            measure: sets their metrics.
        """
        runtime, control = self.runtime, self.control
        admin = ControlAdmin(
            process=self.plane.process,
            location=self.plane.location,
            door=door or TokenDoor(control.credentials.bearer),
            credentials=credentials or control.credentials,
            join_tokens=PlaneJoinTokens(self.admissions, control.survey),
            reports=control.survey,
            recovery=control.recovery,
            placing=control.elasticity,
            losing=control.losses,
            scrubbing=control.scrubs,
            rebuilding=control.rebuilds,
        )
        report = Report(
            roles=runtime.role_names, started_at_us=runtime.started_at_us, clock=runtime.clock
        )
        return control_routes(
            admin, report=report, metrics=runtime.metrics, sections=sections, measure=measure
        )

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What runs for as long as it serves."""
        return (
            Job(name="watch_topology", run=self.watcher.run),
            Job(name="control", run=self.control.run),
            Job(name="watch_roster", run=self.roster.run),
        )

    def readiness(self) -> Readiness:
        """Tell whether it can do what it is there for."""
        if self.watcher.status().state is TopologyState.EMPTY:
            return Readiness(is_ready=False, reason="waiting for the coordinator")
        return Readiness(is_ready=True)

    async def register(self, *, uri: str, certificate_serial: str) -> None:
        """Enter it among the controls, before components are told of any.

        Raises: Refused(CONFLICT): it was removed for good. Unavailable, Unknown: the store.
        """
        await register_control(
            self.plane,
            uri=uri,
            version=__version__,
            certificate_serial=certificate_serial,
            now_us=self.runtime.clock.wall_us(),
        )
        await self.roster.refresh()


def _no_such_node(_node: str, _uri: str) -> Peer:
    raise unreachable("is not in this process, which calls no other")


def _control_settings(runtime: Runtime, *, uri: str) -> ControlSettings:
    settings = runtime.settings
    return ControlSettings(
        uri=uri,
        version=__version__,
        zone=settings.zone,
        ranges_per_table=settings.ranges_per_table or None,
        replication_factor=settings.replication_factor,
        splits=SplitSettings(
            bounds=SplitBounds(
                size_bytes=settings.split_size_bytes,
                requests_per_s=settings.split_requests_per_s,
                sustained_s=settings.split_sustained_s,
            ),
            counts=runtime.metrics.splits,
        ),
    )
