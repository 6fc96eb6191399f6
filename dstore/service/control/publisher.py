"""Publish what control has decided: its store's outbox into the coordinator, in order, once.

Every transaction compares the leader's key and `control/published` with what was captured before,
and writes both the batch and how far it got (`storage.control.outbox`). So of two processes that
both believe they lead one publishes; a write whose outcome is unknown is looked up, never repeated
blindly (B6); and a crash at any point repeats a step without effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.base.limits import (
    CONTROL_PAGE_MAX,
    PUBLISH_IDLE_S,
    PUBLISH_WAITERS_MAX,
    PUBLISHED_BYTES_MAX,
    PUBLISHED_WRITES_MAX,
    VISIBLE_TIMEOUT_S,
)
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError, Unknown
from dstore.service.control.leader import NotLeading, Term
from dstore.service.control.republication import (
    Republication,
    disagreement,
    not_now,
    own_claim,
)
from dstore.storage.control import outbox, planes
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.backoff import Backoff
from dstore.topology.coordinator import (
    NO_REVISION,
    Coordinator,
    CoordinatorError,
    CreateRevisionIs,
    Delete,
    Found,
    Get,
    ModRevisionIs,
    Put,
    Revision,
    Transaction,
)

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy
    from dstore.service.peer_pool import Nodes
    from dstore.storage.control.records import OutboxRecord
    from dstore.storage.control.store import ControlStore
    from dstore.topology.watcher import TopologyWatcher

_log: Final = get_logger(__name__)

Batch = tuple["OutboxRecord", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """How far the coordinator is, and the revision that said so, for the next compare."""

    sequence: int
    mod_revision: Revision  # of `control/published`
    revision: Revision  # at which everything up to `sequence` is visible


class _Overtaken(DStoreError):
    """Somebody else has moved `control/published`; look again."""


class Publisher:
    """Moves the outbox into the coordinator. `begin` and `run` are a leader's jobs."""

    def __init__(
        self,
        store: ControlStore,
        coordinator: Coordinator,
        *,
        plane: str,
        watcher: TopologyWatcher,
        nodes: Nodes,
        entropy: Entropy,
    ) -> None:
        """Publish from `store` to the coordinator of the control plane `plane`.

        `watcher` knows where `nodes` are, or were when the coordinator was lost.
        """
        self._store = store
        self._coordinator = coordinator
        self._plane = plane
        self._entropy = entropy
        self._republication = Republication(
            store, coordinator, plane=plane, watcher=watcher, nodes=nodes
        )
        self._woken = asyncio.Event()
        self._reached = _Position(sequence=0, mod_revision=NO_REVISION, revision=NO_REVISION)
        self._waiters: list[tuple[int, asyncio.Future[Revision]]] = []
        self.problem = ""  # a sentence: why what is recorded is not published; "" if it is

    # ------------------------------------------------------------------------ for changers

    async def published(self, sequence: int, *, timeout_s: float = VISIBLE_TIMEOUT_S) -> Revision:
        """Wait until a committed write is visible. Returns: a revision at which it is.

        Raises: Unknown: it is not yet; it is recorded, and will be published later.
        """
        self._woken.set()
        if self._reached.sequence >= sequence:
            return self._reached.revision
        if len(self._waiters) >= PUBLISH_WAITERS_MAX:
            raise _not_visible_yet()
        waiter: asyncio.Future[Revision] = asyncio.get_running_loop().create_future()
        entry = (sequence, waiter)
        self._waiters.append(entry)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except TimeoutError:
            pass
        finally:
            with suppress(ValueError):
                self._waiters.remove(entry)
        return await self._published_by_another(sequence)

    def wake(self) -> None:
        """Have the outbox looked at now."""
        self._woken.set()

    async def _published_by_another(self, sequence: int) -> Revision:
        """Look once more: this process may lead no longer, and the next leader goes on."""
        try:
            async with asyncio.timeout(PUBLISH_IDLE_S):
                position = await self._position()
        except (CoordinatorError, TimeoutError):
            raise _not_visible_yet() from None
        if position.sequence < sequence:
            raise _not_visible_yet()
        return position.revision

    # ------------------------------------------------------------------------ the leader's

    async def begin(self, term: Term) -> None:
        """Make sure that coordinator and store belong together, before anything is changed.

        Raises: Unavailable: the coordinator is another control plane's, or one of the two went
            back in time; an operator decides. CoordinatorError, Unavailable: not now.
        """
        try:
            async with term.transaction() as tx:  # fences older leaders off
                last = await outbox.last(tx)
                waiting = await outbox.depth(tx)
                record = await planes.get(tx)
        except NotLeading:
            raise disagreement(
                "a leader of a later epoch has written to the store, so another process leads by "
                "now, or the coordinator is an old one"
            ) from None
        assert record is not None
        if record.is_recovering:
            await self._republication.run(term, sequence=last)
        else:
            await self._claim(term, is_unpublished=waiting == last)
        position = await self._position()
        if position.sequence > last:
            raise disagreement(
                f"the store has {last} changes and the coordinator {position.sequence}: the store "
                "is an old one"
            )
        if position.sequence < last - waiting:
            raise disagreement(
                f"the coordinator has {position.sequence} changes and the store gave it "
                f"{last - waiting}: the coordinator is an old one"
            )
        self._advance(position)

    async def run(self, term: Term) -> None:
        """Publish for as long as the term lasts. Raises: NotLeading: another leads."""
        try:
            await self._keep_publishing(term)
        finally:
            self.problem = ""

    async def _keep_publishing(self, term: Term) -> None:
        backoff = Backoff(self._entropy)
        while True:
            self._woken.clear()
            try:
                await self._publish_all(term)
            except NotLeading:
                raise
            except DStoreError as error:
                if error.message != self.problem:
                    _log.warning("not_published", reason=error.message)
                self.problem = error.message
                await asyncio.sleep(backoff.next_s())
                continue
            self.problem = ""
            backoff.reset()
            with suppress(TimeoutError):
                async with asyncio.timeout(PUBLISH_IDLE_S):
                    await self._woken.wait()

    async def _claim(self, term: Term, *, is_unpublished: bool) -> None:
        """Write whose coordinator this is, or find that it is ours."""
        found = (await self._coordinator.get(keys.PLANE.path)).kv
        if found is None:
            if not is_unpublished:
                raise disagreement(
                    "the coordinator is empty, and the store has published to one before"
                )
            plane = values.encode(
                values.Plane(control_plane=self._plane, recoveries=term.recoveries)
            )
            result = await self._coordinator.commit(
                Transaction(
                    compares=(
                        term.fence,
                        CreateRevisionIs(key=keys.PLANE.path, revision=NO_REVISION),
                    ),
                    then=(Put(key=keys.PLANE.path, value=plane),),
                )
            )
            if not result.succeeded:
                raise not_now("The coordinator has changed meanwhile; this is looked at again.")
            return
        claim = own_claim(found, self._plane)
        if claim.recoveries > term.recoveries:
            raise disagreement(
                f"the topology was recovered {claim.recoveries} times and the store knows of "
                f"{term.recoveries}: the store is an old one"
            )
        if claim.recoveries < term.recoveries:
            raise disagreement(
                f"the topology was recovered {term.recoveries} times and the coordinator knows of "
                f"{claim.recoveries}: the coordinator is an old one"
            )

    async def _publish_all(self, term: Term) -> None:
        position = await self._position()
        self._advance(position)
        while True:
            async with self._store.snapshot() as tx:
                record = await planes.get(tx)
                records = await outbox.pending(tx, after=position.sequence, limit=CONTROL_PAGE_MAX)
            if record is None or record.recoveries != term.recoveries:
                raise NotLeading(None)  # everything is to be published anew
            if not records:
                break
            for group in groups(records):
                position = await self._publish(term, group, position)
                self._advance(position)
        async with self._store.snapshot() as tx:
            waiting = await outbox.depth(tx)
        if waiting:
            async with term.transaction() as tx:
                await outbox.forget(tx, through=position.sequence)

    async def _position(self) -> _Position:
        found = await self._coordinator.get(keys.PUBLISHED.path)
        if found.kv is None:
            return _Position(sequence=0, mod_revision=NO_REVISION, revision=found.revision)
        return _Position(
            sequence=values.decode(keys.PUBLISHED, found.kv.value).sequence,
            mod_revision=found.kv.mod_revision,
            revision=found.revision,
        )

    async def _publish(
        self, term: Term, group: Batch, position: _Position, *, is_skipped: bool = False
    ) -> _Position:
        """Publish a group at once; if `is_skipped`, only step over it."""
        last = group[-1].sequence
        conditions = tuple(
            ModRevisionIs(key=each.publication.key, revision=Revision(revision))
            for each in group
            if (revision := each.publication.mod_revision) is not None
        )
        marker = values.encode(values.Published(sequence=last))
        result = await self._coordinator.commit(
            Transaction(
                compares=(
                    term.fence,
                    ModRevisionIs(key=keys.PUBLISHED.path, revision=position.mod_revision),
                    *(() if is_skipped else conditions),
                ),
                then=(
                    *(() if is_skipped else map(_operation, group)),
                    Put(key=keys.PUBLISHED.path, value=marker),
                ),
                otherwise=(Get(key=keys.LEADER.path), Get(key=keys.PUBLISHED.path)),
            )
        )
        if result.succeeded:
            return _Position(sequence=last, mod_revision=result.revision, revision=result.revision)
        leader, published = result.responses
        assert isinstance(leader, Found)
        assert isinstance(published, Found)
        if leader.kv is None or leader.kv.create_revision != term.epoch:
            raise NotLeading(None)
        now = NO_REVISION if published.kv is None else published.kv.mod_revision
        if now != position.mod_revision:
            raise _Overtaken("The coordinator has more of control's writes than was known.")
        # One of the keys was decided on by somebody else meanwhile: that decision stands (B5).
        _log.error("publication_overtaken", paths=[each.publication.key for each in group])
        return await self._publish(term, group, position, is_skipped=True)

    def _advance(self, position: _Position) -> None:
        self._reached = position
        for sequence, waiter in self._waiters:
            if sequence <= position.sequence and not waiter.done():
                waiter.set_result(position.revision)


