"""Take over what components tell control: from the coordinator into the store, then away there.

The notice is durable in the store before its key goes, so a crash in between takes it over twice,
to no effect.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import NOTICES_AT_ONCE, OBSERVER_INTERVAL_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.service.control.leader import NotLeading, Term
from dstore.storage.control import notices
from dstore.storage.control.records import NodeUuid, NoticeRecord
from dstore.topology import keyspace as keys
from dstore.topology.coordinator import Coordinator, Delete, Transaction

if TYPE_CHECKING:
    from dstore.service.control.realm import Realm
    from dstore.topology.watcher import Update

_log: Final = get_logger(__name__)


class NoticeTaker:
    """Empties `notice/`. `run` is a leader's job."""

    def __init__(self, realm: Realm, coordinator: Coordinator) -> None:
        """Take from `coordinator` what the view of `realm` shows."""
        self._realm = realm
        self._coordinator = coordinator
        self._due = asyncio.Event()

    async def run(self, term: Term) -> None:
        """Take notices for as long as the term lasts. Raises: NotLeading: another leads."""
        end = self._realm.watcher.subscribe(keys.NOTICES, self._on_update)
        try:
            while True:
                self._due.clear()
                try:
                    await self._take(term)
                except NotLeading:
                    raise
                except DStoreError as error:
                    _log.warning("notices_not_taken", reason=error.message)
                    await asyncio.sleep(OBSERVER_INTERVAL_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(OBSERVER_INTERVAL_S):
                        await self._due.wait()
        finally:
            end()

    def _on_update(self, _: Update) -> None:
        self._due.set()

    async def _take(self, term: Term) -> None:
        found = list(islice(self._realm.watcher.view.notices.items(), NOTICES_AT_ONCE))
        if not found:
            return
        records = []
        for name, known in found:
            component, at_us = name.split("/")
            notice = known.value
            records.append(
                NoticeRecord(
                    node=NodeUuid(component),
                    at_us=int(at_us),
                    kind=notice.kind,
                    details=msgspec.json.encode({"details": notice.details}).decode(),
                )
            )
        async with term.transaction() as tx:
            for record in records:
                if await notices.insert(tx, record):
                    _log.warning("notice", component=record.node, kind=record.kind)
            await notices.trim(tx)
        deletes = tuple(
            Delete(key=keys.NoticePath(keys.ComponentId(each.node), each.at_us).path)
            for each in records
        )
        await self._coordinator.commit(Transaction(compares=(term.fence,), then=deletes))
