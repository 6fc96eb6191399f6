"""The hidden tables of global indexes follow what their base tables declare; steps of transactions.

    CREATING   its ranges are made, as any table's (`observer` sees that nodes hold them)
    UPDATING   it is filled from the base table (`indexes`)
    ACTIVE     it is whole, and is fed what the base table is written
    DELETING   as any table (`deletions`)

Whoever changes what a table declares calls `follow` in the same transaction, so that a base table
and its indexes cannot drift apart; a table that declares an index and has none of it, as one from
before there were any, is given it the same way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.model.errors import RefusalKind, Refused
from dstore.model.index_tables import index_table_definition
from dstore.model.rid import table_rid
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import encode_definition
from dstore.model.tables import TableId
from dstore.service.control.deletions import begin_table
from dstore.service.control.new_tables import insert_table
from dstore.service.control.publications import definition_of, table_publication
from dstore.service.control.realm import append
from dstore.service.control.tasks import new_task
from dstore.storage.control import tables, tasks
from dstore.storage.control.records import TaskId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.model.tables import TableDefinition
    from dstore.service.control.leader import Term
    from dstore.service.control.realm import Realm
    from dstore.storage.control.records import TableRecord, TaskRecord
    from dstore.storage.control.store import Transaction

BUILD_INDEX: Final = "build_index"


class IndexSubject(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a task that builds an index, JSON; `index_id` is its hidden table's id."""

    tenant: str
    table: str
    index: str
    index_id: str


def build_task(index_id: TableId) -> TaskId:
    """Name the task that builds an index: there is one in its whole life."""
    return TaskId(f"{BUILD_INDEX}-{index_id}")


def index_subject(task: TaskRecord) -> IndexSubject:
    """Read which index a task builds."""
    return msgspec.json.decode(task.parameters, type=IndexSubject)


async def follow(
    realm: Realm, tx: Transaction, base: TableDefinition, *, is_new: bool = False
) -> int:
    """Give a table the indexes that it declares, and begin to delete those that it does not.

    The table's own record and value are the caller's to write. Indexes that are made with their
    table, which `is_new`, have its birthday: by that they are known.

    Returns: the last sequence in the outbox, 0 if nothing changed.
    Raises: Refused(CONFLICT): one that is to come has the name of one that has not gone yet, or
        another one comes or goes at the moment. Unavailable: no node takes tables.
    """
    if not realm.has_indexes:
        return 0
    known = {record.name: record for record in await tables.indexes_of(tx, base.table_id)}
    wanted = {
        made.name: made
        for made in (
            index_table_definition(
                base,
                index,
                table_id=TableId(realm.entropy.uuid()),
                created_at_us=base.created_at_us if is_new else realm.clock.wall_us(),
            )
            for index in base.settings.global_indexes
        )
    }
    gone = [
        record
        for name, record in known.items()
        if name not in wanted and record.status is not ResourceStatus.DELETING
    ]
    come = [made for name, made in wanted.items() if name not in known]
    _check_same(base, known, wanted)
    sequence = 0
    for record in gone:
        sequence = await give_up(realm, tx, record)
    for made in come:
        published = await insert_table(realm, tx, made, base_id=base.table_id)
        sequence = await append(tx, published)
        await tasks.add(tx, _task(made, now_us=realm.clock.wall_us()))
    return sequence


async def delete_all(realm: Realm, tx: Transaction, base_id: TableId) -> None:
    """Begin to delete every index of a table that is being deleted, however far each is."""
    for record in await tables.indexes_of(tx, base_id):
        await give_up(realm, tx, record)


async def give_up(realm: Realm, tx: Transaction, record: TableRecord) -> int:
    """Begin to delete an index, however far it is; if it is declared still it is made anew then.

    Returns: the last sequence in the outbox, 0 if it is being deleted already.
    """
    if record.status is ResourceStatus.DELETING:
        return 0
    await tasks.cancel(tx, build_task(record.table_id), now_us=realm.clock.wall_us())
    return await begin_table(realm, tx, record)


async def note_lost_base(realm: Realm, tx: Transaction, base_id: TableId) -> None:
    """Note of every index of a table that it may have rows of writes that the table has lost.

    Whoever makes it anew makes another hidden table, of which this is not so.
    """
    for record in await tables.indexes_of(tx, base_id):
        definition = definition_of(record)
        if record.status is ResourceStatus.DELETING or definition.settings.has_lost_base:
            continue
        doubtful = replace(definition, settings=replace(definition.settings, has_lost_base=True))
        changed = replace(
            record, definition=encode_definition(doubtful), changed_at_us=realm.clock.wall_us()
        )
        await tables.update(tx, changed)
        await append(tx, [table_publication(doubtful, record.status)])


async def check_idle(tx: Transaction, base_id: TableId, *, but: frozenset[str]) -> None:
    """Refuse to have two indexes of a table come or go at once. Raises: Refused(CONFLICT).

    Args:
        tx: the transaction.
        base_id: the table's.
        but: names of hidden tables that may be under way: one may be given up while it is filled.
    """
    for record in await tables.indexes_of(tx, base_id):
        if record.status is not ResourceStatus.ACTIVE and record.name not in but:
            raise Refused(
                RefusalKind.CONFLICT,
                f"The index {_index_name(record)} is being made or deleted; wait until that is "
                "done.",
            )


async def begin_anew(realm: Realm, term: Term, index_id: TableId) -> None:
    """Delete an index that can't be filled any more; once it is gone its table lacks it."""
    async with term.transaction() as tx:
        record = await tables.get_by_id(tx, index_id)
        if record is not None and record.status is not ResourceStatus.DELETING:
            await begin_table(realm, tx, record)
    realm.publisher.wake()
    realm.tasks_due.set()


async def set_status(
    realm: Realm, term: Term, index_id: TableId, *, was: ResourceStatus, is_now: ResourceStatus
) -> bool:
    """Take an index from one state to the next. Returns: False: it is in another, or gone.

    Raises: NotLeading, Unavailable, Unknown: again.
    """
    async with term.transaction() as tx:
        record = await tables.get_by_id(tx, index_id)
        if record is None or record.status is not was:
            return False
        now = replace(record, status=is_now, changed_at_us=realm.clock.wall_us())
        await tables.update(tx, now)
        await append(tx, [table_publication(definition_of(record), is_now)])
    realm.publisher.wake()
    return True


def _check_same(
    base: TableDefinition,
    known: Mapping[str, TableRecord],
    wanted: Mapping[str, TableDefinition],
) -> None:
    """Refuse an index under the name of another that is still there."""
    for name, made in wanted.items():
        record = known.get(name)
        if record is None:
            continue
        is_same = definition_of(record).index_of == made.index_of
        if record.status is ResourceStatus.DELETING or not is_same:
            raise Refused(
                RefusalKind.CONFLICT,
                f"The former index {_index_name(record)} of {base.name} is being deleted; its name "
                "is free once nodes have let go of it.",
            )


def _index_name(record: TableRecord) -> str:
    index_of = definition_of(record).index_of
    return record.name if index_of is None else index_of.name


def _task(made: TableDefinition, *, now_us: int) -> TaskRecord:
    index_of = made.index_of
    assert index_of is not None
    subject = IndexSubject(
        tenant=made.tenant, table=index_of.table, index=index_of.name, index_id=made.table_id
    )
    return new_task(
        build_task(made.table_id),
        BUILD_INDEX,
        subject=f"{table_rid(made.tenant, made.name)} {made.table_id}",
        parameters=msgspec.json.encode(subject).decode(),
        now_us=now_us,
    )
