"""Tenants: their (tenant, control plane) share and status."""

from __future__ import annotations

from typing import Final

from dstore.base.limits import CONTROL_PAGE_MAX
from dstore.storage.control import credentials
from dstore.storage.control.records import TenantRecord
from dstore.storage.control.relation import Relation
from dstore.storage.control.store import Key, Page, Transaction

_TENANTS: Final = Relation(TenantRecord, "tenant", key=("name",), noun="A tenant of this name")


async def insert(tx: Transaction, tenant: TenantRecord) -> None:
    """Add a tenant. Raises: Refused(CONFLICT): there is one of its name or UUID."""
    await _TENANTS.insert(tx, tenant)


async def get(tx: Transaction, name: str) -> TenantRecord | None:
    """Find a tenant by its name."""
    return await _TENANTS.find(tx, name=name)


async def update(tx: Transaction, tenant: TenantRecord) -> None:
    """Write a tenant anew: another status. Raises: Refused(NOT_FOUND)."""
    await _TENANTS.update(tx, tenant)
    await credentials.changed(tx)  # those of a tenant that is being deleted are void


async def page(
    tx: Transaction, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[TenantRecord]:
    """List tenants by name."""
    return await _TENANTS.page(tx, after=after, limit=limit)


async def delete(tx: Transaction, name: str) -> bool:
    """Remove a tenant with its key share and its credentials; its tables are gone before.

    Returns: whether there was one. Raises: Refused(CONFLICT): it has tables.
    """
    await credentials.delete_of_tenant(tx, name)
    return await _TENANTS.delete(tx, name=name) == 1


async def count(tx: Transaction) -> int:
    """Count the tenants."""
    counted = await tx.rows("SELECT COUNT(*) FROM tenant")
    found: int = counted[0][0]
    return found
