"""Deleting takes as long as nodes take to let go; so it is a task, and whoever leads goes on.

A table: one transaction marks it and takes its ranges from the nodes (`begin_table`). Once every
living node that held one says that it holds it no more, the table's rows and its name go. A node
that is dead is not waited for: what it still holds is of a range that nobody has, which it gives up
when it comes back (REPLICATION.md, identity); nothing leads to it meanwhile.

A tenant: its credentials go at once, then its tables one by one, then its key, which shreds what
any disk still has.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import OBSERVED_AT_ONCE, TASK_WAIT_S
from dstore.model.rid import table_rid, tenant_rid
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import decode_definition
from dstore.model.tables import TableDefinition, TableId
from dstore.service.control.held import holders
from dstore.service.control.publications import tenant_publication, withdrawals
from dstore.service.control.realm import append
from dstore.service.control.tasks import NotYet, new_task
from dstore.storage.control import credentials, outbox, tables, tasks, tenants
from dstore.storage.control.records import (
    Publication,
    TableRecord,
    TaskId,
    TaskRecord,
    TenantRecord,
)
from dstore.topology import keyspace as keys
from dstore.topology import values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.service.control.realm import Realm
    from dstore.service.control.tasks import Handler, Step
    from dstore.storage.control.store import Transaction
    from dstore.topology.view import TopologyView

DELETE_TABLE: Final = "delete_table"
DELETE_TENANT: Final = "delete_tenant"


class TableSubject(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a table's deletion, JSON in the task's row."""

    tenant: str
    name: str
    table_id: str
    definition: str

    def described(self) -> TableDefinition:
        """Say what the table was."""
        return decode_definition(
            self.definition, tenant=self.tenant, name=self.name, table_id=TableId(self.table_id)
        )


class TenantSubject(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a tenant's deletion."""

    name: str
    uuid: str


def table_task(table_id: TableId) -> TaskId:
    """Name the task that deletes a table: there is one in its whole life."""
    return TaskId(f"{DELETE_TABLE}-{table_id}")


def tenant_task(tenant_uuid: str) -> TaskId:
    """Name the task that deletes a tenant."""
    return TaskId(f"{DELETE_TENANT}-{tenant_uuid}")


def table_subject(task: TaskRecord) -> TableSubject:
    """Read which table a task deletes."""
    return msgspec.json.decode(task.parameters, type=TableSubject)


async def begin_table(realm: Realm, tx: Transaction, record: TableRecord) -> None:
    """Mark a table and take its ranges from the nodes; the task does the rest."""
    now_us = realm.clock.wall_us()
    subject = TableSubject(
        tenant=record.tenant,
        name=record.name,
        table_id=record.table_id,
        definition=record.definition,
    )
    ranges = await tables.ranges(tx, record.table_id)
    await tables.update(tx, replace(record, status=ResourceStatus.DELETING, changed_at_us=now_us))
    shown = values.TableValue.of(subject.described(), ResourceStatus.DELETING)
    table_path = keys.TablePath(record.tenant, record.name)
    await append(
        tx,
        [
            Publication(key=table_path.path, value=values.encode(shown)),
            *withdrawals(record, ranges),
        ],
    )
    await tasks.add(
        tx,
        new_task(
            table_task(record.table_id),
            DELETE_TABLE,
            subject=str(table_rid(record.tenant, record.name)),
            parameters=msgspec.json.encode(subject).decode(),
            now_us=now_us,
        ),
    )


async def begin_tenant(realm: Realm, tx: Transaction, record: TenantRecord) -> None:
    """Mark a tenant and void its credentials; the task does the rest."""
    now_us = realm.clock.wall_us()
    await tenants.update(tx, replace(record, status=ResourceStatus.DELETING))
    await credentials.delete_of_tenant(tx, record.name)
    await append(tx, [tenant_publication(record, ResourceStatus.DELETING)])
    subject = TenantSubject(name=record.name, uuid=record.uuid)
    await tasks.add(
        tx,
        new_task(
            tenant_task(record.uuid),
            DELETE_TENANT,
            subject=str(tenant_rid(record.name)),
            parameters=msgspec.json.encode(subject).decode(),
            now_us=now_us,
        ),
    )


class Deletions:
    """The tasks that delete; safe to run again from any point."""

    def __init__(self, realm: Realm) -> None:
        """Delete in `realm`."""
        self._realm = realm

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Who does which kind of task."""
        return {DELETE_TABLE: self.delete_table, DELETE_TENANT: self.delete_tenant}

    async def delete_table(self, step: Step) -> None:
        """Wait until no living node holds the table, then remove it. Raises: NotYet."""
        subject = table_subject(step.task)
        table_id = TableId(subject.table_id)
        async with step.term.transaction() as tx:  # so that `last` is not older than the marking
            if await tables.get_by_id(tx, table_id) is None:
                return
            ranges = await tables.ranges(tx, table_id)
            sequence = await outbox.last(tx)
        await self._seen(sequence)

        def look(view: TopologyView) -> bool | None:
            held = holders(view, subject.tenant, subject.name, ranges=ranges)
            return None if held else True

        if await self._realm.until(look, timeout_s=TASK_WAIT_S) is None:
            view = self._realm.watcher.view
            held = holders(view, subject.tenant, subject.name, ranges=ranges)
            raise NotYet(f"Waiting for {', '.join(held)} to let go of the table.")
        async with step.term.transaction() as tx:
            if await tables.delete(tx, table_id):
                path = keys.TablePath(subject.tenant, subject.name)
                await append(tx, [Publication(key=path.path, value=None)])

    async def delete_tenant(self, step: Step) -> None:
        """Delete a tenant's tables, then itself. Raises: NotYet."""
        subject = msgspec.json.decode(step.task.parameters, type=TenantSubject)
        async with step.term.transaction() as tx:
            record = await tenants.get(tx, subject.name)
            if record is None or record.uuid != subject.uuid:
                return
            page = await tables.page(tx, subject.name, limit=OBSERVED_AT_ONCE)
            for table in page.records:
                if table.status is not ResourceStatus.DELETING:
                    await begin_table(self._realm, tx, table)
            if not page.records:
                await tenants.delete(tx, subject.name)
                path = keys.TenantPath(subject.name)
                await append(tx, [Publication(key=path.path, value=None)])
                return
            sequence = await outbox.last(tx)
        self._realm.tasks_due.set()
        await self._seen(sequence)
        names = [table.name for table in page.records]

        def look(view: TopologyView) -> bool | None:
            found = view.tenants.get(subject.name)
            is_left = found is not None and any(name in found.tables for name in names)
            return None if is_left else True

        await self._realm.until(look, timeout_s=TASK_WAIT_S)
        raise NotYet(f"Waiting for {len(names)} or more tables of the tenant to be gone.")

    async def _seen(self, sequence: int) -> None:
        """Wait until this process's own view has what was recorded.

        What nodes said before they knew of it tells nothing.
        """
        revision = await self._realm.shown(sequence)
        async with asyncio.timeout(TASK_WAIT_S):
            await self._realm.watcher.reached(revision)
