"""What control makes of what nodes say: a table is there once every part of it is.

The hidden table of an index is then to be filled (`indexes`); a table that was made with indexes is
there once they are.

It looks at the view when something changes, and now and then. A table stays CREATING for as long as
a primary does not say that it holds its part, or too few other replicas say so for a write to be
acknowledged; `held.waits_for` has the reason, and `dstore status` shows it. All others that live
are waited for too, but no longer than CREATION_GRACE_S: a replica that comes later learns.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.clock import US_PER_S
from dstore.base.limits import CREATION_GRACE_S, OBSERVED_AT_ONCE, OBSERVER_INTERVAL_S
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError
from dstore.model.status import ResourceStatus
from dstore.service.control.held import is_created
from dstore.service.control.leader import NotLeading, Term
from dstore.service.control.publications import definition_of, table_publication
from dstore.service.control.realm import append
from dstore.storage.control import tables
from dstore.topology import keyspace as keys
from dstore.topology.indexes import index_view

if TYPE_CHECKING:
    from dstore.service.control.realm import Realm
    from dstore.storage.control.records import TableRecord
    from dstore.topology.view import TableView, TopologyView
    from dstore.topology.watcher import Update

_log: Final = get_logger(__name__)

TableName = tuple[str, str]  # the tenant's and the table's


class Observer:
    """Ends the creation of tables. `run` is a leader's job."""

    def __init__(self, realm: Realm) -> None:
        """Look at the view of `realm`."""
        self._realm = realm
        self._due = asyncio.Event()
        self._creating: set[TableName] = set()

    async def run(self, term: Term) -> None:
        """Observe for as long as the term lasts. Raises: NotLeading: another leads."""
        watcher = self._realm.watcher
        end = watcher.subscribe(keys.EVERYTHING, self._on_update)
        try:
            self._creating = set()  # from here on those that come are noticed
            self._creating |= await in_thread(partial(_creating, watcher.view))
            while True:
                self._due.clear()
                try:
                    await self._settle(term)
                except NotLeading:
                    raise
                except DStoreError as error:
                    _log.warning("tables_not_settled", reason=error.message)
                with suppress(TimeoutError):
                    async with asyncio.timeout(OBSERVER_INTERVAL_S):
                        await self._due.wait()
        finally:
            end()

    def _on_update(self, update: Update) -> None:
        for path in update.paths:
            match path:
                case keys.TablePath(tenant, name):
                    table = update.view.table(tenant, name)
                    if table is not None and table.status is ResourceStatus.CREATING:
                        self._creating.add((tenant, name))
                    else:
                        self._creating.discard((tenant, name))
                    self._due.set()
                case keys.NodeTablePath() | keys.RangePath() | keys.AlivePath():
                    self._due.set()
                case _:
                    pass

    async def _settle(self, term: Term) -> None:
        """Let tables be ACTIVE whose nodes all say that they hold them, a batch at a time."""
        view = self._realm.watcher.view
        self._creating = {name for name in self._creating if _is_creating(view, name)}
        ready = [name for name in sorted(self._creating) if self._is_ready(view, name)]
        for start in range(0, len(ready), OBSERVED_AT_ONCE):
            async with term.transaction() as tx:
                published = []
                for tenant, name in ready[start : start + OBSERVED_AT_ONCE]:
                    record = await tables.get(tx, tenant, name)
                    if record is None or record.status is not ResourceStatus.CREATING:
                        continue  # the view will say so soon
                    shown = view.table(tenant, name)
                    if shown is None or shown.definition.table_id != record.table_id:
                        continue
                    status = _next_status(record)
                    await tables.update(
                        tx,
                        replace(record, status=status, changed_at_us=self._realm.clock.wall_us()),
                    )
                    published.append(table_publication(definition_of(record), status))
                sequence = await append(tx, published)
            if sequence:
                self._realm.publisher.wake()

    def _is_ready(self, view: TopologyView, name: TableName) -> bool:
        table = view.table(*name)
        if table is None or (self._realm.has_indexes and not _has_its_indexes(view, table)):
            return False
        age_us = self._realm.clock.wall_us() - table.definition.created_at_us
        return is_created(view, table, is_patient=age_us < CREATION_GRACE_S * US_PER_S)


def _next_status(record: TableRecord) -> ResourceStatus:
    """Say what becomes of a table that is held: the hidden one of an index is to be filled."""
    return ResourceStatus.ACTIVE if record.base_id is None else ResourceStatus.UPDATING


def _has_its_indexes(view: TopologyView, table: TableView) -> bool:
    """Tell whether every global index that a table was made with can be asked."""
    definition = table.definition
    found = (index_view(view, definition, each.name) for each in definition.settings.global_indexes)
    return all(index is not None and index.status is ResourceStatus.ACTIVE for index in found)


def _creating(view: TopologyView) -> set[TableName]:
    """Find the tables that are being made, among all."""
    return {
        (tenant.name, table.definition.name)
        for tenant in view.tenants.values()
        for table in tenant.tables.values()
        if table.status is ResourceStatus.CREATING
    }


def _is_creating(view: TopologyView, name: TableName) -> bool:
    table = view.table(*name)
    return table is not None and table.status is ResourceStatus.CREATING
