"""Tenants of a cluster: made and deleted by the leading control.

A tenant's (tenant, control plane) key is drawn here, and stored sealed; nodes that hold the tenant
get it over their peer connection (`shares`), nobody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.base.limits import RETRY_AFTER_MS, SETTLED_TIMEOUT_S
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.model.rid import tenant_rid, validate_tenant_name
from dstore.model.status import ResourceStatus
from dstore.security.control_key import Sealed
from dstore.security.keys import new_key
from dstore.service.calls.control_calls import (
    CreateTenant,
    DeleteTenant,
    TenantChanged,
    TenantGone,
)
from dstore.service.control.deletions import begin_tenant, tenant_task
from dstore.service.control.publications import tenant_publication
from dstore.service.control.realm import Realm, append, check_uuid
from dstore.service.refusals import no_such, tenant_has_tables
from dstore.storage.control import outbox, tables, tasks, tenants
from dstore.storage.control.records import TenantRecord

if TYPE_CHECKING:
    from dstore.topology.view import TopologyView


class ControlTenants:
    """Changes what tenants there are. Every method raises what `Realm.change` and `shown` do."""

    def __init__(self, realm: Realm) -> None:
        """Change them in `realm`."""
        self._realm = realm

    async def create(self, ask: CreateTenant) -> TenantChanged:
        """Create a tenant, unless there is one of its name. Raises: see the call."""
        realm = self._realm
        validate_tenant_name(ask.name)
        check_uuid(ask.tenant_id, "tenant's id")
        async with realm.change() as tx:
            record = await tenants.get(tx, ask.name)
            if record is not None and record.status is ResourceStatus.DELETING:
                raise _being_deleted(ask.name)
            is_new = record is None or record.uuid == ask.tenant_id
            sequence = await outbox.last(tx)
            if record is None:
                if await tasks.get(tx, tenant_task(ask.tenant_id)) is not None:
                    # Asked again after a lost answer, and deleted by somebody else meanwhile. A
                    # tenant has one life: its task would not delete it a second time.
                    raise no_such("tenant", ask.name)
                record = self._made(ask)
                await tenants.insert(tx, record)
                await realm.audit(
                    tx,
                    actor=ask.actor,
                    action="create_tenant",
                    subject=str(tenant_rid(ask.name)),
                )
                sequence = await append(tx, [tenant_publication(record, record.status)])
        return TenantChanged(
            name=record.name,
            uuid=record.uuid,
            created_at_us=record.created_at_us,
            is_new=is_new,
            revision=await realm.shown(sequence),
        )

    async def delete(self, ask: DeleteTenant) -> TenantGone:
        """Delete a tenant, and its tables if `force`. Raises: see the call."""
        realm = self._realm
        async with realm.change() as tx:
            record = await tenants.get(tx, ask.name)
            if record is None:
                raise no_such("tenant", ask.name)
            if record.status is not ResourceStatus.DELETING:
                count = await tables.count_of_tenant(tx, ask.name)
                if count and not ask.force:
                    raise tenant_has_tables(count)
                await begin_tenant(realm, tx, record)
                await realm.audit(
                    tx,
                    actor=ask.actor,
                    action="delete_tenant",
                    subject=str(tenant_rid(ask.name)),
                )
            sequence = await outbox.last(tx)
        realm.tasks_due.set()
        revision = await realm.shown(sequence)
        uuid = record.uuid

        def look(view: TopologyView) -> TopologyView | None:
            found = view.tenant(ask.name)
            known = None if found is None else found.known
            return None if known is not None and known.value.uuid == uuid else view

        view = await realm.until(look, timeout_s=SETTLED_TIMEOUT_S)
        if view is None:
            return TenantGone(is_done=False, revision=revision)
        return TenantGone(is_done=True, revision=max(revision, view.revision))

    def _made(self, ask: CreateTenant) -> TenantRecord:
        realm = self._realm
        return TenantRecord(
            name=ask.name,
            uuid=ask.tenant_id,
            sealed_key=realm.plane.control_key.seal_key(
                new_key(realm.entropy),
                what=Sealed.TENANT,
                record_id=ask.tenant_id,
                entropy=realm.entropy,
            ),
            status=ResourceStatus.ACTIVE,
            created_at_us=realm.clock.wall_us(),
        )


def _being_deleted(name: str) -> Unavailable:
    return Unavailable(
        UnavailableKind.OVERLOADED,
        f"The former tenant {name} is being deleted; its name is free once its tables are gone.",
        retry_after_ms=RETRY_AFTER_MS,
    )
