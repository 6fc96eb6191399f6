"""Where ranges are by the newest view, and who wants to hear when that changes.

Who waits for a range that is away is told of that range's own changes, and is not woken by any
other of the cluster's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dstore.model.status import ResourceStatus
from dstore.topology import keyspace as keys

if TYPE_CHECKING:
    from dstore.model.ranges import RangeRef
    from dstore.topology.view import TopologyView
    from dstore.topology.watcher import TopologyWatcher, Update


class Listener(Protocol):
    """Somebody who wants to hear of a range."""

    def range_changed(self, newest: RangeRef | None) -> None:
        """Hear where it is now; None: it is not there any more. Quick, and never raises."""


class RangeNews:
    """Finds ranges in the newest view. Used from one event loop."""

    def __init__(self, watcher: TopologyWatcher) -> None:
        """Follow the view of `watcher`."""
        self._watcher = watcher
        self._listeners: dict[str, dict[Listener, None]] = {}  # by the range's id
        self._unsubscribe = watcher.subscribe(keys.TENANTS, self._follow)

    def newest(self, ref: RangeRef) -> RangeRef | None:
        """Find a range anew; None if there is no such range any more.

        One whose table nobody has named is where it is said to be.
        """
        if ref.table is None:
            return ref
        view = self._watcher.view
        shown = view.table(ref.table.tenant, ref.table.name)
        if shown is None or shown.status is ResourceStatus.DELETING:
            return None
        placed = shown.range_of(ref.low)
        if placed is None or placed.range_id != ref.range_id:
            return None
        return placed.ref(shown.definition)

    def listen(self, range_id: str, listener: Listener) -> None:
        """Tell somebody of changes of a range from now on, until `leave`."""
        listeners = self._listeners.get(range_id)
        if listeners is None:
            listeners = self._listeners[range_id] = {}
        listeners[listener] = None

    def leave(self, range_id: str, listener: Listener) -> None:
        """Tell somebody nothing more."""
        listeners = self._listeners[range_id]
        del listeners[listener]
        if not listeners:
            del self._listeners[range_id]

    def close(self) -> None:
        """Follow the view no more."""
        self._unsubscribe()

    def _follow(self, update: Update) -> None:
        if not self._listeners:
            return
        for path in update.paths:
            if isinstance(path, keys.RangePath):
                for view in (update.previous, update.view):
                    self._tell(_range_at(view, path))

    def _tell(self, ref: RangeRef | None) -> None:
        listeners = None if ref is None else self._listeners.get(ref.range_id)
        if ref is None or not listeners:
            return
        newest = self.newest(ref)
        for listener in tuple(listeners):
            listener.range_changed(newest)


def _range_at(view: TopologyView, path: keys.RangePath) -> RangeRef | None:
    shown = view.table(path.tenant, path.table)
    placed = None if shown is None else shown.range_of(path.low_hash)
    return None if shown is None or placed is None else placed.ref(shown.definition)
