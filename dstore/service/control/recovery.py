"""Let an operator say that control's store is right and the coordinator is to be made so.

Control itself changes nothing once the two do not belong together: it can't know whether somebody
is about to bring the right etcd back. The order is one transaction of the store; from its commit on
whoever leads carries it out (`republication`), and processes that froze go on when they see that it
is done (`topology.claims`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dstore.base.limits import TOPOLOGY_RETRY_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError, RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.service.calls.recovery_calls import AskRecoveries, Recoveries
from dstore.service.control.status import RecoveryReport, RecoveryState
from dstore.storage.control import outbox, planes, tables, tenants
from dstore.topology import claims, values
from dstore.topology import keyspace as keys
from dstore.topology.coordinator import CoordinatorError
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from dstore.replication.peers.port import Received
    from dstore.service.control.realm import Realm
    from dstore.storage.control.records import ControlPlaneRecord
    from dstore.storage.control.store import ControlStore
    from dstore.topology.coordinator import Coordinator, Revision
    from dstore.topology.view import TopologyView

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What the store says."""

    plane: ControlPlaneRecord
    last: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What the coordinator says that answers now."""

    claim: values.Plane | None
    sequence: int
    revision: Revision


class Recovery:
    """Implements `status.TopologyRecovery` for one control process."""

    def __init__(self, realm: Realm, coordinator: Coordinator) -> None:
        """Compare the store of `realm` with `coordinator`."""
        self._realm = realm
        self._coordinator = coordinator

    async def report(self) -> RecoveryReport:
        """See `TopologyRecovery.report`."""
        shown = await self._shown()
        async with self._realm.plane.store.snapshot() as tx:
            plane = await planes.get(tx)
            assert plane is not None, "this process has opened it"
            stored = _Stored(
                plane=plane, last=await outbox.last(tx), waiting=await outbox.depth(tx)
            )
            state, why = self._compared(stored, shown)
            return RecoveryReport(
                state=state,
                why=why,
                revision=shown.revision,
                recoveries=plane.recoveries,
                sequence=stored.last,
                shown=shown.sequence,
                tenants=await tenants.count(tx),
                tables=await tables.count(tx),
                ranges=await tables.count_ranges(tx),
            )

    async def order(self, *, actor: str) -> RecoveryReport:
        """See `TopologyRecovery.order`."""
        report = await self.report()
        if report.state is RecoveryState.UNDER_WAY:
            return report
        if report.state is not RecoveryState.NEEDED:
            raise Refused(RefusalKind.CONFLICT, report.why)
        try:
            return await self._ordered(report, actor=actor)
        except Refused:  # somebody else was first
            again = await self.report()
            if again.state is not RecoveryState.UNDER_WAY:
                raise
            return again

    async def _ordered(self, report: RecoveryReport, *, actor: str) -> RecoveryReport:
        """Write the order down. Raises: Refused(CONFLICT): another one was first."""
        realm = self._realm
        count = report.recoveries + 1
        async with realm.plane.store.transaction() as tx:
            await planes.begin_recovery(tx, after=report.recoveries)
            await realm.audit(
                tx,
                actor=actor,
                action="recover_topology",
                subject=f"recovery {count}, because: {report.why}",
                result="ordered",
            )
        _log.warning("topology_recovery_ordered", recoveries=count, reason=report.why)
        return replace(report, state=RecoveryState.UNDER_WAY, why=_UNDER_WAY, recoveries=count)

    async def answer(self, _ask: AskRecoveries, _received: Received) -> Recoveries:
        """Tell a component how often the topology was recovered."""
        return Recoveries(count=await count_recoveries(self._realm.plane.store))

    async def run(self) -> None:
        """Let this process lead a recovery though it has seen another coordinator, until cancelled.

        Its own view stays frozen until the recovery is done.
        """
        while True:
            await asyncio.sleep(TOPOLOGY_RETRY_S)
            if self._realm.watcher.status().state is not TopologyState.FROZEN:
                continue
            try:
                if (await _plane(self._realm.plane.store)).is_recovering:
                    self._coordinator.accept()
            except DStoreError as error:
                _log.debug("recovery_not_looked_for", reason=error.message)

    def _compared(self, stored: _Stored, shown: _Shown) -> tuple[RecoveryState, str]:
        """Say whether the two belong together, and if not, which of them is the old one."""
        impossible = self._impossible(stored, shown)
        if impossible is not None:
            return RecoveryState.IMPOSSIBLE, impossible
        if stored.plane.is_recovering:
            return RecoveryState.UNDER_WAY, _UNDER_WAY
        if self._is_about_to_thaw(stored, shown):
            return RecoveryState.UNDER_WAY, _TAKEN_OVER
        why = self._needed(stored, shown)
        if why is not None:
            return RecoveryState.NEEDED, why
        return RecoveryState.NOT_NEEDED, self._whole()

    def _whole(self) -> str:
        """Say that nothing is to be recovered, and which ranges wait for nodes."""
        unsettled = count_unsettled(self._realm.watcher.view)
        if unsettled:
            return (
                f"The topology is recovered, but for {unsettled} ranges: they wait for nodes that "
                "may remember who was in sync. Bring every node back."
            )
        return "Control's store and the coordinator belong together; there is nothing to recover."

    def _impossible(self, stored: _Stored, shown: _Shown) -> str | None:
        claim, plane = shown.claim, stored.plane
        if claim is not None and claim.control_plane != plane.uuid:
            return (
                f"The coordinator belongs to control plane {claim.control_plane}, and this is "
                f"{plane.uuid}; give each its own etcd, or its own namespace in one."
            )
        is_behind = claim is not None and claim.recoveries > plane.recoveries
        if shown.sequence > stored.last or is_behind:
            return (
                f"The store has {stored.last} changes and the coordinator shows {shown.sequence}: "
                "the store is the old one, and to publish it would withdraw what was made since. "
                "Restore a newer backup of the store."
            )
        return None

    def _needed(self, stored: _Stored, shown: _Shown) -> str | None:
        given = stored.last - stored.waiting
        status = self._realm.watcher.status()
        if shown.claim is None and (given or stored.plane.recoveries):
            return f"The coordinator is empty, and control has published {given} changes before."
        if shown.sequence < given:
            return f"The coordinator has {shown.sequence} of {given} changes: it is an older copy."
        if shown.claim is not None and shown.claim.recoveries < stored.plane.recoveries:
            return "The coordinator is of before the last recovery: it is an older copy."
        if shown.revision < stored.plane.leader_epoch:
            return (
                f"The coordinator is at revision {shown.revision}, and a control led at revision "
                f"{stored.plane.leader_epoch} before: it is an older copy."
            )
        return status.sentence if status.state is TopologyState.FROZEN else None

    def _is_about_to_thaw(self, stored: _Stored, shown: _Shown) -> bool:
        watcher, claim = self._realm.watcher, shown.claim
        return (
            watcher.status().state is TopologyState.FROZEN
            and claim is not None
            and claim.recoveries == stored.plane.recoveries
            and claims.may_be_recovered(watcher.view, claim)
        )

    async def _shown(self) -> _Shown:
        """Read the coordinator. Raises: Unavailable: it can't be."""
        try:
            plane = await self._coordinator.peek(keys.PLANE.path)
            published = await self._coordinator.peek(keys.PUBLISHED.path)
        except CoordinatorError as error:
            raise Unavailable(UnavailableKind.UNREACHABLE, error.message) from None
        return _Shown(
            claim=None if plane.kv is None else values.decode(keys.PLANE, plane.kv.value),
            sequence=0
            if published.kv is None
            else values.decode(keys.PUBLISHED, published.kv.value).sequence,
            revision=published.revision,
        )


def count_unsettled(view: TopologyView) -> int:
    """Count the ranges of which nobody knows yet who is in sync; about 0.2 µs a range."""
    return sum(
        not placed.placement.is_settled
        for tenant in view.tenants.values()
        for table in tenant.tables.values()
        for placed in table.ranges
    )


async def count_recoveries(store: ControlStore) -> int:
    """Count the recoveries that were ordered so far. Raises: Unavailable: the store."""
    return (await _plane(store)).recoveries


async def _plane(store: ControlStore) -> ControlPlaneRecord:
    async with store.snapshot() as tx:
        plane = await planes.get(tx)
    assert plane is not None, "this process has opened it"
    return plane


_TAKEN_OVER: Final = (
    "The topology was recovered, and this control process takes it over within seconds."
)
_UNDER_WAY: Final = (
    "The topology is being recovered: the leading control publishes everything anew from its store."
)