def groups(records: Sequence[OutboxRecord]) -> Iterator[Batch]:
    """Cut whole batches into what one transaction of the coordinator takes, in order.

    A group has at most PUBLISHED_WRITES_MAX writes and PUBLISHED_BYTES_MAX bytes, unless one batch
    alone has more; no key comes twice in it; and a batch with a condition is a group of its own,
    since it may fail.
    """
    group: list[OutboxRecord] = []
    for batch in _batches(records):
        if group and not _fits(group, batch):
            yield tuple(group)
            group = []
        group += batch
    if group:
        yield tuple(group)


def _batches(records: Sequence[OutboxRecord]) -> Iterator[list[OutboxRecord]]:
    batch: list[OutboxRecord] = []
    for record in records:
        if batch and record.batch != batch[0].batch:
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


def _fits(group: list[OutboxRecord], batch: list[OutboxRecord]) -> bool:
    together = (*group, *batch)
    has_condition = any(each.publication.mod_revision is not None for each in together)
    keys_known = {each.publication.key for each in group}
    size_bytes = sum(
        len(each.publication.key) + len(each.publication.value or b"") for each in together
    )
    return (
        not has_condition
        and len(together) <= PUBLISHED_WRITES_MAX
        and size_bytes <= PUBLISHED_BYTES_MAX
        and keys_known.isdisjoint(each.publication.key for each in batch)
    )


def _operation(record: OutboxRecord) -> Put | Delete:
    key, value = record.publication.key, record.publication.value
    return Delete(key=key) if value is None else Put(key=key, value=value)


def _not_visible_yet() -> Unknown:
    return Unknown(
        "The change is recorded, and the coordinator has not taken it yet; it will become visible "
        "once it answers. Look before you repeat it."
    )
