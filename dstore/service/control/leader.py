"""The one control process that changes things, and what runs only there.

A `Term` is one leadership. Whoever changes something takes the term first and writes through
`Term.transaction`, which the store refuses as soon as a newer leader has written (`planes`); what
is published carries `Term.fence`, which the coordinator refuses (`publisher`). So a process that
only believes that it leads changes nothing (B2, B5), and no code here asks a lease for permission.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.base.limits import LEADER_RETRY_S, RETRY_AFTER_MS
from dstore.base.logging import get_logger
from dstore.base.tasks import Tasks
from dstore.model.errors import (
    DStoreError,
    Refused,
    Unavailable,
    UnavailableKind,
)
from dstore.storage.control import planes
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Coordinator, CreateRevisionIs, Revision
from dstore.topology.leadership import Leadership

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.service.control.plane import ControlPlane
    from dstore.storage.control.store import Transaction
    from dstore.topology.watcher import TopologyWatcher

_log: Final = get_logger(__name__)


class NotLeading(Unavailable):
    """Another control process leads; ask that one. Nothing was changed."""

    def __init__(self, leader: values.Leader | None) -> None:
        """Name the leader, if one is known."""
        where = "and none leads now; ask again"
        if leader is not None:
            where = f"{leader.control} at {leader.uri} does; ask there"
        super().__init__(
            UnavailableKind.MOVED,
            f"This control process does not lead the control plane, {where}.",
            retry_after_ms=RETRY_AFTER_MS,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One leadership of this process, from the coordinator's word for it until it is lost.

    `recoveries` of the topology there had been when it began; the next one ends it.
    """

    epoch: Revision
    plane: ControlPlane
    fence: CreateRevisionIs
    recoveries: int = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Write to the store as the leader. Raises: NotLeading; as `ControlStore.transaction`."""
        async with self.plane.store.transaction() as tx:
            try:
                await planes.act_as_leader(tx, self.epoch, recoveries=self.recoveries)
            except Refused:
                raise NotLeading(None) from None
            yield tx


Job = Callable[[Term], Coroutine[Any, Any, None]]
"""What runs as long as a term lasts; cancelled at its end. It may return before."""


class Leader:
    """Stands for leader, and runs the leader's jobs; `run` it in an owned, critical task."""

    def __init__(
        self,
        plane: ControlPlane,
        coordinator: Coordinator,
        *,
        uri: str,
        watcher: TopologyWatcher,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """Prepare.

        Args:
            plane: opened.
            coordinator: who counts.
            uri: of this process's peer listener, for those who are sent to the leader.
            watcher: knows who leads elsewhere.
            clock: judges the lease.
            entropy: spreads retries.
        """
        self._plane = plane
        self._watcher = watcher
        name = values.encode(values.Leader(control=plane.process, uri=uri))
        self._leadership = Leadership(
            coordinator,
            keys.LEADER.path,
            name,
            clock=clock,
            entropy=entropy,
            on_change=self._on_change,
        )
        self._changed = asyncio.Event()
        self._term: Term | None = None
        self.problem = ""  # a sentence: why this leader can't begin its work; "" if it can

    def term(self) -> Term:
        """Take the present term, to change something in it.

        Raises: NotLeading: another leads, or none. Unavailable: this one leads and can't begin.
        """
        term = self._term
        if term is not None and self._leadership.epoch == term.epoch:
            return term
        if self.problem and self._leadership.epoch is not None:
            raise Unavailable(UnavailableKind.LOCKED, self.problem)
        leader = self._watcher.view.leader
        known = None if leader is None else leader.value
        is_self = known is not None and known.control == self._plane.process
        raise NotLeading(None if is_self else known)

    async def run(self, *, begin: Sequence[Job], jobs: Sequence[Job]) -> None:
        """Stand until cancelled, then resign.

        Args:
            begin: done in their order before anything is changed in a term; repeated until they
                succeed.
            jobs: run while a term lasts. Once one finds that another leads all of them end, and the
                term begins anew if it is not over; one that fails otherwise ends this call.
        """
        failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tasks = Tasks(partial(_fail, failure))
        try:
            tasks.spawn(self._leadership.run(), name="leadership", critical=True)
            tasks.spawn(self._terms(begin, jobs), name="leader_terms", critical=True)
            await failure
        finally:
            self._term = None
            await tasks.close()

    def _on_change(self, epoch: Revision | None) -> None:
        if epoch is None:
            self._term = None  # at once: no change is begun any more
        self._changed.set()

    async def _terms(self, begin: Sequence[Job], jobs: Sequence[Job]) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            epoch = self._leadership.epoch
            if epoch is not None:
                await self._lead(epoch, begin, jobs)

    async def _lead(self, epoch: Revision, begin: Sequence[Job], jobs: Sequence[Job]) -> None:
        """Live through one term; returns when it is over."""
        failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tasks = Tasks(partial(_fail, failure))
        _log.info("leading", control=self._plane.process, epoch=epoch)
        try:
            tasks.spawn(self._work(epoch, begin, jobs), name="leader_work", critical=True)
            ended = tasks.spawn(self._until_over(epoch), name="leader_term")
            await asyncio.wait((ended, failure), return_when=asyncio.FIRST_COMPLETED)
            if failure.done():
                failure.result()
        finally:
            self._term = None
            self.problem = ""
            await tasks.close()
            _log.info("leading_ended", control=self._plane.process, epoch=epoch)

    async def _until_over(self, epoch: Revision) -> None:
        while self._leadership.epoch == epoch:
            await self._changed.wait()
            if self._leadership.epoch == epoch:
                self._changed.clear()
        self._changed.set()  # the next term may have begun already

    async def _work(self, epoch: Revision, begin: Sequence[Job], jobs: Sequence[Job]) -> None:
        """Begin and do the jobs, again if another leads after all or the topology is recovered.

        If another leads, the lease says so soon, and beginning fails until then.
        """
        while True:
            term = await self._begun(epoch, begin)
            if self._leadership.epoch != epoch:
                return
            self._term = term
            try:
                async with asyncio.TaskGroup() as group:
                    for job in jobs:
                        group.create_task(job(term))
            except* NotLeading:
                self._term = None
                _log.warning("leader_deposed", epoch=epoch)
            else:
                return
            await asyncio.sleep(LEADER_RETRY_S)

    async def _begun(self, epoch: Revision, begin: Sequence[Job]) -> Term:
        """Do what comes first, all of it again after a failure."""
        while True:
            try:
                term = await self._new_term(epoch)
                for job in begin:
                    await job(term)
            except DStoreError as error:
                if error.message != self.problem:
                    _log.error("leader_cannot_begin", reason=error.message)
                self.problem = error.message
                await asyncio.sleep(LEADER_RETRY_S)
            else:
                self.problem = ""
                return term

    async def _new_term(self, epoch: Revision) -> Term:
        async with self._plane.store.snapshot() as tx:
            record = await planes.get(tx)
        assert record is not None, "whoever leads has opened it"
        return Term(
            epoch=epoch,
            plane=self._plane,
            fence=self._leadership.fence(epoch),
            recoveries=record.recoveries,
        )


def _fail(failure: asyncio.Future[None], error: BaseException) -> None:
    if not failure.done():
        failure.set_exception(error)
