"""How fast nodes answer reads that may be of any replica, and whom to ask next if one does not.

Of each node it is estimated within what time 19 of 20 answers come. A read that has waited for
longer is asked of another replica too; a node that has lost several such races in a row is slow,
and is asked last until it has answered in time again, which one read a second finds out. Both are
bounded, so that a proxy that is itself late, or a cluster that is, does not ask everything twice.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_S
from dstore.base.limits import (
    HEDGE_PAGE_S_MAX,
    HEDGE_PAGE_S_MIN,
    HEDGE_S_MAX,
    HEDGE_S_MIN,
    HEDGES_SAVED_MAX,
    HEDGES_SHARE,
    NODES_PACED_MAX,
    SLOW_NODE_MISSES,
    SLOW_NODE_S,
)

if TYPE_CHECKING:
    from dstore.model.ranges import RangeRef

_SLOW_NS: Final = int(SLOW_NODE_S * NS_PER_S)
# At rest where 1 of 20 answers is later: 0.05 times the step up is 0.95 times the step down.
_UP: Final = 1 + 0.95 / 25
_DOWN: Final = 1 - 0.05 / 25


class Size(Enum):
    """What is read: answers of the one say nothing of the other's time."""

    ENTRY = (HEDGE_S_MIN, HEDGE_S_MAX)
    PAGE = (HEDGE_PAGE_S_MIN, HEDGE_PAGE_S_MAX)


class Pace:
    """Of one node, and of one size of reads."""

    __slots__ = ("_floor_s", "_misses", "_slow_until_ns", "_top_s", "late_s")

    def __init__(self, size: Size) -> None:
        """Know nothing yet."""
        self._floor_s, self._top_s = size.value
        self._misses = 0
        self._slow_until_ns = 0
        self.late_s = (self._floor_s * self._top_s) ** 0.5
        """Later than this an answer is late."""

    @property
    def is_slow(self) -> bool:
        """Whether it has been late several times in a row, and not in time since."""
        return self._misses >= SLOW_NODE_MISSES

    def answered(self, took_s: float) -> None:
        """Count an answer; one that was late has been counted by then."""
        late_s = self.late_s
        if took_s <= late_s:
            self._misses = 0
            if late_s > self._floor_s:
                self.late_s = late_s * _DOWN

    def missed(self, now_ns: int) -> None:
        """Count an answer that has not come in time."""
        if not self.is_slow:  # else it says more of the node's trouble than of its pace
            self.late_s = min(self.late_s * _UP, self._top_s)
        self._misses += 1
        self._slow_until_ns = now_ns + _SLOW_NS

    def may_be_tried(self, now_ns: int) -> bool:
        """Tell whether a slow node is due to be asked first once more; then it is, by one."""
        if now_ns < self._slow_until_ns:
            return False
        self._slow_until_ns = now_ns + _SLOW_NS
        return True


class Paces:
    """Of all nodes. Used from one event loop."""

    def __init__(self) -> None:
        """Know nothing yet; as many races as in a burst may be begun."""
        self._paces: dict[tuple[str | None, Size], Pace] = {}
        self._saved = float(HEDGES_SAVED_MAX)

    def of(self, node: str | None, size: Size) -> Pace:
        """Find a node's."""
        pace = self._paces.get((node, size))
        if pace is None:
            if len(self._paces) >= NODES_PACED_MAX:
                self._paces.clear()  # those that are there still are known again at once
            pace = self._paces[node, size] = Pace(size)
        return pace

    def order(self, ref: RangeRef, size: Size, *, now_ns: int) -> list[str | None]:
        """Say whom to ask one after the other: the primary first, which has the newest.

        A node that is slow comes last. Each call counts as one read, of which a part may be races.
        """
        if self._saved < HEDGES_SAVED_MAX:
            self._saved += HEDGES_SHARE
        primary = self.of(ref.node, size)
        if not primary.is_slow or primary.may_be_tried(now_ns):
            return [ref.node, *ref.others]
        quick: list[str | None] = [node for node in ref.others if not self.of(node, size).is_slow]
        return [*quick, ref.node, *(node for node in ref.others if node not in quick)]

    def may_race(self) -> bool:
        """Tell whether one more read may be asked of two; then it counts."""
        if self._saved < 1:
            return False
        self._saved -= 1
        return True
