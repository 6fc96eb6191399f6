"""Control's shares of tenants' keys, as this node was given them: in memory only (I4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.base.limits import CONTROL_ANSWER_S, TENANT_SHARES_ASKED_MAX
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.service.calls.key_calls import AskTenantShares

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dstore.replication.peers.port import Peer
    from dstore.security.keys import ControlShare

_log = get_logger(__name__)


class TenantShareBook:
    """The shares that are at hand, by tenant. Used from one event loop."""

    def __init__(self, control: Peer, control_plane: str) -> None:
        """Ask `control`, of the plane with this UUID."""
        self._control = control
        self._control_plane = control_plane
        self._shares: dict[tuple[str, str], ControlShare] = {}

    def of(self, tenant: str, tenant_id: str) -> ControlShare | None:
        """Return the share of the tenant of this name and UUID, None if it is not at hand."""
        return self._shares.get((tenant, tenant_id))

    async def fetch(self, tenants: Iterable[tuple[str, str]]) -> None:
        """Ask for the shares that are missing; those that do not come are missing still."""
        missing = sorted({tenant for tenant, uuid in tenants if (tenant, uuid) not in self._shares})
        for start in range(0, len(missing), TENANT_SHARES_ASKED_MAX):
            names = tuple(missing[start : start + TENANT_SHARES_ASKED_MAX])
            try:
                given = await self._control.call(
                    AskTenantShares(names), deadline_s=CONTROL_ANSWER_S
                )
            except DStoreError as error:
                _log.warning("tenant_shares_not_given", asked=len(names), reason=error.message)
                return
            for each in given.shares:
                self._shares[each.tenant, each.tenant_id] = each.share(self._control_plane)

    def forget(self, tenant: str, tenant_id: str) -> None:
        """Forget the share of a tenant that is gone."""
        self._shares.pop((tenant, tenant_id), None)
