"""Global indexes are built by themselves: made where they are lacking, filled, and then shown.

A leader's job gives tables the indexes that they declare and have not, as those from before there
were any have not. Each index that is being made has a task, which whoever leads goes on with: it
waits until nodes hold the hidden table, asks the primaries of the base table's ranges, again and
again, to fill it and how far they are, and says that it is ACTIVE once all have filled it. How far
they are only they remember: a leader that begins knows what the former one knew after one round.

What is true of a range stays true of those that it is split into, so it is enough that each range
was once done of those that a view shows.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.index_limits import (
    INDEX_ASK_S_MAX,
    INDEX_ASK_S_MIN,
    INDEX_CALL_S,
    INDEX_RANGES_ASKED,
    INDEXES_LOOK_S,
)
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError
from dstore.model.features import Feature
from dstore.model.index_of import base_table_name, index_table_name, is_index_table
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId
from dstore.replication.index_calls import FillIndex
from dstore.service.control import features, index_tables
from dstore.service.control.index_tables import BUILD_INDEX, index_subject
from dstore.service.control.leader import NotLeading, Term
from dstore.service.control.publications import definition_of
from dstore.service.control.tasks import report
from dstore.storage.control import tables
from dstore.topology import keyspace as keys
from dstore.topology.indexes import index_view
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dstore.replication.index_calls import IndexFill
    from dstore.replication.peers.port import Peer
    from dstore.service.control.index_tables import IndexSubject
    from dstore.service.control.realm import Realm
    from dstore.service.control.tasks import Handler, Step
    from dstore.topology.view import PlacedRange, TableView, TopologyView
    from dstore.topology.watcher import Update

_log: Final = get_logger(__name__)

_Name = tuple[str, str]  # a tenant's and a table's
_SILENT: Final = "The primary of range {} does not say how far it is: {}"


@dataclass(slots=True, kw_only=True)
class _Filling:
    """What one leader has heard of an index that is filled; by the ids of the base's ranges."""

    done: set[str] = field(default_factory=set)
    scanned: dict[str, int] = field(default_factory=dict)
    is_lost: bool = False  # nothing but beginning anew will do
    why: str = ""  # a sentence: what hinders it; "" if nothing does
    written: str = ""  # of its progress

    def progress(self, ranges: Sequence[PlacedRange]) -> str:
        """Spell how far it is, JSON."""
        ids = [each.range_id for each in ranges]
        shown: dict[str, int | str] = {
            "state": "filling",
            "ranges": len(ids),
            "rangesDone": sum(each in self.done for each in ids),
            "itemsRead": sum(self.scanned.get(each, 0) for each in ids),
        }
        if self.why:
            shown["why"] = self.why
        return msgspec.json.encode(shown).decode()


