"""The coordinator's keys that only this node writes, kept at what the node last said.

Whoever says something does not wait: the newest value of each key is written as soon as it can be,
many at a time, again after every failure, and not at all if it is there already.

A write whose outcome nobody heard may be done late, over a newer one, be it a former process's. So
what is seen there is looked at, and said once more if it is something else.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Final

from dstore.base.limits import COORDINATOR_REQUEST_BYTES_MAX
from dstore.base.logging import get_logger
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.backoff import Backoff
from dstore.topology.coordinator import NO_REVISION, CoordinatorError, Delete, Put, Transaction

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy
    from dstore.topology.coordinator import Coordinator, Operation, Revision
    from dstore.topology.keyspace import ComponentId
    from dstore.topology.values import Details, NodeTableDetails
    from dstore.topology.view import Known
    from dstore.topology.watcher import Update

_log = get_logger(__name__)

_WRITTEN_AT_ONCE: Final = 64  # keys in a transaction; the coordinator takes 128
_BYTES_AT_ONCE: Final = COORDINATOR_REQUEST_BYTES_MAX // 4


class OwnKeys:
    """Says things in the coordinator. Used from one event loop."""

    def __init__(self, coordinator: Coordinator, entropy: Entropy) -> None:
        """Begin with nothing to say."""
        self._coordinator = coordinator
        self._backoff = Backoff(entropy)
        self._said: dict[str, bytes] = {}
        self._said_at: dict[str, Revision] = {}  # those of them that were written here
        self._due: dict[str, bytes | None] = {}
        self._is_due = asyncio.Event()
        self._is_all_said = asyncio.Event()
        self._is_all_said.set()

    def found(self, key: str, value: bytes) -> None:
        """Learn what a key is at present, as an earlier life of the node has left it."""
        self._said.setdefault(key, value)

    def forget(self) -> None:
        """Take nothing for said any more: the coordinator begins anew."""
        self._said.clear()
        self._said_at.clear()

    def follow(self, update: Update, *, node: ComponentId) -> None:
        """See what is shown of what `node`, which this one is, has said, once all was `found`."""
        seen = update.view.node(node)
        if seen is None:
            return
        for path in update.paths:
            known: Known[Details] | Known[NodeTableDetails] | None = None
            match path:
                case keys.DetailsPath(component=component) if component == node:
                    known = seen.details if path.path in self._said else None
                case keys.NodeTablePath(node=component) if component == node:
                    known = seen.reported.get(keys.held_name(path.tenant, path.table))
                case _:
                    continue
            if known is not None:
                self._seen(path.path, values.encode(known.value), revision=known.mod_revision)

    def _seen(self, key: str, value: bytes, *, revision: Revision) -> None:
        """Say anew what a key should hold if it holds something else since a revision."""
        said = self._said.get(key)
        if key in self._due or said == value or revision <= self._said_at.get(key, NO_REVISION):
            return
        _log.warning("own_key_written_late", path=key)
        self._said[key] = value
        self.say(key, said)

    def say(self, key: str, value: bytes | None) -> None:
        """Have a key hold a value; None: have it deleted."""
        if key in self._due or self._said.get(key) != value:
            self._due[key] = value
            self._is_due.set()
            self._is_all_said.clear()

    @property
    def is_all_said(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._due

    async def all_said(self) -> None:
        """Wait until nothing waits to be written; bound it with `asyncio.timeout`."""
        await self._is_all_said.wait()

    async def run(self) -> None:
        """Write what is due, until cancelled."""
        while True:
            await self._is_due.wait()
            try:
                await self._write()
            except CoordinatorError as error:
                _log.warning("own_keys_not_written", count=len(self._due), reason=error.message)
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._backoff.reset()

    async def _write(self) -> None:
        part: dict[str, bytes | None] = {}
        size_bytes = 0
        for key, value in islice(self._due.items(), _WRITTEN_AT_ONCE):
            size_bytes += len(key) + len(value or b"")
            if part and size_bytes > _BYTES_AT_ONCE:
                break
            part[key] = value
        operations: tuple[Operation, ...] = tuple(
            Delete(key=key) if value is None else Put(key=key, value=value)
            for key, value in part.items()
        )
        # After an unknown outcome all of it is written again: only this node writes these keys.
        for key in part:
            self._said.pop(key, None)
            self._said_at.pop(key, None)
        result = await self._coordinator.commit(Transaction(compares=(), then=operations))
        for key, value in part.items():
            if value is not None:
                self._said[key], self._said_at[key] = value, result.revision
            if self._due[key] == value:
                del self._due[key]
        if not self._due:
            self._is_due.clear()
            self._is_all_said.set()
