"""What control answers of `calls.key_calls`: each caller about itself, by its certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dstore.model.errors import RefusalKind, Refused
from dstore.replication.peers.calls import Answered
from dstore.service.calls.key_calls import (
    COMPONENT_KEY,
    CREDENTIALS,
    MEMBERS,
    OF_RANGE,
    OF_TENANT,
    RENEW,
    TENANT_SHARES,
    AskComponentKey,
    AskCredentials,
    AskMembers,
    AskOfRange,
    AskOfTenant,
    AskTenantShares,
    ComponentKey,
    Credentials,
    Judged,
    Members,
    Renew,
    Renewed,
    TenantShares,
)

if TYPE_CHECKING:
    from dstore.replication.peers.port import Received
    from dstore.service.control.key_feed import KeyFeed
    from dstore.service.control.membership import Memberships
    from dstore.service.control.roster import Roster
    from dstore.service.control.shares import TenantShareGiver
    from dstore.service.control.verdicts import HoldingVerdicts


class KeyMethods:
    """Answers the calls; `answered` goes into the `Methods` of control's peer surface."""

    def __init__(
        self,
        *,
        memberships: Memberships,
        shares: TenantShareGiver,
        verdicts: HoldingVerdicts,
        feed: KeyFeed,
        roster: Roster,
    ) -> None:
        """Hand the calls on to these."""
        self._memberships = memberships
        self._shares = shares
        self._verdicts = verdicts
        self._feed = feed
        self._roster = roster

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """Return each call with its handler."""
        return (
            Answered(call=RENEW, handler=self._renew),
            Answered(call=COMPONENT_KEY, handler=self._component_key),
            Answered(call=TENANT_SHARES, handler=self._tenant_shares),
            Answered(call=OF_RANGE, handler=self._of_range),
            Answered(call=OF_TENANT, handler=self._of_tenant),
            Answered(call=CREDENTIALS, handler=self._credentials),
            Answered(call=MEMBERS, handler=self._members),
        )

    async def _renew(self, request: Renew, received: Received) -> Renewed:
        certificate = await self._memberships.renew(received.caller, request.request_pem)
        return Renewed(
            certificate_pem=certificate, authorities_pem=self._memberships.authorities_pem
        )

    async def _component_key(self, _request: AskComponentKey, received: Received) -> ComponentKey:
        return ComponentKey(key=await self._memberships.component_key(received.caller))

    async def _tenant_shares(self, request: AskTenantShares, received: Received) -> TenantShares:
        return await self._shares.given(received.caller, request.tenants)

    async def _of_range(self, request: AskOfRange, received: Received) -> Judged:
        return Judged(await self._verdicts.of_range(received.caller, request))

    async def _of_tenant(self, request: AskOfTenant, received: Received) -> Judged:
        return Judged(await self._verdicts.of_tenant(received.caller, request))

    async def _credentials(self, request: AskCredentials, received: Received) -> Credentials:
        barred = self._roster.barred(received.caller)
        if barred is not None:
            raise Refused(RefusalKind.FORBIDDEN, barred)
        return await self._feed.given(request)

    async def _members(self, _request: AskMembers, _received: Received) -> Members:
        return await self._roster.members()
