"""What control's store is told of a split, each step one transaction; and what the view says of it.

    begin      the attempt is written down, under ids that nobody had
    (the primary swaps the children in; see ADR 0018)
    finish     the children stand where the parent did, here too, and are named to their nodes
    abandon    the parent is in a later epoch: nothing can become of the attempt

Each may be repeated, by whoever leads: it looks first at what is there. A leader that is none any
more is refused by the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import RANGES_PER_TABLE_MAX
from dstore.model.errors import RefusalKind, Refused
from dstore.model.rid import table_rid
from dstore.model.tables import TableId
from dstore.replication.placements import Placed
from dstore.service.control.publications import held_publication
from dstore.service.control.realm import append
from dstore.service.control.tasks import new_task
from dstore.storage.control import notices, splits, tables, tasks
from dstore.storage.control.records import (
    HolderState,
    NodeUuid,
    NoticeRecord,
    RangeId,
    RangeRecord,
    SplitRecord,
    SplitState,
    SplitWhy,
    TaskId,
)
from dstore.topology import keyspace as keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dstore.service.control.leader import Term
    from dstore.service.control.realm import Realm
    from dstore.storage.control.records import ReplicaRecord, TableRecord, TaskRecord
    from dstore.storage.control.store import Transaction
    from dstore.topology.view import PlacedRange, TopologyView

SPLIT_RANGE: Final = "split_range"
NOTICE: Final = "range_split"


class SplitSubject(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a task that follows a split, JSON."""

    range_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the view says of an attempt.

    Attributes:
        children: both, the lower one first, once they stand there.
        parent: the parent, as long as it does.
    """

    children: tuple[PlacedRange, PlacedRange] | None = None
    parent: Placed | None = None

    def is_over(self, split: SplitRecord) -> bool:
        """Tell whether nothing can become of it: its swap compares what was in its own epoch.

        Of a range that is not settled nobody knows yet what it is.
        """
        if self.parent is None or not self.parent.value.is_settled:
            return False
        return self.parent.value.epoch > split.epoch


def seen_of(view: TopologyView, table: TableRecord, split: SplitRecord) -> Seen:
    """Look for the children of an attempt by their ids, whatever epoch they are in by now."""
    shown = view.table(table.tenant, table.name)
    if shown is None or shown.definition.table_id != table.table_id:
        return Seen()
    high = shown.range_of(split.at_hash)
    low = shown.range_of(split.at_hash - 1)
    if high is None or low is None:
        return Seen()
    if (low.range_id, high.range_id) == (split.low_id, split.high_id):
        return Seen(children=(low, high))
    if low.range_id != split.range_id:
        return Seen()
    path = keys.RangePath(table.tenant, table.name, low.low_hash)
    return Seen(parent=Placed(path=path, value=low.placement, revision=low.mod_revision))


def task_of(split: SplitRecord) -> TaskId:
    """Name the task that follows an attempt."""
    return TaskId(f"{SPLIT_RANGE}-{split.low_id}")


def split_task(
    task_id: TaskId, table: TableRecord, range_id: RangeId, *, now_us: int
) -> TaskRecord:
    """Make a task that follows the split of a range until the range is no more."""
    return new_task(
        task_id,
        SPLIT_RANGE,
        subject=f"{table_rid(table.tenant, table.name)} {range_id}",
        parameters=msgspec.json.encode(SplitSubject(range_id=range_id)).decode(),
        now_us=now_us,
    )


async def begin(
    realm: Realm, term: Term, placed: Placed, *, at_hash: int, why: SplitWhy
) -> SplitRecord | None:
    """Write an attempt down. Returns: None: it can't be, as things are by now.

    Raises: Refused(CONFLICT): the table has as many ranges as it can have. NotLeading, Unavailable:
        nothing is written. Unknown: it may be, and is found then.
    """
    value = placed.value
    range_id = RangeId(value.range_id)
    split = SplitRecord(
        range_id=range_id,
        table_id=TableId(value.table_id),
        epoch=value.epoch,
        at_hash=at_hash,
        low_id=RangeId(realm.entropy.uuid()),
        high_id=RangeId(realm.entropy.uuid()),
        why=why,
        state=SplitState.BEGUN,
        begun_at_us=realm.clock.wall_us(),
    )
    async with term.transaction() as tx:
        table = await tables.get_by_id(tx, split.table_id)
        if table is None or not table.status.is_held:
            return None
        if not await _is_still(tx, split, placed):
            return None
        if not await _has_room(tx, split):
            raise Refused(
                RefusalKind.CONFLICT,
                f"The table has {RANGES_PER_TABLE_MAX} ranges, and can't have more.",
            )
        if not await splits.begin(tx, split):
            return None
        task = split_task(task_of(split), table, range_id, now_us=split.begun_at_us)
        await tasks.add(tx, task)
    realm.tasks_due.set()
    return split


async def finish(
    realm: Realm, term: Term, split: SplitRecord, *, children: Sequence[PlacedRange]
) -> bool:
    """Put the children in the parent's place. Returns: False: somebody has; or the table goes.

    Raises: NotLeading, Unavailable, Unknown: again.
    """
    now_us = realm.clock.wall_us()
    async with term.transaction() as tx:
        table = await tables.get_by_id(tx, split.table_id)
        parent = await tables.get_range(tx, split.range_id)
        if table is None or parent is None or not table.status.is_held:
            return False  # a table that is being deleted is taken whole from those who have it
        if not await splits.end(tx, split, SplitState.DONE, now_us=now_us):
            return False
        before = [
            each
            for each in await tables.replicas(tx, split.table_id)
            if each.range_id == split.range_id
        ]
        records = [_record(parent, each) for each in children]
        holders = _holders(before, children)
        await tables.replace_range(tx, parent, records, holders=holders)
        ranges = await tables.ranges(tx, split.table_id)
        replicas = await tables.replicas(tx, split.table_id)
        nodes = sorted({*holders, *(each.node for each in before)})
        await append(
            tx, [held_publication(table, node, ranges=ranges, replicas=replicas) for node in nodes]
        )
        await notices.insert(tx, _notice(table, split, children, now_us=now_us))
    realm.publisher.wake()
    realm.tasks_due.set()
    return True


async def abandon(realm: Realm, term: Term, split: SplitRecord) -> bool:
    """Say that nothing can become of an attempt. Returns: False: somebody has said so."""
    now_us = realm.clock.wall_us()
    async with term.transaction() as tx:
        is_ended = await splits.end(tx, split, SplitState.ABANDONED, now_us=now_us)
        if is_ended:
            await tasks.cancel(tx, task_of(split), now_us=now_us)
    return is_ended


async def _has_room(tx: Transaction, split: SplitRecord) -> bool:
    """Tell whether the table may have one more range."""
    ranges = await tables.ranges(tx, split.table_id)
    begun = await splits.begun_of_table(tx, split.table_id)
    return len(ranges) + len(begun) < RANGES_PER_TABLE_MAX


async def _is_still(tx: Transaction, split: SplitRecord, placed: Placed) -> bool:
    """Tell whether the range is what was looked at, and nobody is to get or lose a replica."""
    parent = await tables.get_range(tx, split.range_id)
    if parent is None or parent.table_id != split.table_id:
        return False
    bounds = (placed.path.low_hash, placed.value.high_hash)
    if (parent.low_hash, parent.high_hash) != bounds:
        return False
    replicas = await tables.replicas(tx, split.table_id)
    return all(
        each.state is HolderState.HOLDING for each in replicas if each.range_id == split.range_id
    )


def _record(parent: RangeRecord, child: PlacedRange) -> RangeRecord:
    value = child.placement
    return RangeRecord(
        range_id=RangeId(value.range_id),
        table_id=parent.table_id,
        low_hash=child.low_hash,
        high_hash=value.high_hash,
        epoch=value.epoch,
        node=NodeUuid(value.node),
        status=parent.status,
    )


def _holders(
    before: Sequence[ReplicaRecord], children: Sequence[PlacedRange]
) -> Mapping[NodeUuid, HolderState]:
    """Say who is to have the children: who has them, and who was to have the parent.

    Who was to be rid of the parent and has the children is to be rid of them; who was leaving it,
    and has none, never had to do with them.
    """
    states = {each.node: each.state for each in before}
    on = {NodeUuid(one.node) for each in children for one in each.placement.replicas}
    held = dict.fromkeys(on, HolderState.HOLDING)
    for node, state in states.items():
        if state is not HolderState.LEAVING:
            held[node] = state
    return held


def _notice(
    table: TableRecord, split: SplitRecord, children: Sequence[PlacedRange], *, now_us: int
) -> NoticeRecord:
    low, high = (
        f"{each.low_hash:08x}-{each.placement.high_hash:08x} ({each.range_id})" for each in children
    )
    took_s = max(now_us - split.begun_at_us, 0) // 1_000_000
    how = f"for its {split.why}; it took {took_s} s"
    if split.why is SplitWhy.UNKNOWN:
        how = "as the coordinator shows; control's store was put back from before that"
    sentence = (
        f"Range {split.range_id} of {table_rid(table.tenant, table.name)} is split into {low} and "
        f"{high}, {how}."
    )
    return NoticeRecord(
        node=NodeUuid(children[0].placement.node),
        at_us=now_us,
        kind=NOTICE,
        details=msgspec.json.encode({"details": sentence}).decode(),
    )
