"""/v1/tenant: list, read, create, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dstore.api.http.answer import Answer, json_answer
from dstore.api.v1.exchange import JSON, RID, Exchange
from dstore.api.v1.pages import PARAMETERS, page_of_names
from dstore.base.timestamps import instant
from dstore.model.errors import invalid
from dstore.model.rid import tenant_rid
from dstore.service.access import require_operator

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.service.directory import KnownTenant
    from dstore.service.use_cases import UseCases


class TenantHandlers:
    """The four operations on tenants; all but reading one's own are the operator's."""

    def __init__(self, cases: UseCases) -> None:
        """Serve the tenants of `cases`."""
        self._cases = cases

    async def list(self, request: web.Request) -> Answer:
        """List the tenants that the principal may see: all, or its own."""
        exchange = await Exchange.receive(request, self._cases, allowed=PARAMETERS)
        own, directory = exchange.principal.tenant, self._cases.directory
        seen = directory.tenant_names() if own is None else [directory.tenant(own).name]
        names, after = page_of_names(seen, exchange)
        return json_answer(
            {"tenants": [self._summary(directory.tenant(name)) for name in names], "after": after}
        )

    async def read(self, request: web.Request) -> Answer:
        """Describe a tenant."""
        exchange = await Exchange.receive(request, self._cases)
        return self._described(self._cases.directory.tenant(exchange.value("tenant")))

    async def create(self, request: web.Request) -> Answer:
        """Create a tenant; the same again is 200."""
        exchange = await Exchange.receive(request, self._cases)
        require_operator(exchange.principal)
        if exchange.body:
            exchange.media_type(JSON)
            if await exchange.json_object("tenant"):
                raise invalid("A tenant has no settings yet; send no body, or {}.")
        tenant, is_new = await self._cases.registrar.create_tenant(
            exchange.value("tenant"), by=exchange.principal
        )
        if is_new:
            exchange.audit("create_tenant", tenant=tenant.name)
        return self._described(tenant, status=201 if is_new else 200)

    async def delete(self, request: web.Request) -> Answer:
        """Delete a tenant and shred its keys; 409 while it has tables, unless `force=true`."""
        exchange = await Exchange.receive(request, self._cases, allowed=("force",))
        require_operator(exchange.principal)
        name = exchange.value("tenant")
        await self._cases.registrar.delete_tenant(
            name, force=exchange.flag("force"), by=exchange.principal
        )
        exchange.audit("delete_tenant", tenant=name)
        rid = tenant_rid(name, location=self._cases.directory.location)
        return Answer(status=204, headers={RID: str(rid)})

    def _summary(self, tenant: KnownTenant) -> dict[str, Any]:
        return {
            "tenant": tenant.name,
            "rid": self._rid(tenant),
            "createdAt": instant(tenant.created_at_us),
        }

    def _described(self, tenant: KnownTenant, *, status: int = 200) -> Answer:
        description = self._summary(tenant) | {
            "uuid": tenant.uuid,
            "tables": len(tenant.tables),
        }
        return json_answer(description, status=status, headers={RID: self._rid(tenant)})

    def _rid(self, tenant: KnownTenant) -> str:
        return str(tenant_rid(tenant.name, location=self._cases.directory.location))
