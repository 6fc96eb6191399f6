"""Tables of a cluster: made, set anew, deleted, by the leading control.

A change is one transaction of the store, with what the coordinator is to show in its outbox; then
it is waited for, briefly. If the coordinator is away meanwhile the answer is `Unknown`: the change
is recorded and will become visible. A new table is CREATING until nodes say that they hold enough
of it (`observer`); a deleted one is DELETING until every living node has let go of it
(`deletions`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dstore.base.limits import SETTLED_TIMEOUT_S
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.model.features import begun_by, needed_by
from dstore.model.index_of import index_table_name
from dstore.model.rid import table_rid, validate_table_name
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import encode_definition
from dstore.model.table_settings import KeyAttribute, v1_settings
from dstore.model.tables import Door, TableDefinition, TableId, v1_key
from dstore.service.calls.control_calls import (
    CreateTable,
    DeclareTable,
    DeleteTable,
    SetTable,
    TableChanged,
)
from dstore.service.control import deletions, features, index_tables
from dstore.service.control.new_tables import insert_table
from dstore.service.control.publications import definition_of, table_publication
from dstore.service.control.realm import Realm, append, check_uuid
from dstore.service.refusals import (
    check_deletable,
    check_factor,
    check_same,
    no_such,
    table_exists,
)
from dstore.storage.control import outbox, tables, tasks, tenants
from dstore.storage.control.records import TableRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.storage.control.store import Transaction
    from dstore.topology.view import TableView, TopologyView

_NO_NODE_RETRY_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changed:
    """A table after a transaction, and what to wait for until the coordinator shows it."""

    definition: TableDefinition
    status: ResourceStatus
    is_done: bool
    sequence: int


class ControlTables:
    """Changes what tables there are. Every method raises what `Realm.change` and `shown` do."""

    def __init__(self, realm: Realm) -> None:
        """Change them in `realm`."""
        self._realm = realm

    async def create(self, ask: CreateTable) -> TableChanged:
        """Create a v1 table. Raises: see the call."""
        validate_table_name(ask.name)
        factor = ask.replication_factor
        check_factor(factor)
        made = TableDefinition(
            tenant=ask.tenant,
            name=ask.name,
            table_id=TableId(check_uuid(ask.table_id, "table's id")),
            partition=v1_key(ask.id_type),
            door=Door.V1,
            created_at_us=self._realm.clock.wall_us(),
            settings=v1_settings(factor),
        )
        return await self._create(
            made, ask, check=lambda found: check_same(found, ask.id_type, factor)
        )

    async def declare(self, ask: DeclareTable) -> TableChanged:
        """Create a DynamoDB table. Raises: see the call."""
        validate_table_name(ask.name)
        sort = ask.sort
        made = TableDefinition(
            tenant=ask.tenant,
            name=ask.name,
            table_id=TableId(check_uuid(ask.table_id, "table's id")),
            partition=KeyAttribute(name=ask.partition.name, kind=ask.partition.kind),
            sort=None if sort is None else KeyAttribute(name=sort.name, kind=sort.kind),
            door=Door.DYNAMODB,
            created_at_us=self._realm.clock.wall_us(),
            settings=ask.settings,
        )

        def check(found: TableDefinition) -> None:
            raise table_exists(found.name)

        return await self._create(made, ask, check=check)

    async def set(self, ask: SetTable) -> TableChanged:
        """Set a table's settings, if they are as expected. Raises: see the call."""
        realm = self._realm
        async with realm.change() as tx:
            record = await _existing(tx, ask)
            changed = _Changed(
                definition=definition_of(record),
                status=record.status,
                is_done=True,
                sequence=await outbox.last(tx),
            )
            before = changed.definition.settings
            if before != ask.settings:
                if before != ask.expected:
                    changed = replace(changed, is_done=False)
                else:
                    changed = await self._set(tx, record, ask)
        realm.tasks_due.set()
        return await self._shown(changed)

    async def delete(self, ask: DeleteTable) -> TableChanged:
        """Delete a table. Raises: see the call."""
        realm = self._realm
        async with realm.change() as tx:
            record = await tables.get_by_id(tx, TableId(ask.table_id))
            if record is None or (record.tenant, record.name) != (ask.tenant, ask.name):
                return await self._deleted_before(tx, ask)
            definition = definition_of(record)
            if record.status is not ResourceStatus.DELETING:
                check_deletable(definition)
                await index_tables.delete_all(realm, tx, record.table_id)
                await deletions.begin_table(realm, tx, record)
                await realm.audit(
                    tx,
                    actor=ask.actor,
                    action="delete_table",
                    subject=str(table_rid(record.tenant, record.name)),
                )
            sequence = await outbox.last(tx)
        realm.tasks_due.set()
        revision = await realm.shown(sequence)
        view = await realm.until(
            lambda view: None if _has(view, definition) else view, timeout_s=SETTLED_TIMEOUT_S
        )
        return _answer(
            definition,
            status=ResourceStatus.DELETING,
            is_done=view is not None,
            revision=revision if view is None else max(revision, view.revision),
        )

    # ------------------------------------------------------------------------------- steps

    async def _create(
        self,
        made: TableDefinition,
        ask: CreateTable | DeclareTable,
        *,
        check: Callable[[TableDefinition], None],
    ) -> TableChanged:
        """Create a table, unless it was made before; `check` judges one of another id."""
        realm = self._realm
        async with realm.change() as tx:
            tenant = await tenants.get(tx, made.tenant)
            if tenant is None or tenant.status is ResourceStatus.DELETING:
                raise no_such("tenant", made.tenant)
            if ask.tenant_id not in {"", tenant.uuid}:
                raise no_such("tenant", made.tenant)  # this one was made later, under its name
            found = await tables.get(tx, made.tenant, made.name)
            if found is None:
                if await tables.get_by_id(tx, made.table_id) is not None:
                    raise Refused(RefusalKind.CONFLICT, "The table's id is another table's.")
                if await tasks.get(tx, deletions.table_task(made.table_id)) is not None:
                    # Asked again after a lost answer, and deleted by somebody else meanwhile. A
                    # table has one life: its task would not delete it a second time.
                    raise no_such("table", made.name)
                changed = await self._insert(tx, made, actor=ask.actor)
            else:
                known = definition_of(found)
                if found.status is ResourceStatus.DELETING:
                    raise _being_deleted(found.name)
                is_repeated = found.table_id == made.table_id
                if not is_repeated:
                    check(known)
                changed = _Changed(
                    definition=known,
                    status=found.status,
                    is_done=is_repeated,
                    sequence=await outbox.last(tx),
                )
        realm.tasks_due.set()
        return await self._settled(changed)

    async def _insert(self, tx: Transaction, made: TableDefinition, *, actor: str) -> _Changed:
        realm = self._realm
        await features.require(realm, tx, needed_by(made))
        await index_tables.follow(realm, tx, made, is_new=True)
        sequence = await append(tx, await insert_table(realm, tx, made))
        await realm.audit(
            tx,
            actor=actor,
            action="create_table",
            subject=str(table_rid(made.tenant, made.name)),
        )
        return _Changed(
            definition=made, status=ResourceStatus.CREATING, is_done=True, sequence=sequence
        )

    async def _set(self, tx: Transaction, record: TableRecord, ask: SetTable) -> _Changed:
        realm = self._realm
        before = definition_of(record)
        definition = replace(before, settings=ask.settings)
        await _check_idle(tx, before, definition)
        await features.require(realm, tx, begun_by(before.settings, ask.settings))
        published = table_publication(definition, record.status)
        await tables.update(
            tx,
            replace(
                record,
                definition=encode_definition(definition),
                changed_at_us=realm.clock.wall_us(),
            ),
        )
        await realm.audit(
            tx,
            actor=ask.actor,
            action="set_table",
            subject=str(table_rid(record.tenant, record.name)),
        )
        await index_tables.follow(realm, tx, definition)
        return _Changed(
            definition=definition,
            status=record.status,
            is_done=True,
            sequence=await append(tx, [published]),
        )

    async def _shown(self, changed: _Changed) -> TableChanged:
        revision = await self._realm.shown(changed.sequence)
        return _answer(
            changed.definition,
            status=changed.status,
            is_done=changed.is_done,
            revision=revision,
        )

    async def _settled(self, changed: _Changed) -> TableChanged:
        """Wait until a new table can be used, or has to be answered as it is."""
        shown = await self._shown(changed)
        if shown.status is not ResourceStatus.CREATING:
            return shown

        def look(view: TopologyView) -> tuple[int, TableView | None] | None:
            table = view.table(shown.tenant, shown.name)
            is_on_its_way = view.revision < shown.revision or (
                table is not None and table.status is ResourceStatus.CREATING
            )
            return None if is_on_its_way else (view.revision, table)

        found = await self._realm.until(look, timeout_s=SETTLED_TIMEOUT_S)
        if found is None:
            return shown
        revision, table = found
        if table is None or table.definition.table_id != shown.table_id:
            raise no_such("table", shown.name)  # deleted by somebody else meanwhile
        return _answer(
            changed.definition, status=table.status, is_done=shown.is_done, revision=revision
        )

    async def _deleted_before(self, tx: Transaction, ask: DeleteTable) -> TableChanged:
        """Answer again who deleted this very table before. Raises: Refused: there was none."""
        done = await tasks.get(tx, deletions.table_task(TableId(ask.table_id)))
        subject = None if done is None else deletions.table_subject(done)
        if subject is None or (subject.tenant, subject.name) != (ask.tenant, ask.name):
            raise no_such("table", ask.name)
        return _answer(
            subject.described(),
            status=ResourceStatus.DELETING,
            is_done=True,
            revision=self._realm.watcher.view.revision,
        )


