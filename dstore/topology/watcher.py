"""Keep the newest view of the topology: one watcher a process.

It watches the coordinator, folds what comes (`topology.fold`), and tells those who subscribed. It
starts with the last known good view if there is one, so that a process serves while etcd cannot be
reached (I10). A coordinator that went back in time freezes it: the view stays as it was, and
`status` says so, until its control plane has recovered (`claims`, REPLICATION.md). Nothing here
decides anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from dstore.base.clock import NS_PER_MS, NS_PER_S, Clock
from dstore.base.limits import (
    TOPOLOGY_COPY_INTERVAL_S,
    TOPOLOGY_COPY_REST,
    TOPOLOGY_PROBLEMS_SHOWN,
    TOPOLOGY_RETRY_S,
    TOPOLOGY_SUBSCRIBERS_MAX,
    TOPOLOGY_TURN_EVENTS,
)
from dstore.base.logging import get_logger
from dstore.base.metrics import Metrics
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError
from dstore.topology import claims, values
from dstore.topology import keyspace as keys
from dstore.topology.coordinator import (
    NO_REVISION,
    Coordinator,
    CoordinatorError,
    Event,
    Events,
    KeyValue,
    Progress,
    Resync,
    Revision,
    RolledBack,
    Watch,
    WatchBatch,
)
from dstore.topology.fold import Fold
from dstore.topology.last_known_good import PASSING, LastKnownGood
from dstore.topology.scopes import Scope, everything
from dstore.topology.status import TopologyState, TopologyStatus, sentence
from dstore.topology.view import EMPTY_VIEW, TopologyView

Part = TypeVar("Part")
Changed = list[tuple[str, keys.Path]]

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What a subscriber is told: these keys changed from the one view to the other.

    What a table shows may be as before, if its new ranges do not fit together.
    """

    previous: TopologyView
    view: TopologyView
    paths: tuple[keys.Path, ...]


Subscriber = Callable[[Update], None]

Recoveries = Callable[[], Awaitable[int]]
"""Asks control how often the topology was recovered. Raises: DStoreError: nobody tells."""


