"""Ranges that nobody can open any more: what is left serves when an operator says so (ADR 0023).

Any control process asks the replicas and writes the order down, with its reason; whoever leads
carries it out as a task. That asks all of them once more, since who was missing may be back: if
what would be done is not what was ordered, nothing is. The swap compares the value that was read
before they were asked (B5), and is the only change: whoever leads may stop at any moment, and the
next one sees by the value whether it was made.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from dstore.base.logging import get_logger
from dstore.base.loss_limits import LOSS_ASK_S, LOSS_REASON_CHARS_MAX
from dstore.model.errors import (
    DStoreError,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    invalid,
)
from dstore.model.rid import table_rid
from dstore.model.status import ResourceStatus
from dstore.replication import placements
from dstore.replication.accepted_loss import Left, accepted, is_accepted, remains
from dstore.replication.replica_calls import AskReplica, AskReplicas
from dstore.replication.surroundings import pause_ms
from dstore.replication.whereabouts import has_other_disk
from dstore.service.control.held import held_report, held_status
from dstore.service.control.index_rebuilds import rebuilds_after_loss
from dstore.service.control.index_tables import note_lost_base
from dstore.service.control.loss_reports import LeftRow, LossReport
from dstore.service.control.publications import definition_of
from dstore.service.control.tasks import NotYet, new_task
from dstore.service.control.whereabouts import is_alive, where
from dstore.service.refusals import no_such
from dstore.storage.control import notices, tables, tasks
from dstore.storage.control.records import NodeUuid, NoticeRecord, RangeId, TaskId
from dstore.topology import keyspace as keys
from dstore.topology.coordinator import CoordinatorError
from dstore.topology.status import TopologyState
from dstore.topology.values import HeldStatus, Malformed, RangeState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from dstore.replication.peers.port import Peer
    from dstore.replication.placements import Placed
    from dstore.service.control.realm import Realm
    from dstore.service.control.tasks import Handler, Step
    from dstore.storage.control.records import RangeRecord, TableRecord
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.values import RangePlacement, Replica

_log: Final = get_logger(__name__)

ACCEPT_LOSS: Final = "accept_loss"
CLEAR_LOSS: Final = "clear_loss"
ACCEPTED: Final = "loss_accepted"  # the kinds of the notices
CLEARED: Final = "loss_cleared"
_RETRY_MS: Final = 1_000


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of both tasks, JSON; of a clearing only the first two.

    `best`, `lossless`, `damaged` and `epoch` are what was shown to the operator.
    """

    range_id: str
    reason: str
    gone: tuple[str, ...] = ()
    best: str = ""
    lossless: bool = False
    damaged: bool = False
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A range, its table, and its value as it is now."""

    table: TableRecord
    placed: Placed


class Losses:
    """Implements `loss_reports.Losing`; `handlers` are a leader's tasks."""

    def __init__(
        self, realm: Realm, coordinator: Coordinator, *, peer_of: Callable[[str], Peer]
    ) -> None:
        """Prepare.

        Args:
            realm: whose view says where nodes are.
            coordinator: has the ranges' values.
            peer_of: finds a node. Raises: Unreachable.
        """
        self._realm = realm
        self._coordinator = coordinator
        self._peer_of = peer_of

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What does each kind of task."""
        return {ACCEPT_LOSS: self._accept, CLEAR_LOSS: self._clear}

    async def report(self, range_id: RangeId) -> LossReport:
        """See `Losing.report`."""
        found = await self._find(range_id)
        value, path = found.placed.value, found.placed.path
        left = await self._ask(found)
        what = remains(value, left)
        return LossReport(
            tenant=found.table.tenant,
            table=found.table.name,
            range_id=value.range_id,
            low_hash=path.low_hash,
            high_hash=value.high_hash,
            epoch=value.epoch,
            has_possible_loss=value.state is RangeState.POSSIBLE_LOSS,
            replicas=tuple(self._row(found, each, left.get(each.node)) for each in value.replicas),
            best=what.best,
            missing=what.missing,
            is_lossless=what.is_lossless,
            why_not=what.why_not,
        )

    async def accept(
        self, range_id: RangeId, *, gone: Sequence[str], reason: str, actor: str
    ) -> TaskId:
        """See `Losing.accept`."""
        _check_reason(reason)
        known = await self._under_way(ACCEPT_LOSS, range_id)
        if known is not None:
            return known
        found = await self._find(range_id)
        value = found.placed.value
        left = await self._ask(found)
        wanted = accepted(value, left, gone=gone, awaited=self._awaited(found))
        order = _Order(
            range_id=range_id,
            reason=reason,
            gone=tuple(sorted(gone)),
            best=wanted.node,
            lossless=remains(value, left).is_lossless,
            damaged=left[wanted.node].is_damaged,
            epoch=wanted.epoch,
        )
        return await self._order(ACCEPT_LOSS, found, order, actor=actor)

    async def clear(self, range_id: RangeId, *, reason: str, actor: str) -> TaskId:
        """See `Losing.clear`."""
        _check_reason(reason)
        found = await self._find(range_id)
        order = _Order(range_id=range_id, reason=reason)
        return await self._order(CLEAR_LOSS, found, order, actor=actor)

    # ------------------------------------------------------------------------------ the order

    async def _under_way(self, kind: str, range_id: RangeId) -> TaskId | None:
        """Find the task that does it already; its order may have changed the range by now."""
        async with self._realm.plane.store.snapshot() as tx:
            found = await tasks.unfinished_of(tx, kind)
        return next(
            (each.id for each in found if _order(each.parameters).range_id == range_id), None
        )

    async def _order(self, kind: str, found: _Found, order: _Order, *, actor: str) -> TaskId:
        """Write an order down, unless one of its kind is being carried out."""
        realm, table = self._realm, found.table
        subject = f"{table_rid(table.tenant, table.name)} {order.range_id}"
        gone = f"; gone: {', '.join(order.gone)}; serving: {order.best}" if order.gone else ""
        async with realm.plane.store.transaction() as tx:
            task = await tasks.add(
                tx,
                new_task(
                    TaskId(f"{kind}-{realm.entropy.uuid()}"),
                    kind,
                    subject=subject,
                    parameters=msgspec.json.encode(order).decode(),
                    now_us=realm.clock.wall_us(),
                ),
            )
            await realm.audit(
                tx,
                actor=actor,
                action=kind,
                subject=f"{subject}, because: {order.reason}{gone}",
                result="ordered",
            )
        realm.tasks_due.set()
        return task.id

    # ------------------------------------------------------------------------------ the tasks

    async def _accept(self, step: Step) -> None:
        await self._carry_out(step, self._go_on, kind=ACCEPTED, told_as=_accepted_as)

    async def _clear(self, step: Step) -> None:
        await self._carry_out(step, self._say_no_more, kind=CLEARED, told_as=_cleared_as)

    async def _carry_out(
        self,
        step: Step,
        change: Callable[[_Found, _Order], Awaitable[None]],
        *,
        kind: str,
        told_as: Callable[[_Found, _Order], str],
    ) -> None:
        """Change a range as it was ordered, if nobody refuses that by now, and tell of it."""
        order = _order(step.task.parameters)
        try:
            found = await self._find(RangeId(order.range_id))
            await change(found, order)
        except Refused as error:
            await self._refused(step, error.message)
            return
        await self._done(step, found, order, kind=kind, sentence=told_as(found, order))

    async def _go_on(self, found: _Found, order: _Order) -> None:
        """Make the swap, unless it is made. Raises: Refused: nobody would order it by now."""
        before = found.placed
        if is_accepted(before.value, epoch=order.epoch, gone=order.gone):
            return
        left = await self._ask(found)
        wanted = accepted(before.value, left, gone=order.gone, awaited=self._awaited(found))
        is_lossless = remains(before.value, left).is_lossless
        if (wanted.node, is_lossless) != (order.best, order.lossless):
            raise Refused(RefusalKind.CONFLICT, _CHANGED)
        await self._swap(before, wanted)
        _log.warning("loss_accepted", range=order.range_id, node=wanted.node, lossless=is_lossless)

    async def _say_no_more(self, found: _Found, _order: _Order) -> None:
        """Make the swap, unless it is made."""
        value = found.placed.value
        if value.state is not RangeState.OKAY:
            await self._swap(found.placed, replace(value, state=RangeState.OKAY))

    async def _swap(self, before: Placed, value: RangePlacement) -> None:
        """Raises: NotYet: it is not changed, or by somebody else; look again."""
        try:
            await placements.swap(self._coordinator, before, value, pause=pause_ms)
        except DStoreError as error:
            raise NotYet(error.message) from None

    async def _refused(self, step: Step, why: str) -> None:
        """End the task with a sentence; whoever reads the audit log is not to take it for done."""
        realm = self._realm
        async with step.term.transaction() as tx:
            if await tasks.finish(
                tx, step.task.id, realm.plane.process, error=why, now_us=realm.clock.wall_us()
            ):
                await realm.audit(
                    tx, actor="", action=step.task.kind, subject=step.task.subject, result="refused"
                )

    async def _done(
        self, step: Step, found: _Found, order: _Order, *, kind: str, sentence: str
    ) -> None:
        """End the task and tell of it, once."""
        realm = self._realm
        now_us = realm.clock.wall_us()
        notice = NoticeRecord(
            node=NodeUuid(order.best or found.placed.value.node),
            at_us=now_us,
            kind=kind,
            details=msgspec.json.encode({"details": sentence}).decode(),
        )
        async with step.term.transaction() as tx:
            if await tasks.finish(tx, step.task.id, realm.plane.process, now_us=now_us):
                await notices.insert(tx, notice)
                if kind == ACCEPTED and not order.lossless:
                    await note_lost_base(realm, tx, found.table.table_id)
                await realm.audit(
                    tx, actor="", action=step.task.kind, subject=step.task.subject, result="done"
                )
        realm.publisher.wake()

    # ------------------------------------------------------------------------------ what there is

    async def _find(self, range_id: RangeId) -> _Found:
        """Read a range's value as it is now. Raises: Refused(NOT_FOUND), Unavailable."""
        realm = self._realm
        if realm.watcher.status().state is not TopologyState.LIVE:
            raise _not_now("This control process does not know the topology as it is now.")
        async with realm.plane.store.snapshot() as tx:
            record = await tables.get_range(tx, range_id)
            table = None if record is None else await tables.get_by_id(tx, record.table_id)
        if record is None or table is None or table.status is ResourceStatus.DELETING:
            raise no_such("range", range_id)
        return _Found(table=table, placed=await self._read(table, record))

    async def _read(self, table: TableRecord, record: RangeRecord) -> Placed:
        path = keys.RangePath(table.tenant, table.name, record.low_hash)
        try:
            placed = await placements.read(self._coordinator, path)
        except (CoordinatorError, Malformed) as error:
            raise _not_now(error.message) from None
        if placed is None or placed.value.range_id != record.range_id:
            raise _not_now("The range is not shown as it is recorded: it is being made or split.")
        return placed

    async def _ask(self, found: _Found) -> dict[str, Left]:
        """Ask all replicas, on the disks that their nodes have now, whether they count or not."""
        view, value = self._realm.watcher.view, found.placed.value
        disks = {
            each.node: where(view, each.node).incarnation or each.incarnation
            for each in value.replicas
        }
        asked = await asyncio.gather(
            *(self._asked(found, node, incarnation) for node, incarnation in disks.items())
        )
        return {node: each for node, each in zip(disks, asked, strict=True) if each is not None}

    def _awaited(self, found: _Found) -> frozenset[str]:
        """Name the nodes that live, with the disks that count, and have not said they are ruined.

        Who is not heard of them may well serve.
        """
        view = self._realm.watcher.view
        return frozenset(
            each.node
            for each in found.placed.value.in_sync
            if is_alive(view, each.node)
            and not has_other_disk(each, where(view, each.node))
            and self._status(found, each.node) is not HeldStatus.DAMAGED
        )

    async def _asked(self, found: _Found, node: str, incarnation: str) -> Left | None:
        ask = AskReplica(range_id=found.placed.value.range_id, incarnation=incarnation)
        try:
            answer = await self._peer_of(node).call(
                AskReplicas(asked=(ask,)), deadline_s=LOSS_ASK_S
            )
        except DStoreError as error:
            _log.info("replica_not_heard", node=node, reason=error.message)
            return None
        [told] = answer.told
        if told is None:
            return None
        is_damaged = self._status(found, node) is HeldStatus.DAMAGED
        return Left(incarnation=incarnation, told=told, is_damaged=is_damaged)

    def _status(self, found: _Found, node: str) -> HeldStatus | None:
        """Say how a node last said that the range is there."""
        path = found.placed.path
        return held_status(
            self._realm.watcher.view,
            node=node,
            tenant=path.tenant,
            table=path.table,
            range_id=found.placed.value.range_id,
        )

    def _row(self, found: _Found, replica: Replica, left: Left | None) -> LeftRow:
        view, path = self._realm.watcher.view, found.placed.path
        report = held_report(
            view,
            node=replica.node,
            tenant=path.tenant,
            table=path.table,
            range_id=found.placed.value.range_id,
        )
        row = LeftRow(
            node=replica.node,
            state=replica.state,
            is_alive=is_alive(view, replica.node),
            entries=0 if report is None else report.entries,
        )
        if left is None:
            return row
        standing = left.told.standing
        return LeftRow(
            node=row.node,
            state=row.state,
            is_alive=row.is_alive,
            entries=row.entries,
            is_heard=True,
            is_same_disk=left.incarnation == replica.incarnation,
            is_whole=standing.is_whole,
            is_damaged=left.is_damaged,
            epoch=standing.epoch,
            sequence=standing.end.seq,
            newest_at_us=left.told.newest_at_us,
        )