class Indexes:
    """Makes and fills global indexes. `run` is a leader's job."""

    def __init__(self, realm: Realm, *, peer_of: Callable[[str], Peer]) -> None:
        """Prepare; `peer_of` finds a node. Raises: Unreachable."""
        self._realm = realm
        self._peer_of = peer_of
        self._lacking: set[_Name] = set()  # tables that may lack an index
        self._woken = asyncio.Event()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What builds each index, as tasks."""
        return {BUILD_INDEX: self._build}

    # ------------------------------------------------------------------- what is declared, and not

    async def run(self, term: Term) -> None:
        """Make what is lacking for as long as the term lasts. Raises: NotLeading: another leads."""
        watcher = self._realm.watcher
        end = watcher.subscribe(keys.TABLES, self._on_update)
        try:
            self._lacking = set()  # from here on those that come are noticed
            self._lacking |= await in_thread(partial(_all_lacking, await watcher.known()))
            while True:
                self._woken.clear()
                await self._make(term)
                with suppress(TimeoutError):
                    async with asyncio.timeout(INDEXES_LOOK_S if self._lacking else None):
                        await self._woken.wait()
        finally:
            end()

    def _on_update(self, update: Update) -> None:
        for path in update.paths:
            if isinstance(path, keys.TablePath):
                name = (path.tenant, base_table_name(path.table))
                if _is_lacking(update.view, name):
                    self._lacking.add(name)
                    self._woken.set()

    async def _make(self, term: Term) -> None:
        if self._realm.watcher.status().state is not TopologyState.LIVE:
            return
        for name in sorted(self._lacking):
            try:
                await self._make_of(term, name)
            except NotLeading:
                raise
            except DStoreError as error:  # again, after a rest
                _log.info("index_not_made", tenant=name[0], table=name[1], reason=error.message)
            else:
                self._lacking.discard(name)

    async def _make_of(self, term: Term, name: _Name) -> None:
        if not _is_lacking(self._realm.watcher.view, name):
            return
        async with term.transaction() as tx:
            record = await tables.get(tx, *name)
            if record is None or record.status is ResourceStatus.DELETING:
                return
            await features.require(self._realm, tx, [Feature.GLOBAL_INDEXES])
            sequence = await index_tables.follow(self._realm, tx, definition_of(record))
        if sequence:
            _log.info("indexes_made", tenant=name[0], table=name[1])
            self._realm.publisher.wake()
            self._realm.tasks_due.set()

    # ------------------------------------------------------------------------------ being filled

    async def _build(self, step: Step) -> None:
        """Bring an index to where it can be asked, or to where it is being deleted."""
        subject = index_subject(step.task)
        filling, pause_s = _Filling(), INDEX_ASK_S_MIN
        while not await self._is_built(step, subject, filling):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, INDEX_ASK_S_MAX)

    async def _is_built(self, step: Step, subject: IndexSubject, filling: _Filling) -> bool:
        """Do what can be done now. Returns: whether nothing is left to do."""
        index = _shown(self._realm.watcher.view, subject)
        if index is None:
            return await self._is_over(subject)
        match index.status:
            case ResourceStatus.CREATING:
                return False  # nodes are not all there yet
            case ResourceStatus.UPDATING:
                return await self._fill(step, index, filling)
            case ResourceStatus.ACTIVE | ResourceStatus.DELETING:
                return True

    async def _is_over(self, subject: IndexSubject) -> bool:
        """Tell whether nothing is to come of an index any more; the view may be behind."""
        async with self._realm.plane.store.snapshot() as tx:
            record = await tables.get_by_id(tx, TableId(subject.index_id))
        return record is None or record.status is ResourceStatus.DELETING

    async def _fill(self, step: Step, index: TableView, filling: _Filling) -> bool:
        """Ask the primaries once. Returns: whether the task is over."""
        realm, definition = self._realm, index.definition
        index_of = definition.index_of
        assert index_of is not None
        base = realm.watcher.view.table(definition.tenant, index_of.table)
        if base is None or base.definition.table_id != index_of.table_id or not base.ranges:
            return False
        filling.why = ""
        await self._ask_all(base.ranges, definition.table_id, filling)
        if filling.is_lost:
            await index_tables.begin_anew(realm, step.term, definition.table_id)
            _log.warning("index_made_anew", tenant=definition.tenant, index=definition.name)
            return True
        if all(each.range_id in filling.done for each in base.ranges):
            await report(self._realm, step, filling.progress(base.ranges))
            await index_tables.set_status(
                realm,
                step.term,
                definition.table_id,
                was=ResourceStatus.UPDATING,
                is_now=ResourceStatus.ACTIVE,
            )
            _log.info("index_is_active", tenant=definition.tenant, index=definition.name)
            return True
        shown = filling.progress(base.ranges)
        if shown == filling.written:
            return False
        filling.written = shown
        return not await report(self._realm, step, shown)

    async def _ask_all(
        self, ranges: Sequence[PlacedRange], index_id: TableId, filling: _Filling
    ) -> None:
        room = asyncio.Semaphore(INDEX_RANGES_ASKED)

        async def ask(placed: PlacedRange) -> None:
            async with room:
                await self._ask(placed, index_id, filling)

        await asyncio.gather(*(ask(each) for each in ranges if each.range_id not in filling.done))

    async def _ask(self, placed: PlacedRange, index_id: TableId, filling: _Filling) -> None:
        range_id, placement = placed.range_id, placed.placement
        question = FillIndex(range_id=range_id, epoch=placement.epoch, index_id=index_id)
        try:
            told: IndexFill = await self._peer_of(placement.node).call(
                question, deadline_s=INDEX_CALL_S
            )
        except DStoreError as error:  # who has it by now is asked in the next round
            filling.why = _SILENT.format(range_id, error.message)
            return
        filling.scanned[range_id] = told.scanned
        filling.is_lost |= told.is_lost
        if told.is_done:
            filling.done.add(range_id)


def _shown(view: TopologyView, subject: IndexSubject) -> TableView | None:
    found = view.table(subject.tenant, index_table_name(subject.table, subject.index))
    return found if found is not None and found.definition.table_id == subject.index_id else None


def _all_lacking(view: TopologyView) -> set[_Name]:
    """Find the tables that declare an index that is not there, among all."""
    return {
        (tenant.name, name)
        for tenant in view.tenants.values()
        for name in tenant.tables
        if _is_lacking(view, (tenant.name, name))
    }


def _is_lacking(view: TopologyView, name: _Name) -> bool:
    table = view.table(*name)
    if table is None or table.status is ResourceStatus.DELETING or is_index_table(name[1]):
        return False
    definition = table.definition
    return any(
        index_view(view, definition, index.name) is None
        for index in definition.settings.global_indexes
    )
