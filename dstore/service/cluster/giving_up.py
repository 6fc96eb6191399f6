"""Give up what is certainly not a node's any more; everything else is kept, and looked at again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.service.cluster.evidence import is_range_given_up, is_tenant_gone
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dstore.model.ranges import RangeRef
    from dstore.service.cluster.tenant_shares import TenantShareBook
    from dstore.service.holdings import Holdings
    from dstore.service.range_duties import RangeDuties
    from dstore.topology import keyspace as keys
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.view import TopologyView
    from dstore.topology.watcher import TopologyWatcher

_log = get_logger(__name__)


class GivingUp:
    """Drops ranges and tenants on clear evidence. Used from one event loop."""

    def __init__(
        self,
        node: keys.ComponentId,
        *,
        control_plane: str,
        watcher: TopologyWatcher,
        coordinator: Coordinator,
        holdings: Holdings,
        duties: RangeDuties,
        shares: TenantShareBook,
    ) -> None:
        """Work for `node`; see `assignments.Assignments` for the rest."""
        self._node = node
        self._control_plane = control_plane
        self._watcher = watcher
        self._coordinator = coordinator
        self._holdings = holdings
        self._duties = duties
        self._shares = shares

    async def ranges(self, view: TopologyView, extra: Iterable[RangeRef]) -> bool:
        """Drop ranges that `view` does not give the node, if that is certain.

        Returns: whether all of them are gone.
        Raises: CoordinatorError: nothing was dropped that was not certain.
        """
        is_done = True
        for ref in extra:
            is_done &= await self._range(view, ref)
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
        _log.info("tenant_given_up", tenant=tenant, tenant_id=tenant_id)
        try:
            await self._duties.drop_tenant(tenant, tenant_id=tenant_id)
        except DStoreError as error:
            _log.warning("tenant_not_dropped", tenant=tenant, reason=error.message)
            return False
        self._shares.forget(tenant, tenant_id)
        return True

    async def _range(self, view: TopologyView, ref: RangeRef) -> bool:
        if not self._is_live:
            return False
        definition = self._holdings.table_of(ref.range_id).definition
        is_given_up = await is_range_given_up(
            self._coordinator,
            view,
            control_plane=self._control_plane,
            node=self._node,
            definition=definition,
            range_id=ref.range_id,
        )
        if not is_given_up:
            return False
        _log.info(
            "range_given_up", range=ref.range_id, tenant=definition.tenant, table=definition.name
        )
        try:
            await self._duties.drop_range(ref.range_id)
        except DStoreError as error:
            _log.warning("range_not_dropped", range=ref.range_id, reason=error.message)
            return False
        return True

    @property
    def _is_live(self) -> bool:
        return self._watcher.status().state is TopologyState.LIVE
