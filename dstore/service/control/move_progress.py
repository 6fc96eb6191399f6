"""How far moves of replicas are: bytes, pace and time left, of what control sees of them; pure.

Whoever follows moves looks at them now and then (`left_*`) and hands that to a `Meter`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dstore.base.clock import NS_PER_S
from dstore.base.limits import MOVES_PACE_S
from dstore.service.control.sparing import reported_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dstore.service.control.balancing import Outlook
    from dstore.service.control.planner import Change, RangeSite
    from dstore.topology.view import TopologyView

MoveKey = tuple[str, str]  # the range, and who gets it or gives it up
_PACE_NS = int(MOVES_PACE_S * NS_PER_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left of one move.

    Attributes:
        size_bytes: of all that is copied for it.
        left_bytes: of that.
        is_begun: whether it is under way.
    """

    size_bytes: int
    left_bytes: int
    is_begun: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far moves are, all together.

    Attributes:
        moves_done: of `moves_total`.
        done_bytes: of `total_bytes`.
        bytes_per_s: lately; None: nobody can tell yet.
        left_s: at that pace; None: nobody can tell.
        is_paused: whether none begins.
    """

    moves_done: int
    moves_total: int
    done_bytes: int
    total_bytes: int
    bytes_per_s: int | None
    left_s: int | None
    is_paused: bool = False

    def shown(self) -> dict[str, Any]:
        """Give it the names that operators see."""
        return {
            "movesDone": self.moves_done,
            "movesTotal": self.moves_total,
            "doneBytes": self.done_bytes,
            "totalBytes": self.total_bytes,
            "bytesPerS": self.bytes_per_s,
            "leftS": self.left_s,
            "isPaused": self.is_paused,
        }


@dataclass(slots=True)
class Meter:
    """Remembers what was left before, and when."""

    _moves: dict[MoveKey, Left] = field(default_factory=dict)
    _ended: list[int] = field(default_factory=list)  # the sizes of those that are done
    _samples: deque[tuple[int, int]] = field(default_factory=deque)  # when, and bytes done

    def note(self, now_ns: int, left: Mapping[MoveKey, Left], *, is_paused: bool) -> Progress:
        """Look at what is left by now; what was begun and is not there any more is done."""
        for key, before in self._moves.items():
            if key not in left and before.is_begun:
                self._ended.append(before.size_bytes)
        self._moves = dict(left)
        ended_bytes = sum(self._ended)
        total = ended_bytes + sum(each.size_bytes for each in left.values())
        left_bytes = sum(each.left_bytes for each in left.values())
        bytes_per_s = self._pace(now_ns, total - left_bytes)
        return Progress(
            moves_done=len(self._ended),
            moves_total=len(self._ended) + len(left),
            done_bytes=total - left_bytes,
            total_bytes=total,
            bytes_per_s=bytes_per_s,
            left_s=-(-left_bytes // bytes_per_s) if bytes_per_s else None,
            is_paused=is_paused,
        )

    def _pace(self, now_ns: int, done_bytes: int) -> int | None:
        samples = self._samples
        samples.append((now_ns, done_bytes))
        while now_ns - samples[0][0] > _PACE_NS:
            samples.popleft()
        since_ns, before_bytes = samples[0]
        if now_ns - since_ns < NS_PER_S:
            return None
        return max(done_bytes - before_bytes, 0) * NS_PER_S // (now_ns - since_ns)


def left_of_all(
    outlook: Outlook, view: TopologyView, changes: Sequence[Change]
) -> dict[MoveKey, Left]:
    """Say what is left of the moves under way and of `changes`, which are to come."""
    left = {
        (change.range_id, change.add): _to_come(change.size_bytes)
        for change in changes
        if change.add is not None
    }
    for site in outlook.ranges:
        if site.range_id in outlook.moving:
            left.update(_under_way(site, outlook, view))
    return left


def left_of_node(outlook: Outlook, view: TopologyView, node: str) -> dict[MoveKey, Left]:
    """Say what is left to be taken from a node that is emptied."""
    left: dict[MoveKey, Left] = {}
    for site in outlook.ranges:
        mine = next((each for each in site.copies if each.node == node), None)
        if mine is None:
            continue
        learning = dict(_under_way(site, outlook, view))
        is_begun = mine.is_leaving or site.range_id in outlook.moving
        left_bytes = min(
            (each.left_bytes for key, each in learning.items() if key[1] != node),
            default=0 if mine.is_leaving else site.size_bytes,
        )
        left[site.range_id, node] = Left(
            size_bytes=site.size_bytes, left_bytes=left_bytes, is_begun=is_begun
        )
    return left


def left_of_leading(outlook: Outlook, node: str) -> dict[MoveKey, Left]:
    """Say of which ranges a node is still primary that is drained; no bytes move."""
    return {
        (site.range_id, node): Left(size_bytes=0, left_bytes=0, is_begun=True)
        for site in outlook.ranges
        if site.primary == node
    }


def left_of_changes(
    outlook: Outlook, view: TopologyView, changes: Sequence[Change]
) -> dict[MoveKey, Left]:
    """Say what is left of certain changes: what is done or can't be any more is left out."""
    sites = {site.range_id: site for site in outlook.ranges}
    left: dict[MoveKey, Left] = {}
    for change in changes:
        site = sites.get(change.range_id)
        if site is None:
            continue
        key = (change.range_id, change.add or change.primary or change.remove or "")
        if can_begin(site, change):
            left[key] = _to_come(change.size_bytes)
        elif _is_under_way(site, change):
            learning = dict(_under_way(site, outlook, view))
            known = learning.get(key)
            size = change.size_bytes
            left[key] = known or Left(size_bytes=size, left_bytes=0, is_begun=True)
    return left


def can_begin(site: RangeSite, change: Change) -> bool:
    """Tell whether a change of a range is still to be made, and can be."""
    on = {each.node: each for each in site.copies}
    if change.primary is not None:
        return site.primary != change.primary and change.primary in on
    is_gone = change.remove is not None and (
        change.remove not in on or on[change.remove].is_leaving
    )
    return not is_gone and (change.add is None or change.add not in on)


def _is_under_way(site: RangeSite, change: Change) -> bool:
    on = {each.node: each for each in site.copies}
    if change.primary is not None:
        return False
    is_learning = change.add is not None and change.add in on and not on[change.add].is_in_sync
    return is_learning or (change.remove is not None and change.remove in on)


def _to_come(size_bytes: int) -> Left:
    return Left(size_bytes=size_bytes, left_bytes=size_bytes, is_begun=False)


def _under_way(site: RangeSite, outlook: Outlook, view: TopologyView) -> list[tuple[MoveKey, Left]]:
    """Say what is left of the replicas that a range's learners are copied."""
    return [
        (
            (site.range_id, each.node),
            Left(
                size_bytes=site.size_bytes,
                left_bytes=max(
                    site.size_bytes
                    - reported_bytes(view, each.node, outlook.placed[site.range_id]),
                    0,
                ),
                is_begun=True,
            ),
        )
        for each in site.copies
        if not each.is_in_sync and not each.is_leaving
    ]
