"""Which ranges are handed over to whom so that nodes lead equally much; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

# Which ranges can be handed over from whom to whom: ids in order, by what their primaries weigh.
_Ways = dict[tuple[str, str], dict[int, dict[str, None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """A range that can be handed over.

    Attributes:
        range_id: its UUID.
        primary: the node that is.
        on: the nodes that could be; the primary is among them or not.
        weight: of its primary, > 0.
    """

    range_id: str
    primary: str
    on: tuple[str, ...]
    weight: int


def even(
    ranges: Iterable[Led], load: Mapping[str, int], *, apart: int
) -> Iterator[tuple[str, str]]:
    """Hand ranges over until no hand-over brings two nodes nearer to each other.

    Each one does, and so it ends.

    Args:
        ranges: in the order in which equal ones are taken.
        load: of each node that may lead: what the primaries on it weigh, these and any others.
        apart: nodes that differ by less are even.
    Yields: a range and the node that is to be its primary, one after another.
    """
    evening = _Evening(ranges, load)
    while (found := evening.next(apart=max(apart, 1))) is not None:
        yield found


class _Evening:
    """Who leads what, as far as it is handed over."""

    def __init__(self, ranges: Iterable[Led], load: Mapping[str, int]) -> None:
        self._load = Counter(load)
        self._nodes = tuple(load)
        self._led = {each.range_id: each for each in ranges}
        self._ways: _Ways = defaultdict(lambda: defaultdict(dict))
        for each in self._led.values():
            self._enter(each, each.primary)

    def next(self, *, apart: int) -> tuple[str, str] | None:
        """Choose what goes from who has most to who has least, as far as that is possible."""
        load = self._load
        order = sorted(
            (load[heir] - load[giver], giver, heir)
            for giver in self._nodes
            for heir in self._nodes
            if load[giver] - load[heir] >= apart and (giver, heir) in self._ways
        )
        for difference, giver, heir in order:
            range_id = _fitting(self._ways[giver, heir], gap=-difference)
            if range_id is not None:
                self._hand_over(self._led[range_id], giver, heir)
                return range_id, heir
        return None

    def _hand_over(self, each: Led, giver: str, heir: str) -> None:
        for node in each.on:
            if node != giver:
                del self._ways[giver, node][each.weight][each.range_id]
        self._enter(each, heir)
        self._load[giver] -= each.weight
        self._load[heir] += each.weight

    def _enter(self, each: Led, primary: str) -> None:
        for node in each.on:
            if node != primary:
                self._ways[primary, node][each.weight][each.range_id] = None


def _fitting(by_weight: Mapping[int, Mapping[str, None]], *, gap: int) -> str | None:
    """Choose the range that leaves two nodes nearest to each other, if any brings them nearer."""
    weights = [weight for weight, ids in by_weight.items() if ids and weight < gap]
    if not weights:
        return None
    best = min(weights, key=lambda weight: (abs(gap - 2 * weight), weight))
    return next(iter(by_weight[best]))
