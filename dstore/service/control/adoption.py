"""Take over what a node kept by itself before it shared its process with control.

A directory made by a stand-alone node holds its tenants, tables and credentials in `node.db`.
Control becomes their keeper in steps that may each be cut short by a crash and are then repeated:

    0. What an earlier attempt copied and the node has no more goes (`leftovers`).
    1. Every tenant, with its credentials and its tables, is copied into control's store, each under
       the UUIDs that it has, so that its ranges stay where they are; copies that are there already
       are brought up to date.
    2. What is copied is published, and waited for.
    3. One transaction of `node.db` notes that control is the keeper now, by the tenants' UUIDs and
       the control plane's, and drops the credentials there.

Nobody is served and no range is given up before all of it is done: until then the topology may lack
what the node holds, and a node drops what the topology lacks. Once it is done, only this control
plane may say what the node holds; with another store `check_keeper` refuses to start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt, Unknown
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import encode_definition
from dstore.security.control_key import Sealed
from dstore.security.keys import new_key
from dstore.service.control.leftovers import Leftovers
from dstore.service.control.publications import (
    definition_of,
    table_publication,
    table_publications,
    tenant_publication,
)
from dstore.service.control.realm import Realm, append
from dstore.storage.control import credentials, outbox, tables, tenants
from dstore.storage.control.records import (
    AccessKeyRecord,
    BearerRecord,
    NodeUuid,
    RangeId,
    RangeRecord,
    TableRecord,
    TenantRecord,
)
from dstore.storage.node_records import KEEPER
from dstore.storage.table_records import NODE_FILE

if TYPE_CHECKING:
    from dstore.model.ranges import Table
    from dstore.model.tables import TableDefinition
    from dstore.service.control.sites import Site
    from dstore.service.held_tenant import Tenant
    from dstore.service.node import Node
    from dstore.storage.control.store import Transaction

_log: Final = get_logger(__name__)

_TABLES_AT_ONCE: Final = 200  # in a transaction of the store: ~0.1 s; control's bound is 10 s

Each = TypeVar("Each")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """How much was taken over."""

    tenants: int
    tables: int


async def check_keeper(node: Node, control_plane: str) -> bool:
    """Tell whether a control plane keeps what a node holds already.

    Returns: False: nobody does, so it has to be adopted.
    Raises: Corrupt: another control plane does; this one knows nothing of what the node holds, and
        the node would give all of it up.
    """
    keeper = (await node.settings()).get(KEEPER)
    if keeper is None:
        return False
    if keeper != control_plane:
        raise Corrupt(
            f"The tables here are kept by the control plane {keeper}, and control's store is that "
            f"of another one, {control_plane}; restore control's store. Nothing was changed.",
            file=NODE_FILE,
            where="settings",
        )
    return True


class Adoption:
    """Takes over what one node holds; see the module."""

    def __init__(self, realm: Realm, node: Node, site: Site) -> None:
        """Prepare.

        Args:
            realm: of the control in this process, which leads or is about to.
            node: opened, serving nobody yet.
            site: the node as the ranges' place; it is entered in control's store.
        """
        self._realm = realm
        self._node = node
        self._site = site

    async def run(self) -> Adopted:
        """Take everything over; if it is cut short, do it again.

        Raises: NotLeading, Unavailable, Unknown: not now. Refused(CONFLICT): the store is
            another installation's, see `Leftovers`. Corrupt.
        """
        held = self._node.holdings
        count = 0
        await Leftovers(self._realm, self._node).clear()
        await self._copy_tokens(None)
        for name in held.tenant_names():
            tenant = held.tenant(name)
            await self._copy_tenant(tenant)
            for some in _parts([tenant.tables[each] for each in tenant.table_names]):
                await self._copy_tables(some)
                count += len(some)
        await self._wait_until_shown()
        await held.hand_over(self._realm.plane.uuid)
        await self._node.shredder.shred_if_due()
        adopted = Adopted(tenants=len(held.tenant_names()), tables=count)
        _log.info("node_adopted", tenants=adopted.tenants, tables=adopted.tables)
        return adopted

    async def _copy_tenant(self, tenant: Tenant) -> None:
        realm = self._realm
        async with realm.change() as tx:
            if await tenants.get(tx, tenant.name) is None:
                record = self._tenant_record(tenant)
                await tenants.insert(tx, record)
                await append(tx, [tenant_publication(record, record.status)])
        await self._copy_access_keys(tenant)
        await self._copy_tokens(tenant.name)

    def _tenant_record(self, tenant: Tenant) -> TenantRecord:
        realm = self._realm
        return TenantRecord(
            name=tenant.name,
            uuid=tenant.uuid,
            sealed_key=realm.plane.control_key.seal_key(
                new_key(realm.entropy),
                what=Sealed.TENANT,
                record_id=tenant.uuid,
                entropy=realm.entropy,
            ),
            status=ResourceStatus.ACTIVE,
            created_at_us=tenant.created_at_us,
        )

    async def _copy_access_keys(self, tenant: Tenant) -> None:
        realm, access = self._realm, self._node.access
        for some in _parts(access.access_keys(tenant.name)):
            async with realm.change() as tx:
                for key in some:
                    if await credentials.get_access_key(tx, key.id) is not None:
                        continue
                    sealed = realm.plane.control_key.seal(
                        access.secret_of(key).encode(),
                        what=Sealed.ACCESS_KEY,
                        record_id=key.id,
                        entropy=realm.entropy,
                    )
                    record = AccessKeyRecord(
                        id=key.id,
                        tenant=key.tenant,
                        sealed_secret=sealed,
                        created_at_us=key.created_at_us,
                    )
                    await credentials.insert_access_key(tx, record)

    async def _copy_tokens(self, tenant: str | None) -> None:
        for some in _parts(self._node.access.tokens(tenant)):
            async with self._realm.change() as tx:
                for token in some:
                    if await credentials.get_bearer(tx, token.id) is not None:
                        continue
                    record = BearerRecord(
                        id=token.id,
                        tenant=token.tenant,
                        digest=token.digest,
                        created_at_us=token.created_at_us,
                    )
                    await credentials.insert_bearer(tx, record)

    async def _copy_tables(self, some: Sequence[Table]) -> None:
        async with self._realm.change() as tx:
            for table in some:
                await self._copy_table(tx, table)

    async def _copy_table(self, tx: Transaction, table: Table) -> None:
        definition = table.definition
        found = await tables.get(tx, definition.tenant, definition.name)
        if found is not None:
            await self._mend_table(tx, found, definition)
            return
        node = NodeUuid(self._site.candidate.node)
        ranges = [
            RangeRecord(
                range_id=RangeId(ref.range_id),
                table_id=definition.table_id,
                low_hash=ref.low,
                high_hash=ref.high,
                epoch=ref.epoch,
                node=node,
                status=ResourceStatus.ACTIVE,
            )
            for ref in table.ranges.refs
        ]
        record = TableRecord(
            tenant=definition.tenant,
            name=definition.name,
            table_id=definition.table_id,
            definition=encode_definition(definition),
            status=ResourceStatus.ACTIVE,
            created_at_us=definition.created_at_us,
            changed_at_us=self._realm.clock.wall_us(),
        )
        await tables.insert(tx, record, ranges)
        sites = {node: self._site}
        await append(tx, table_publications(definition, record.status, ranges=ranges, sites=sites))

    async def _mend_table(
        self, tx: Transaction, found: TableRecord, definition: TableDefinition
    ) -> None:
        """Bring a copy up to date: the node may have stood alone again since it was made."""
        if definition_of(found) == definition:
            return
        mended = replace(
            found,
            definition=encode_definition(definition),
            changed_at_us=self._realm.clock.wall_us(),
        )
        await tables.update(tx, mended)
        await append(tx, [table_publication(definition, mended.status)])

    async def _wait_until_shown(self) -> None:
        """Wait until the coordinator shows all that is recorded, and this process sees it."""
        realm = self._realm
        async with realm.change() as tx:
            sequence = await outbox.last(tx)
        while True:
            try:
                revision = await realm.shown(sequence)
            except Unknown:  # not yet
                continue
            break
        await realm.watcher.reached(revision)


def _parts(all_of_it: Sequence[Each]) -> Iterator[Sequence[Each]]:
    rest = iter(all_of_it)
    while some := list(islice(rest, _TABLES_AT_ONCE)):
        yield some
