"""Give up what is certainly not a node's any more; everything else is kept, and looked at again.

Two have to say so, each by itself: the coordinator, read anew (`evidence`), and control's store,
which decides (ADR 0012) and which the coordinator only shows. One that was put back from a snapshot
has forgotten what was decided since, and nothing about it tells that from a deletion. Where control
does not answer, or its store knows nothing of what is held, it stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.limits import CONTROL_ANSWER_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.service.calls.key_calls import AskOfRange, AskOfTenant, Verdict
from dstore.service.cluster.evidence import is_range_given_up, is_tenant_gone
from dstore.topology.coordinator import CoordinatorError
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dstore.model.ranges import RangeRef
    from dstore.replication.peers.port import Peer
    from dstore.service.cluster.range_replicas import RangeReplicas
    from dstore.service.cluster.tenant_shares import TenantShareBook
    from dstore.service.holdings import Holdings
    from dstore.service.range_duties import RangeDuties
    from dstore.topology import keyspace as keys
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.view import TopologyView
    from dstore.topology.watcher import TopologyWatcher

_log = get_logger(__name__)

_REASONS: Final = {
    Verdict.HELD: "Control's store gives it to this node, and the coordinator lacks it.",
    Verdict.UNKNOWN: "Control's store knows neither it nor of its deletion.",
}


class GivingUp:
    """Drops ranges and tenants on clear evidence. Used from one event loop."""

    def __init__(
        self,
        node: keys.ComponentId,
        *,
        control_plane: str,
        watcher: TopologyWatcher,
        coordinator: Coordinator,
        control: Peer,
        holdings: Holdings,
        duties: RangeDuties,
        replicas: RangeReplicas,
        shares: TenantShareBook,
        on_unknown: Callable[[str, str], None],
    ) -> None:
        """Work for `node`; see `assignments.Assignments` for the rest."""
        self._on_unknown = on_unknown
        self._node = node
        self._control_plane = control_plane
        self._watcher = watcher
        self._coordinator = coordinator
        self._control = control
        self._holdings = holdings
        self._duties = duties
        self._replicas = replicas
        self._shares = shares
        self._kept: dict[str, str] = {}  # why, by UUID, as it was told last

    async def ranges(self, view: TopologyView, extra: Iterable[RangeRef]) -> bool:
        """Drop ranges that `view` does not give the node, if that is certain.

        Returns: whether all of them are gone.
        Raises: CoordinatorError: nothing was dropped that was not certain.
        """
        is_done = True
        for ref in extra:
            try:
                is_done &= await self._range(view, ref)
            except CoordinatorError:
                raise
            except DStoreError as error:  # control's, which the next one would meet as well
                self._keep(ref.range_id, error.message)
                return False
        return is_done

    async def tenant(self, view: TopologyView, tenant: str) -> bool:
        """Drop a tenant that nothing is held of, if it is gone; as `ranges`."""
        held = self._holdings.tenants.get(tenant)
        tenant_id = None if held is None else held.record.tenant_id
        if held is None or tenant_id is None or held.tables:
            return True
        shown = view.tenant(tenant)
        if shown is not None and shown.known is not None and shown.known.value.uuid == tenant_id:
            return True
        if not self._is_live or not await is_tenant_gone(
            self._coordinator,
            view,
            control_plane=self._control_plane,
            tenant=tenant,
            tenant_id=tenant_id,
        ):
            return False
        try:
            if not await self._is_gone(AskOfTenant(tenant, tenant_id), tenant_id):
                return False
            _log.info("tenant_given_up", tenant=tenant, tenant_id=tenant_id)
            await self._duties.drop_tenant(tenant, tenant_id=tenant_id)
        except DStoreError as error:
            _log.warning("tenant_not_dropped", tenant=tenant, reason=error.message)
            return False
        self._shares.forget(tenant, tenant_id)
        return True

    async def _range(self, view: TopologyView, ref: RangeRef) -> bool:
        if not self._is_live:
            return False
        # It may be counted on by whoever hears it: so it is silent before anybody is asked.
        self._replicas.leave(ref.range_id)
        is_gone = False
        try:
            is_gone = await self._is_surely_gone(view, ref)
        finally:
            if not is_gone:
                self._replicas.stay(ref.range_id)
        if not is_gone:
            return False
        self._replicas.remove(ref.range_id)
        try:
            await self._replicas.uproot_seeds(ref.range_id)
            await self._duties.drop_range(ref.range_id)
        except DStoreError as error:
            _log.warning("range_not_dropped", range=ref.range_id, reason=error.message)
            await self._holdings.close_file(ref.range_id)  # it may be given to the node again
            return False
        return True

    async def _is_surely_gone(self, view: TopologyView, ref: RangeRef) -> bool:
        definition = self._holdings.table_of(ref.range_id).definition
        # Its children's seeds go with it: behind it, since they can't be named when it is not.
        for range_id in (ref.range_id, *self._replicas.seeds_of(ref.range_id)):
            if not await is_range_given_up(
                self._coordinator,
                view,
                control_plane=self._control_plane,
                node=self._node,
                definition=definition,
                range_id=range_id,
            ):
                return False
        asked = AskOfRange(
            tenant=definition.tenant,
            tenant_id=self._holdings.tenants[definition.tenant].record.tenant_id or "",
            table=definition.name,
            table_id=definition.table_id,
            created_at_us=definition.created_at_us,
            range_id=ref.range_id,
            epoch=ref.epoch,
        )
        if not await self._is_gone(asked, ref.range_id):
            if self._kept.get(ref.range_id) == _REASONS[Verdict.UNKNOWN]:
                self._on_unknown(ref.range_id, f"{definition.tenant}/{definition.name}")
            return False
        _log.info(
            "range_given_up", range=ref.range_id, tenant=definition.tenant, table=definition.name
        )
        return True

    async def _is_gone(self, asked: AskOfRange | AskOfTenant, name: str) -> bool:
        """Ask control whether something is certainly gone. Raises: DStoreError: it does not say."""
        judged = await self._control.call(asked, deadline_s=CONTROL_ANSWER_S)
        if judged.verdict is Verdict.GONE:
            self._kept.pop(name, None)
            return True
        self._keep(name, _REASONS[judged.verdict])
        return False

    def _keep(self, name: str, reason: str) -> None:
        """Say once that something is kept that the coordinator does not show, and why."""
        if self._kept.get(name) == reason:
            return
        _log.warning("kept_beside_topology", id=name, reason=reason)
        holdings = self._holdings
        held = {each.record.tenant_id for each in holdings.tenants.values()}
        self._kept = {
            each: why for each, why in self._kept.items() if each in holdings.ranges or each in held
        }
        self._kept[name] = reason

    @property
    def _is_live(self) -> bool:
        return self._watcher.status().state is TopologyState.LIVE
