"""What a node says of its part of each table: `node/{uuid}/id/{tenant}/{table}/details`."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Final

from dstore.base.limits import TABLES_MEASURED, TABLES_MEASURED_S
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.values import HeldIndex, HeldReport, HeldStatus, NodeTableDetails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dstore.service.cluster.assignments import TableState
    from dstore.service.cluster.own_keys import OwnKeys
    from dstore.service.holdings import Holdings
    from dstore.service.range_heat import RangeHeat
    from dstore.topology.view import TopologyView

# The better ones first: a table is as its worst range is.
_IN_ORDER: Final = (
    HeldStatus.OKAY,
    HeldStatus.OPENING,
    HeldStatus.LOCKED,
    HeldStatus.NO_SPACE,
    HeldStatus.DAMAGED,
)
_TURN_S: Final = 0.05  # between two parts of a round


class TableReports:
    """Keeps what is said of each table fresh. Used from one event loop."""

    def __init__(
        self,
        own: OwnKeys,
        holdings: Holdings,
        *,
        heat: RangeHeat,
        node: keys.ComponentId,
        is_waiting: Callable[[str], bool],
    ) -> None:
        """Say it by `own`; `holdings` counts the entries, and `heat` the requests.

        `is_waiting` tells of a range, by its id, that it is to be served here and is not yet.
        """
        self._own = own
        self._is_waiting = is_waiting
        self._holdings = holdings
        self._heat = heat
        self._node = node
        self._states: dict[tuple[str, str], TableState] = {}
        self._locked: set[tuple[str, str]] = set()
        self._damaged: set[str] = set()  # ranges, until the next start or until they are given up

    @property
    def is_locked(self) -> bool:
        """Whether a range waits for control's share of its keys."""
        return bool(self._locked)

    def found(self, view: TopologyView) -> None:
        """Learn what an earlier life of the node has said."""
        seen = view.node(self._node)
        for name, known in () if seen is None else seen.reported.items():
            tenant, _, table = name.partition("/")
            path = keys.NodeTablePath(self._node, tenant, table)
            self._own.found(path.path, values.encode(known.value))

    def note(self, state: TableState) -> None:
        """Say how a table is; one of which nothing is held is spoken of no more."""
        name = (state.tenant, state.table)
        self._damaged = {each for each in self._damaged if each in self._holdings.ranges}
        if state.ranges:
            self._states[name] = state
        else:
            self._states.pop(name, None)
        if HeldStatus.LOCKED in state.ranges.values():
            self._locked.add(name)
        else:
            self._locked.discard(name)
        self._say(state)

    def say_all(self) -> None:
        """Say of every table how it is."""
        for state in self._states.values():
            self._say(state)

    def note_damage(self, range_id: str) -> None:
        """Say that a range is damaged, from now on."""
        if range_id in self._damaged or range_id not in self._holdings.ranges:
            return
        self._damaged.add(range_id)
        self.look_at(range_id)

    def note_anew(self, range_id: str) -> None:
        """Say that nothing is left of what was damaged in a range."""
        if range_id in self._damaged:
            self._damaged.discard(range_id)
            self.look_at(range_id)

    def look_at(self, range_id: str) -> None:
        """Say how a range's table is, since something about the range has changed."""
        held = self._holdings.ranges.get(range_id)
        state = None if held is None else self._states.get((held.tenant, held.table))
        if state is not None:
            self._say(state)

    async def measure(self) -> None:
        """Say how large tables are and how often they are asked, in turn, until cancelled."""
        while True:
            await asyncio.sleep(TABLES_MEASURED_S)
            self._heat.look()
            names = iter(tuple(self._states))
            while part := tuple(islice(names, TABLES_MEASURED)):
                for name in part:
                    state = self._states.get(name)
                    if state is not None:
                        self._say(state)
                await asyncio.sleep(_TURN_S)

    def _say(self, state: TableState) -> None:
        path = keys.NodeTablePath(self._node, state.tenant, state.table)
        reports = tuple(self._reports(state))
        if not reports:
            self._own.say(path.path, None)
            return
        worst = max((each.status for each in reports), key=_IN_ORDER.index)
        self._own.say(path.path, values.encode(NodeTableDetails(status=worst, ranges=reports)))

    def _reports(self, state: TableState) -> Iterator[HeldReport]:
        counts = self._holdings.counts
        for range_id, status in state.ranges.items():
            held = self._holdings.ranges.get(range_id)
            refs = () if held is None else (held.ref,)
            yield HeldReport(
                range_id=range_id,
                status=self._now(range_id, status),
                entries=counts.quantity(refs),
                stored_bytes=counts.size_bytes(refs),
                requests_per_s=self._heat.requests_per_s(range_id),
                scrubbed_at_us=0 if held is None else held.scrubbed_at_us,
                local_indexes=tuple(
                    HeldIndex(name=name, entries=size.entries, stored_bytes=size.size_bytes)
                    for name, size in sorted(counts.index_sizes(refs).items())
                ),
            )

    def _now(self, range_id: str, status: HeldStatus) -> HeldStatus:
        """Say how a range is that was `status` when it was looked at last."""
        if range_id in self._damaged:
            return HeldStatus.DAMAGED
        is_opening = status is HeldStatus.OKAY and self._is_waiting(range_id)
        return HeldStatus.OPENING if is_opening else status
