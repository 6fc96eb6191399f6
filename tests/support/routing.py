"""A proxy calling nodes in virtual time: nodes do as a test says, and it moves the view."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from types import SimpleNamespace
from typing import Any, Final

from dstore.base.metrics import Metrics, create_metrics
from dstore.base.tasks import Tasks
from dstore.model.ranges import RangeRef
from dstore.replication.peers.errors import failure
from dstore.service.calls.range_calls import EntryRead, ReadEntry, WriteEntry
from dstore.service.proxy.node_calls import NodeCalls
from dstore.service.proxy.range_news import RangeNews
from dstore.topology.coordinator import Revision
from dstore.topology.fold import Fold
from dstore.topology.keyspace import parse
from dstore.topology.watcher import Update
from tests.simulation.clocks import SimClock
from tests.simulation.loop import SimLoop
from tests.support.topology import NODES, events, placement, tenant
from tests.support.topology import table as table_value

RANGE: Final = "tenant/acme/orders/0"
RID: Final = bytes(8)


class Watcher:
    """The view, as `TopologyWatcher` shows it."""

    def __init__(self) -> None:
        self._fold = Fold()
        self._revision = 0
        self.subscribers: list[Callable[[Update], None]] = []

    @property
    def view(self) -> Any:
        return self._fold.view

    def subscribe(self, _prefix: str, subscriber: Callable[[Update], None]) -> Callable[[], None]:
        self.subscribers.append(subscriber)
        return lambda: self.subscribers.remove(subscriber)

    def show(self, changes: Mapping[str, bytes | None]) -> None:
        """Change the view, and tell."""
        self._revision += 1
        previous = self._fold.view
        self._fold.apply(events(changes, self._revision))
        self._fold.stamp(cluster_id="c1", revision=Revision(self._revision))
        paths = tuple(path for path in map(parse, changes) if path is not None)
        for subscriber in self.subscribers:
            subscriber(Update(previous=previous, view=self._fold.view, paths=paths))


class FakeNode:
    """A node as a peer: it answers after `takes_s`, or raises `fails`; or hangs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.takes_s = 0.001
        self.fails: Exception | None = None
        self.hangs = False
        self.script: list[Exception | None] = []  # of the next calls; then `fails`
        self.asked: list[tuple[float, Any]] = []
        self.given_up = 0

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Any:
        del request_id
        assert deadline_s > 0
        self.asked.append((asyncio.get_running_loop().time(), request))
        try:
            async with asyncio.timeout(deadline_s):
                if self.hangs:
                    await asyncio.Event().wait()
                await asyncio.sleep(self.takes_s)
        except TimeoutError:
            is_safe = not isinstance(request, WriteEntry)
            raise failure("did not answer in time", is_safe=is_safe) from None
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        error = self.script.pop(0) if self.script else self.fails
        if error is not None:
            raise error
        return EntryRead(self.name.encode())


class Routed:
    """A proxy's calls, of one table whose range is at nodes 0, 1 and 2, the first its primary."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.watcher = Watcher()
        self.nodes = {name: FakeNode(str(number)) for number, name in enumerate(NODES)}
        self.metrics: Metrics = create_metrics()
        self.tasks = Tasks(_raised)
        self.news = RangeNews(self.watcher)  # type: ignore[arg-type] # as much of it as is used
        peers: Any = SimpleNamespace(peer=lambda node: self.nodes[node], knows=bool)
        self.calls = NodeCalls(
            peers, self.news, clock=SimClock(loop), tasks=self.tasks, metrics=self.metrics
        )
        self.watcher.show(
            {"tenant/acme": tenant(), "table/acme/orders": table_value(), **self.placed(0, 1)}
        )

    def node(self, number: int) -> FakeNode:
        return self.nodes[NODES[number]]

    def placed(self, node: int, epoch: int) -> dict[str, bytes]:
        others = [one for one in range(3) if one != node]
        return {RANGE: placement(node=node, epoch=epoch, others=others)}

    def move(self, node: int, epoch: int, *, after_s: float) -> None:
        """Have the view show another primary, after a while."""
        self.loop.call_later(after_s, self.watcher.show, self.placed(node, epoch))

    @property
    def ref(self) -> RangeRef:
        shown = self.watcher.view.table("acme", "orders")
        found: RangeRef = shown.table.ranges.refs[0]
        return found

    def read(self) -> ReadEntry:
        return ReadEntry(self.ref.range_id, self.ref.epoch, RID)

    def write(self) -> Any:
        return WriteEntry(self.ref.range_id, self.ref.epoch, RID, b"")

    def counted(self, name: str) -> float:
        """Read one of the proxy's counters."""
        value: float = getattr(self.metrics, name)._value.get()
        return value


def routed(test: Callable[[Routed], Coroutine[Any, Any, None]]) -> None:
    """Run a test in virtual time; nothing may be left of it."""
    loop = SimLoop(Random(1))

    async def run() -> None:
        here = Routed(loop)
        try:
            await test(here)
        finally:
            await here.tasks.drain()
        assert here.news._listeners == {}
        assert here.calls._at_nodes == {}
        assert here.calls._waiting == 0

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def _raised(error: BaseException) -> None:
    raise AssertionError from error