class TopologyWatcher:
    """The newest view of one coordinator; run `run` and `keep_copy` as tasks of the process."""

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        clock: Clock,
        metrics: Metrics,
        scope: Scope = everything,
        copy: LastKnownGood | None = None,
        recoveries: Recoveries | None = None,
    ) -> None:
        """Prepare; the view is empty until `run` has begun.

        Args:
            coordinator: whom to watch.
            clock: tells for how long it was silent.
            metrics: counts problems.
            scope: which keys to take in; the fewer, the less memory and time.
            copy: the last known good view, on the disk; None to start without and keep none.
            recoveries: what control says, which a frozen view needs to go on; None: it stays
                frozen.
        """
        self._coordinator = coordinator
        self._clock = clock
        self._metrics = metrics
        self._copy = copy
        self._recoveries = recoveries
        self._claim: values.Plane | None = None  # proved, and its first listing is to come yet
        self._on_recovered: list[Callable[[], None]] = []
        self._fold = Fold(scope=scope)
        self._view = EMPTY_VIEW
        self._state = TopologyState.EMPTY
        self._frozen_since = ""  # a sentence; meaningful in FROZEN
        self._watch: Watch | None = None
        self._published = asyncio.Event()  # set, and replaced, with each view
        self._copy_due = asyncio.Event()
        self._subscribers: dict[object, tuple[str, Subscriber]] = {}

    @property
    def view(self) -> TopologyView:
        """The newest view; take it once for a piece of work."""
        return self._view

    def subscribe(self, prefix: str, subscriber: Subscriber) -> Callable[[], None]:
        """Have a callback told of changes of keys that begin with `prefix`, from the next one on.

        It is called on the event loop after `view` has changed, and must be quick; a large change
        comes in parts, TOPOLOGY_TURN_EVENTS keys at a time. After a resync some keys may come that
        did not change. What it raises is logged.

        Returns: what ends the subscription.
        """
        assert len(self._subscribers) < TOPOLOGY_SUBSCRIBERS_MAX
        name = object()
        self._subscribers[name] = (prefix, subscriber)

        def end() -> None:
            self._subscribers.pop(name, None)

        return end

    def on_recovered(self, callback: Callable[[], None]) -> None:
        """Have a callback told, on the event loop, that the coordinator begins anew.

        What this process wrote to the former one is not in the new one.
        """
        self._on_recovered.append(callback)

    async def known(self) -> TopologyView:
        """Wait for the first view, be it a copy; bound it with `asyncio.timeout`."""
        while self._state is TopologyState.EMPTY:
            await self._published.wait()
        return self._view

    async def reached(self, revision: Revision) -> TopologyView:
        """Wait for a view of `revision` or a later one; bound it with `asyncio.timeout`."""
        while self._view.revision < revision:
            await self._published.wait()
        return self._view

    def status(self) -> TopologyStatus:
        """Say how the view is."""
        problems = self._fold.problems
        heard = self._heard_ms_ago()
        return TopologyStatus(
            state=self._state,
            sentence=sentence(
                self._state,
                revision=self._view.revision,
                heard_ms_ago=heard,
                frozen_since=self._frozen_since,
            ),
            cluster_id=self._view.cluster_id,
            revision=self._view.revision,
            heard_ms_ago=heard,
            problem_count=len(problems),
            problems=tuple(islice(problems.values(), TOPOLOGY_PROBLEMS_SHOWN)),
            ignored_keys=self._fold.ignored_keys,
        )

    # ---------------------------------------------------------------------------- the loops

    async def run(self) -> None:
        """Keep the view until the coordinator is closed or this is cancelled; run it once."""
        await self._begin_with_copy()
        while True:
            try:
                await self._follow()
            except RolledBack as error:
                self._freeze(error.message)
                if self._recoveries is None:
                    return
                self._claim = await self._recovered(self._recoveries)
            except CoordinatorError as error:
                _log.warning("topology_not_watched", reason=error.message)
                await asyncio.sleep(TOPOLOGY_RETRY_S)
            else:
                return

    async def keep_copy(self) -> None:
        """Write the view to the disk when it has changed, until cancelled.

        A copy that cannot be written is logged; the next change tries again.
        """
        copy = self._copy
        while copy is not None:
            await self._copy_due.wait()
            self._copy_due.clear()
            view, begun_at_ns = self._view, self._clock.monotonic_ns()
            try:
                size_bytes = await in_thread(partial(copy.save, view))
            except OSError as error:
                _log.error("topology_copy_failed", exc_info=error)
            else:
                _log.debug("topology_copied", revision=view.revision, size_bytes=size_bytes)
            took_s = (self._clock.monotonic_ns() - begun_at_ns) / NS_PER_S
            await asyncio.sleep(max(TOPOLOGY_COPY_INTERVAL_S, took_s * TOPOLOGY_COPY_REST))

    async def _begin_with_copy(self) -> None:
        if self._copy is None:
            return
        copy = await in_thread(self._copy.load)
        if copy is None:
            return
        changed = await self._folded(copy.kvs)
        self._fold.stamp(cluster_id=copy.cluster_id, revision=copy.revision)
        await self._publish(TopologyState.COPY, changed)
        _log.info("topology_copy_read", revision=copy.revision, key_count=len(copy.kvs))

    async def _recovered(self, recoveries: Recoveries) -> values.Plane:
        """Wait until the control plane has recovered into the coordinator that answers now.

        Control and the coordinator must say the same, and it must cover all that this process has
        seen control write: one of the two alone may be an old copy.

        Returns: the proof; the coordinator is accepted.
        """
        while True:
            try:
                kv = (await self._coordinator.peek(keys.PLANE.path)).kv
                found = None if kv is None else values.decode(keys.PLANE, kv.value)
                if (
                    found is not None
                    and claims.may_be_recovered(self._view, found)
                    and found.recoveries == await recoveries()
                ):
                    self._coordinator.accept()
                    return found
            except DStoreError as error:
                _log.debug("topology_not_recovered", reason=error.message)
            await asyncio.sleep(TOPOLOGY_RETRY_S)

    async def _follow(self) -> None:
        """Raises: CoordinatorError: the watch ended. Returns when the coordinator was closed."""
        cluster_id = await self._coordinator.cluster_id()
        known = self._view.cluster_id
        if self._claim is None and known not in {"", cluster_id}:
            raise RolledBack(f"The coordinator is cluster {cluster_id} and was cluster {known}.")
        async with aclosing(self._coordinator.watch(keys.EVERYTHING)) as watch:
            self._watch = watch
            async for batch in watch:
                await self._take(batch, cluster_id)

    async def _take(self, batch: WatchBatch, cluster_id: str) -> None:
        claim = self._claim
        claims.check(self._view, batch, proved=claim)
        if claim is not None:
            # Its revisions begin anew, so nothing of it is known yet.
            self._fold.stamp(cluster_id=cluster_id, revision=NO_REVISION)
        elif batch.revision < self._view.revision:
            raise RolledBack(
                f"The coordinator is at revision {batch.revision} "
                f"and was at {self._view.revision} before."
            )
        changed: Changed = []
        match batch:
            case Events():
                changed = self._fold.apply(batch.events)
            case Resync():
                changed = await self._resynced(batch.listing.kvs)
            case Progress():
                pass
        self._fold.stamp(cluster_id=cluster_id, revision=batch.revision)
        self._claim = None
        await self._publish(TopologyState.LIVE, changed)
        if claim is not None:
            self._tell_recovered(claim)

    def _tell_recovered(self, claim: values.Plane) -> None:
        _log.warning(
            "topology_recovered", recoveries=claim.recoveries, revision=self._view.revision
        )
        for callback in self._on_recovered:
            callback()

    # --------------------------------------------------------------------- what a batch does

    async def _resynced(self, kvs: tuple[KeyValue, ...]) -> Changed:
        """Fold the whole of the coordinator in: what is newer, and what is gone."""
        found: set[str] = set()
        gone: list[Event] = []
        for part in _parts(kvs):
            found.update(kv.key for kv in part)
            await asyncio.sleep(0)
        for known in _parts(self._fold.known_keys()):
            gone += [Event(key=key, kv=None) for key in known if key not in found]
            await asyncio.sleep(0)
        changed = await self._folded(kvs)
        for lost in _parts(gone):
            changed += self._fold.apply(lost)
            await asyncio.sleep(0)
        return changed

    async def _folded(self, kvs: Iterable[KeyValue]) -> Changed:
        """Fold values in that are newer than those known, giving others the loop now and then.

        Between two parts the fold may be at no revision that ever was; nobody sees it before all
        is in.
        """
        changed: Changed = []
        for part in _parts(kvs):
            changed += self._fold.apply(self._fold.newer(part))
            await asyncio.sleep(0)
        return changed

    async def _publish(self, state: TopologyState, changed: Changed) -> None:
        previous, self._view = self._view, self._fold.view
        self._state = state
        self._published.set()
        self._published = asyncio.Event()
        self._report()
        if state is TopologyState.LIVE and any(
            not isinstance(path, PASSING) for _, path in changed
        ):
            self._copy_due.set()
        # Taken out part by part: to free 100,000 at once takes as long as 100 ms.
        changed.reverse()
        while changed:
            part = [changed.pop() for _ in range(min(len(changed), TOPOLOGY_TURN_EVENTS))]
            self._tell(previous, part)
            if changed:
                await asyncio.sleep(0)

    def _tell(self, previous: TopologyView, changed: Changed) -> None:
        for prefix, subscriber in tuple(self._subscribers.values()):
            paths = tuple(path for key, path in changed if key.startswith(prefix))
            if not paths:
                continue
            try:
                subscriber(Update(previous=previous, view=self._view, paths=paths))
            except Exception as error:  # noqa: BLE001 - one subscriber's error is not the others'
                _log.error("topology_subscriber_failed", prefix=prefix, exc_info=error)

    def _report(self) -> None:
        """Log and count what was found bad; the view goes on without."""
        found = self._fold.take_new_problems()
        for problem in found[:TOPOLOGY_PROBLEMS_SHOWN]:
            _log.error(
                "topology_value_refused",
                path=problem.path,
                reason=problem.why,
                revision=problem.revision,
            )
        if len(found) > TOPOLOGY_PROBLEMS_SHOWN:
            _log.error("topology_values_refused", problem_count=len(found))
        if found:
            self._metrics.topology_values_refused.inc(len(found))
        self._metrics.topology_problems.set(len(self._fold.problems))
        self._metrics.topology_revision.set(self._view.revision)

    def _freeze(self, why: str) -> None:
        self._state = TopologyState.FROZEN
        self._frozen_since = why
        _log.error("topology_rolled_back", reason=why, revision=self._view.revision)

    # ---------------------------------------------------------------------------- the status

    def _heard_ms_ago(self) -> int | None:
        if self._watch is None or self._state not in {TopologyState.LIVE, TopologyState.FROZEN}:
            return None
        return max(self._clock.monotonic_ns() - self._watch.heard_at_ns, 0) // NS_PER_MS


def _parts(whole: Iterable[Part]) -> Iterator[list[Part]]:
    """Cut into lists of up to TOPOLOGY_TURN_EVENTS."""
    rest = iter(whole)
    while part := list(islice(rest, TOPOLOGY_TURN_EVENTS)):
        yield part
