"""Deleting takes as long as nodes take to let go; so it is a task, and whoever leads goes on.

A table: one transaction marks it and takes its ranges from the nodes (`begin_table`). Once every
living node that held a replica says that it holds it no more, the table's rows and its name go. A
node that is dead is not waited for: what it still holds is of a range that nobody has, which it
gives up when it comes back (REPLICATION.md, identity); nothing leads to it meanwhile.

A tenant: its credentials go at once, then its tables one by one, then its key, which shreds what
any disk still has.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import OBSERVED_AT_ONCE, TASK_LOOK_S, TASK_WAIT_S
from dstore.model.rid import table_rid, tenant_rid
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import decode_definition
from dstore.model.tables import TableDefinition, TableId
from dstore.service.control.held import holders
from dstore.service.control.publications import (
    definition_of,
    table_publication,
    tenant_publication,
    withdrawals,
)
from dstore.service.control.realm import append
from dstore.service.control.tasks import NotYet, new_task
from dstore.storage.control import credentials, outbox, splits, tables, tasks, tenants
from dstore.storage.control.records import (
    Publication,
    ReplicaRecord,
    TableRecord,
    TaskId,
    TaskRecord,
    TenantRecord,
)
from dstore.topology import keyspace as keys
from dstore.topology.indexes import index_views

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dstore.service.control.realm import Realm
    from dstore.service.control.tasks import Handler, Step
    from dstore.storage.control.store import Transaction
    from dstore.topology.view import TopologyView

DELETE_TABLE: Final = "delete_table"
DELETE_TENANT: Final = "delete_tenant"
_INDEXES_LEFT: Final = "Waiting for nodes to let go of an index of the table."


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


async def begin_table(realm: Realm, tx: Transaction, record: TableRecord) -> int:
    """Mark a table and take its ranges from the nodes; its task does the rest.

    Returns: the last sequence in the outbox.
    """
    sequence = await _mark_table(realm, tx, record)
    now_us = realm.clock.wall_us()
    subject = TableSubject(
        tenant=record.tenant,
        name=record.name,
        table_id=record.table_id,
        definition=record.definition,
    )
    await tasks.add(
        tx,
        new_task(
            table_task(record.table_id),
            DELETE_TABLE,
            subject=f"{table_rid(record.tenant, record.name)} {record.table_id}",
            parameters=msgspec.json.encode(subject).decode(),
            now_us=now_us,
        ),
    )
    return sequence


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
            subject=f"{tenant_rid(record.name)} {record.uuid}",
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
        await self._indexes_gone(step, subject.described())
        async with step.term.transaction() as tx:  # so that `last` is not older than the marking
            record = await tables.get_by_id(tx, TableId(subject.table_id))
            if record is None:
                return
            if await tables.indexes_of(tx, record.table_id):
                raise NotYet(_INDEXES_LEFT)
            marked = {record: await _replicas(tx, record)}
            sequence = await outbox.last(tx)
        await self._seen(sequence)
        await self._remove_free(step, marked)

    async def delete_tenant(self, step: Step) -> None:
        """Delete a tenant's tables, some at a time, then itself. Raises: NotYet."""
        realm = self._realm
        subject = msgspec.json.decode(step.task.parameters, type=TenantSubject)
        while True:
            async with step.term.transaction() as tx:
                tenant = await tenants.get(tx, subject.name)
                if tenant is None or tenant.uuid != subject.uuid:
                    return
                page = await tables.page(tx, subject.name, limit=OBSERVED_AT_ONCE)
                marked = {each: await _replicas(tx, each) for each in page.records}
                for record in page.records:
                    if record.status is not ResourceStatus.DELETING:
                        await _mark_table(realm, tx, record)
                if not marked:
                    await tenants.delete(tx, subject.name)
                    path = keys.TenantPath(subject.name)
                    await append(tx, [Publication(key=path.path, value=None)])
                    break
                sequence = await outbox.last(tx)
            await self._seen(sequence)
            await self._remove_free(step, marked)
        realm.publisher.wake()

    async def _indexes_gone(self, step: Step, definition: TableDefinition) -> None:
        """Wait until a table has no index any more, whose hidden table is named after it.

        Raises: NotYet: it still has.
        """
        wait_s = TASK_WAIT_S if step.task.attempts <= 1 else TASK_LOOK_S

        def look(view: TopologyView) -> bool | None:
            return None if index_views(view, definition) else True

        if await self._realm.until(look, timeout_s=wait_s) is None:
            raise NotYet(_INDEXES_LEFT)

    async def _remove_free(
        self, step: Step, marked: Mapping[TableRecord, Sequence[ReplicaRecord]]
    ) -> None:
        """Remove the tables that no living node holds. Raises: NotYet: none is free."""
        # Who has waited in vain before looks only briefly, so that others have their turn.
        wait_s = TASK_WAIT_S if step.task.attempts <= 1 else TASK_LOOK_S
        waits_for: set[str] = set()

        def look(view: TopologyView) -> list[TableRecord] | None:
            free = []
            waits_for.clear()
            for record, replicas in marked.items():
                held = holders(view, record.tenant, record.name, replicas=replicas)
                waits_for.update(held)
                if not held:
                    free.append(record)
            return free or None

        free = await self._realm.until(look, timeout_s=wait_s)
        if free is None:
            raise NotYet(f"Waiting for {', '.join(sorted(waits_for))} to let go of the table.")
        async with step.term.transaction() as tx:
            gone = [
                Publication(key=keys.TablePath(each.tenant, each.name).path, value=None)
                for each in free
                if await tables.delete(tx, each.table_id)
            ]
            await append(tx, gone)
        self._realm.publisher.wake()

    async def _seen(self, sequence: int) -> None:
        """Wait until this process's own view has what was recorded.

        What nodes said before they knew of it tells nothing.
        """
        revision = await self._realm.shown(sequence)
        async with asyncio.timeout(TASK_WAIT_S):
            await self._realm.watcher.reached(revision)


async def _replicas(tx: Transaction, record: TableRecord) -> Sequence[ReplicaRecord]:
    """Read the replicas of a table's ranges, and of children that may stand in their place."""
    found = await tables.replicas(tx, record.table_id)
    children = {
        each.range_id: (each.low_id, each.high_id)
        for each in await splits.begun_of_table(tx, record.table_id)
    }
    of_children = [
        replace(each, range_id=child) for each in found for child in children.get(each.range_id, ())
    ]
    return [*found, *of_children]


async def _mark_table(realm: Realm, tx: Transaction, record: TableRecord) -> int:
    """Say that a table is being deleted, and take its ranges from nodes and from those who ask."""
    ranges = await tables.ranges(tx, record.table_id)
    replicas = await tables.replicas(tx, record.table_id)
    begun = await splits.begun_of_table(tx, record.table_id)
    marked = replace(record, status=ResourceStatus.DELETING, changed_at_us=realm.clock.wall_us())
    await tables.update(tx, marked)
    published = table_publication(definition_of(record), ResourceStatus.DELETING)
    return await append(tx, [published, *withdrawals(record, ranges, replicas, splits=begun)])