async def _existing(tx: Transaction, ask: SetTable) -> TableRecord:
    record = await tables.get_by_id(tx, TableId(ask.table_id))
    if (
        record is None
        or (record.tenant, record.name) != (ask.tenant, ask.name)
        or record.status is ResourceStatus.DELETING
    ):
        raise no_such("table", ask.name)
    return record


async def _check_idle(tx: Transaction, before: TableDefinition, after: TableDefinition) -> None:
    """Refuse to add or remove an index while another one comes or goes. Raises: Refused."""
    was = {index.name for index in before.settings.global_indexes}
    will = {index.name for index in after.settings.global_indexes}
    if was != will:
        gone = frozenset(index_table_name(before.name, name) for name in was - will)
        await index_tables.check_idle(tx, before.table_id, but=gone)


def _has(view: TopologyView, definition: TableDefinition) -> bool:
    found = view.table(definition.tenant, definition.name)
    return found is not None and found.definition.table_id == definition.table_id


def _answer(
    definition: TableDefinition, *, status: ResourceStatus, is_done: bool, revision: int
) -> TableChanged:
    return TableChanged(
        tenant=definition.tenant,
        name=definition.name,
        table_id=definition.table_id,
        definition=encode_definition(definition),
        status=status,
        is_done=is_done,
        revision=revision,
    )


def _being_deleted(name: str) -> Unavailable:
    return Unavailable(
        UnavailableKind.OVERLOADED,
        f"The former table {name} is being deleted; its name is free once nodes have let go of it.",
        retry_after_ms=_NO_NODE_RETRY_MS,
    )
