"""SPEC.md's URL table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.http.route import Route
from dstore.api.v1.entries import EntryHandlers
from dstore.api.v1.openapi import openapi_route
from dstore.api.v1.requests import RequestHandlers
from dstore.api.v1.tables import TableHandlers
from dstore.api.v1.tenants import TenantHandlers

if TYPE_CHECKING:
    from dstore.service.use_cases import UseCases

TENANTS = "/v1/tenant"
TENANT = f"{TENANTS}/{{tenant}}"
TABLES = f"{TENANT}/table"
TABLE = f"{TABLES}/{{table}}"
ENTRIES = f"{TABLE}/id"
ENTRY = f"{ENTRIES}/{{id}}"
REQUEST = f"{TENANT}/request/{{request}}"


def v1_routes(cases: UseCases) -> tuple[Route, ...]:
    """Bind the v1 API to use cases."""
    tenants, tables = TenantHandlers(cases), TableHandlers(cases)
    entries, requests = EntryHandlers(cases), RequestHandlers(cases)
    return (
        Route(method="GET", path=TENANTS, handler=tenants.list, operation="list_tenants"),
        Route(method="GET", path=TENANT, handler=tenants.read, operation="read_tenant"),
        Route(method="PUT", path=TENANT, handler=tenants.create, operation="create_tenant"),
        Route(method="DELETE", path=TENANT, handler=tenants.delete, operation="delete_tenant"),
        Route(method="GET", path=TABLES, handler=tables.list, operation="list_tables"),
        Route(method="GET", path=TABLE, handler=tables.read, operation="read_table"),
        Route(method="PUT", path=TABLE, handler=tables.create, operation="create_table"),
        Route(method="DELETE", path=TABLE, handler=tables.delete, operation="delete_table"),
        Route(method="GET", path=ENTRIES, handler=entries.list, operation="list_entries"),
        Route(method="GET", path=ENTRY, handler=entries.read, operation="read_entry"),
        Route(method="PUT", path=ENTRY, handler=entries.create, operation="create_entry"),
        Route(method="POST", path=ENTRY, handler=entries.update, operation="update_entry"),
        Route(method="DELETE", path=ENTRY, handler=entries.delete, operation="delete_entry"),
        Route(method="GET", path=REQUEST, handler=requests.read, operation="read_request"),
        openapi_route(),
    )
