"""What clients sign with: access keys (their secrets sealed) and bearer tokens (their digests).

Every change raises `version` in its own transaction, so that whoever hands credentials out sees by
one number whether there is anything new.
"""

from __future__ import annotations

from typing import Final

from dstore.base.limits import CONTROL_PAGE_MAX
from dstore.storage.control.records import AccessKeyRecord, BearerRecord
from dstore.storage.control.relation import Relation
from dstore.storage.control.store import Key, Page, Transaction

_ACCESS_KEYS: Final = Relation(
    AccessKeyRecord, "access_key", key=("id",), noun="An access key of this ID"
)
_BEARERS: Final = Relation(BearerRecord, "bearer_token", key=("id",), noun="A token of this ID")


async def insert_access_key(tx: Transaction, key: AccessKeyRecord) -> None:
    """Add an access key. Raises: Refused(CONFLICT): its ID is taken, or there is no such tenant."""
    await _ACCESS_KEYS.insert(tx, key)
    await changed(tx)


async def get_access_key(tx: Transaction, key_id: str) -> AccessKeyRecord | None:
    """Find an access key."""
    return await _ACCESS_KEYS.find(tx, id=key_id)


async def delete_access_key(tx: Transaction, key_id: str) -> bool:
    """Revoke an access key. Returns: whether there was one."""
    await changed(tx)
    return await _ACCESS_KEYS.delete(tx, id=key_id) == 1


async def access_keys(
    tx: Transaction, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[AccessKeyRecord]:
    """List every tenant's access keys by ID."""
    return await _ACCESS_KEYS.page(tx, after=after, limit=limit)


async def access_keys_of(
    tx: Transaction, tenant: str, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[AccessKeyRecord]:
    """List a tenant's access keys by ID."""
    return await _ACCESS_KEYS.page(tx, after=after, limit=limit, tenant=tenant)


async def insert_bearer(tx: Transaction, bearer: BearerRecord) -> None:
    """Add a bearer token. Raises: Refused(CONFLICT): its ID is taken, or there is no tenant."""
    await _BEARERS.insert(tx, bearer)
    await changed(tx)


async def get_bearer(tx: Transaction, token_id: str) -> BearerRecord | None:
    """Find a bearer token by its public ID."""
    return await _BEARERS.find(tx, id=token_id)


async def delete_bearer(tx: Transaction, token_id: str) -> bool:
    """Revoke a bearer token. Returns: whether there was one."""
    await changed(tx)
    return await _BEARERS.delete(tx, id=token_id) == 1


async def bearers(
    tx: Transaction, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[BearerRecord]:
    """List every tenant's tokens, and the operator's, by ID."""
    return await _BEARERS.page(tx, after=after, limit=limit)


async def version(tx: Transaction) -> int:
    """Read how often credentials were changed; it only grows, unless a backup was restored."""
    counted = await tx.rows("SELECT last FROM counter WHERE name = 'credentials'")
    number: int = counted[0][0]
    return number


async def changed(tx: Transaction) -> None:
    """Count a change of credentials that another module of this package makes."""
    await tx.change("UPDATE counter SET last = last + 1 WHERE name = 'credentials'")


async def delete_of_tenant(tx: Transaction, tenant: str) -> None:
    """Revoke all that a tenant has."""
    await changed(tx)
    await _ACCESS_KEYS.delete(tx, tenant=tenant)
    await _BEARERS.delete(tx, tenant=tenant)


async def bearers_of(
    tx: Transaction, tenant: str | None, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[BearerRecord]:
    """List a tenant's tokens, or (None) the operator's, by ID."""
    if tenant is not None:
        return await _BEARERS.page(tx, after=after, limit=limit, tenant=tenant)
    beyond = "" if after is None else str(after[0])
    found = await _BEARERS.select(
        tx, f"WHERE tenant IS NULL AND id > $1 ORDER BY id LIMIT {limit + 1}", beyond
    )
    records = found[:limit]
    return Page(records=records, after=(records[-1].id,) if len(found) > limit else None)
