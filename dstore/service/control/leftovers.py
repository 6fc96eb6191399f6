"""What an adoption that was cut short has left in control's store, and the node has no more.

The node may have stood alone again in between. What was deleted or revoked then must not come back,
so it goes from the store before the node is adopted again. Until an adoption has ended, copies of
what the node has are all that there is in the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.model.errors import RefusalKind, Refused
from dstore.service.control.publications import withdrawals
from dstore.service.control.realm import Realm, append
from dstore.storage.control import credentials, splits, tables, tenants
from dstore.storage.control.records import Publication, TableRecord, TenantRecord
from dstore.storage.node_records import ADOPTER
from dstore.topology import keyspace as keys

if TYPE_CHECKING:
    from dstore.service.node import Node
    from dstore.storage.control.store import Key, Transaction

_AT_ONCE: Final = 200  # tables or tenants in a transaction: ~0.1 s


class Leftovers:
    """Finds in the store what one node has not."""

    def __init__(self, realm: Realm, node: Node) -> None:
        """Compare the store of `realm` with what `node` holds."""
        self._realm = realm
        self._node = node

    async def clear(self) -> None:
        """Remove them, if this control plane has begun to adopt the node; else note that it does.

        May be cut short anywhere, and then begins anew.

        Raises: Refused(CONFLICT): nobody has begun, so they are another installation's; nothing was
            changed. NotLeading, Unavailable, Unknown: not now.
        """
        uuid = self._realm.plane.uuid
        if (await self._node.settings()).get(ADOPTER) != uuid:
            await self._require_none()
            await self._node.set_setting(ADOPTER, uuid)
        await self._clear_credentials()
        await self._clear_tables()
        await self._clear_tenants()

    async def _require_none(self) -> None:
        async with self._realm.plane.store.snapshot() as tx:
            strange = await self._strange_tenants(tx, limit=1)
            if strange:
                raise _conflict("tenant", strange[0].name)
            found = await self._strange_tables(tx, limit=1)
            if found:
                raise _conflict("table", found[0].name)

    async def _clear_credentials(self) -> None:
        access, names = self._node.access, self._node.holdings.tenant_names()
        token_ids = {str(one.id) for owner in (None, *names) for one in access.tokens(owner)}
        key_ids = {str(one.id) for owner in names for one in access.access_keys(owner)}
        async with self._realm.change() as tx:
            after: Key | None = None
            while True:
                access_keys = await credentials.access_keys(tx, after=after)
                for key in access_keys.records:
                    if key.id not in key_ids:
                        await credentials.delete_access_key(tx, key.id)
                if (after := access_keys.after) is None:
                    break
            while True:
                tokens = await credentials.bearers(tx, after=after)
                for token in tokens.records:
                    if token.id not in token_ids:
                        await credentials.delete_bearer(tx, token.id)
                if (after := tokens.after) is None:
                    break

    async def _clear_tables(self) -> None:
        while True:
            async with self._realm.change() as tx:
                found = await self._strange_tables(tx, limit=_AT_ONCE)
                for record in found:
                    withdrawn = withdrawals(
                        record,
                        await tables.ranges(tx, record.table_id),
                        await tables.replicas(tx, record.table_id),
                        splits=await splits.begun_of_table(tx, record.table_id),
                    )
                    path = keys.TablePath(record.tenant, record.name).path
                    await tables.delete(tx, record.table_id)
                    await append(tx, [*withdrawn, Publication(key=path, value=None)])
            if len(found) < _AT_ONCE:
                return

    async def _clear_tenants(self) -> None:
        while True:
            async with self._realm.change() as tx:
                found = await self._strange_tenants(tx, limit=_AT_ONCE)
                for record in found:
                    await tenants.delete(tx, record.name)
                    path = keys.TenantPath(record.name).path
                    await append(tx, [Publication(key=path, value=None)])
            if len(found) < _AT_ONCE:
                return

    async def _strange_tables(self, tx: Transaction, *, limit: int) -> list[TableRecord]:
        """Find tables, at most so many, that the node has not."""
        held = self._node.holdings.tenants
        mine = {
            table.definition.table_id
            for tenant in held.values()
            for table in tenant.tables.values()
        }
        found: list[TableRecord] = []
        after: Key | None = None
        while True:
            page = await tables.page_of_all(tx, after=after)
            # An index's hidden table is made by control, and is no node's before it is adopted.
            found += [one for one in page.records if (one.base_id or one.table_id) not in mine]
            if len(found) >= limit or (after := page.after) is None:
                return found[:limit]

    async def _strange_tenants(self, tx: Transaction, *, limit: int) -> list[TenantRecord]:
        """Find tenants, at most so many, that the node has not."""
        mine = {tenant.uuid for tenant in self._node.holdings.tenants.values()}
        found: list[TenantRecord] = []
        after: Key | None = None
        while True:
            page = await tenants.page(tx, after=after)
            found += [one for one in page.records if one.uuid not in mine]
            if len(found) >= limit or (after := page.after) is None:
                return found[:limit]


def _conflict(what: str, name: str) -> Refused:
    return Refused(
        RefusalKind.CONFLICT,
        f"Control's store has a {what} {name} that node.db does not have: one of the two is of "
        "another installation. Put back the files that belong together. Nothing was changed.",
    )