_CHANGED: Final = (
    "What is left of the range is not what it was when this was said: look at it again. Nothing "
    "was changed."
)


def _order(parameters: str) -> _Order:
    return msgspec.json.decode(parameters, type=_Order)


def _check_reason(reason: str) -> None:
    """Raises: Refused(INVALID): there is none, or it is too long."""
    if not reason.strip():
        raise invalid("Say why, in a few words: it is kept in the audit log.")
    if len(reason) > LOSS_REASON_CHARS_MAX:
        raise invalid(f"The reason has {len(reason)} characters, at most {LOSS_REASON_CHARS_MAX}.")


def _not_now(why: str) -> Unavailable:
    return Unavailable(UnavailableKind.OVERLOADED, f"{why} Ask again.", retry_after_ms=_RETRY_MS)


def _accepted_as(found: _Found, order: _Order) -> str:
    table = table_rid(found.table.tenant, found.table.name)
    lost = "It held every acknowledged write" if order.lossless else "Writes may be lost"
    damaged = " It is damaged, as all are that were left." if order.damaged else ""
    return (
        f"Range {order.range_id} of {table} goes on with what node {order.best} has; given up: "
        f"{_named(order.gone)}. {lost}.{damaged} Said because: {order.reason}"
        f"{'' if order.lossless else _of_indexes(found.table)}"
    )


def _of_indexes(table: TableRecord) -> str:
    """Say what is to be done about the indexes of a table that may have lost writes."""
    commands = rebuilds_after_loss(definition_of(table))
    return f" Its indexes may be wrong now: {'; '.join(commands)}" if commands else ""


def _cleared_as(found: _Found, order: _Order) -> str:
    table = table_rid(found.table.tenant, found.table.name)
    return (
        f"Of range {order.range_id} of {table} it is said no longer that writes may be lost. Said "
        f"because: {order.reason}"
    )


def _named(nodes: Collection[str]) -> str:
    return ", ".join(sorted(nodes)) or "nobody"
