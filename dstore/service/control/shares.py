"""The (tenant, control plane) shares of keys: for the nodes that hold the tenant, for nobody else.

Without its share none of a tenant's files opens (I4), so control gives one only to a node that is
to have a replica of one of the tenant's ranges, by the store's own record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt, RefusalKind, Refused
from dstore.security.control_key import Sealed
from dstore.security.envelope import WrongKey
from dstore.security.identity import ComponentRole, Identity
from dstore.service.calls.key_calls import TenantShare, TenantShares
from dstore.service.control.membership import find, require_admitted
from dstore.storage.control import tables, tenants
from dstore.storage.control.records import NodeUuid, TenantRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.service.control.plane import ControlPlane

_log: Final = get_logger(__name__)


class TenantShareGiver:
    """Gives nodes the shares of their tenants."""

    def __init__(self, plane: ControlPlane) -> None:
        """Work for an open control plane."""
        self._plane = plane

    async def given(self, node: Identity, names: Sequence[str]) -> TenantShares:
        """Give a node the shares that it is to have of those it asks for.

        Args:
            node: who asks, by its certificate.
            names: of tenants; those that it holds nothing of, that are gone, or whose keys are
                damaged in the store, are passed over.
        Raises: Refused(FORBIDDEN): it is no node, or was removed. Unavailable: the store. Corrupt:
            none of what the store holds of them opens.
        """
        if node.role is not ComponentRole.NODE:
            raise Refused(RefusalKind.FORBIDDEN, "Shares of tenants' keys are for nodes.")
        async with self._plane.store.snapshot() as tx:
            require_admitted(await find(tx, node), node)
            held = await tables.tenants_of_node(tx, NodeUuid(node.uuid))
            found = [await tenants.get(tx, name) for name in dict.fromkeys(names) if name in held]
        shares = self._opened_of([record for record in found if record is not None])
        passed_over = len(set(names)) - len(shares)
        _log.info("tenant_shares_given", peer=node.uri, given=len(shares), passed_over=passed_over)
        return TenantShares(shares=shares)

    def _opened_of(self, records: Sequence[TenantRecord]) -> tuple[TenantShare, ...]:
        """Open what can be: a key that is damaged must not lock all other tenants of a node."""
        shares: list[TenantShare] = []
        damaged: list[Corrupt] = []
        for record in records:
            try:
                shares.append(self._opened(record))
            except Corrupt as error:
                _log.error("tenant_share_damaged", tenant=record.name, tenant_id=record.uuid)
                damaged.append(error)
        if damaged and not shares:
            raise damaged[0]
        return tuple(shares)

    def _opened(self, record: TenantRecord) -> TenantShare:
        try:
            key = self._plane.control_key.open_key(
                record.sealed_key, what=Sealed.TENANT, record_id=record.uuid
            )
        except WrongKey:
            raise Corrupt(
                "The key of a tenant in control's store is damaged; restore the store.",
                file="control",
                where=f"tenant {record.uuid}",
            ) from None
        return TenantShare(tenant=record.name, tenant_id=record.uuid, key=key)
