"""Ranges: which part of a table's hashes is where, and a table as requests see it.

A table's entries lie in one or more ranges, each a closed interval of hashes. Ranges never overlap
(I8). A process may know all of a table's ranges or only some of them; what lies outside is never
taken for empty.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from dstore.model.errors import NotMine
from dstore.model.hashing import HASH_MAX
from dstore.model.keys import hash_bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dstore.model.index_rows import IndexSizes
    from dstore.model.tables import TableDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRef:
    """A range as callers name it: its UUID, and the epoch in which they know it.

    `low` and `high` are hashes, both inclusive. `node` is the UUID of its primary as the caller
    knows it, and None where there is no other node; `others` are those of the other replicas that
    are in sync, and `table` is whose range it is, if that has to be looked up again.
    """

    range_id: str
    epoch: int = 1
    low: int = 0
    high: int = HASH_MAX
    node: str | None = None
    others: tuple[str, ...] = field(default=(), compare=False)
    table: TableDefinition | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RangeCount:
    """How much is in a range: its entries, and what its table's local indexes have of them."""

    entries: int
    indexes: IndexSizes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RangeMap:
    """The known ranges of a table, by low hash.

    `whole` is the only range there is, if it has all hashes: a short cut for the commonest table.
    """

    refs: tuple[RangeRef, ...]
    _lows: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    whole: RangeRef | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out what look-ups compare with: a RID_ID begins with its hash, big endian."""
        refs = self.refs
        for former, ref in pairwise(refs):
            assert former.high < ref.low, (former, ref)
        object.__setattr__(self, "_lows", tuple(hash_bounds(ref.low, ref.high)[0] for ref in refs))
        is_whole = len(refs) == 1 and refs[0].low == 0 and refs[0].high == HASH_MAX
        object.__setattr__(self, "whole", refs[0] if is_whole else None)

    @classmethod
    def of(cls, refs: Iterable[RangeRef]) -> RangeMap:
        """Sort ranges, which must not overlap."""
        return cls(tuple(sorted(refs, key=lambda ref: ref.low)))

    def at(self, rid_id: bytes) -> RangeRef:
        """Find the range of a key, given as it is stored; only its hash, 4 bytes, is looked at.

        Raises: NotMine: no known range has it.
        Cost: 0.1 us in a table of one range, 0.5 us in one of 1,000.
        """
        if self.whole is not None:
            return self.whole
        place = bisect_right(self._lows, rid_id) - 1
        if place >= 0:
            ref = self.refs[place]
            if int.from_bytes(rid_id[:4], "big") <= ref.high:
                return ref
        raise NotMine(None)

    def crossing(self, low: bytes, high: bytes | None) -> Sequence[RangeRef]:
        """List the ranges that the RID_IDs from `low` to `high`, excluded, lie in, by low hash.

        Raises: NotMine: a part of them lies in no known range.
        """
        if self.whole is not None:
            return self.refs
        first = max(bisect_right(self._lows, low) - 1, 0)
        end = len(self.refs) if high is None else bisect_left(self._lows, high)
        found = self.refs[first : max(end, first + 1)]  # one even for a span of no keys
        expected: bytes | None = low
        for ref in found:
            ref_low, ref_end = hash_bounds(ref.low, ref.high)
            # Before 00 00 00 00 there is nothing, so that a walk from b"" misses nothing.
            if expected is None or (ref_low > expected and ref.low > 0):
                raise NotMine(None)
            expected = ref_end
        if expected is not None and (high is None or expected < high):
            raise NotMine(None)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as requests see it: what it is, and where its entries are."""

    definition: TableDefinition
    ranges: RangeMap


def even_ranges(count: int) -> Sequence[tuple[int, int]]:
    """Cut the hashes into `count` equal parts, 1 to HASH_MAX + 1: bounds, both inclusive."""
    hashes = HASH_MAX + 1
    assert 1 <= count <= hashes, count
    starts = [hashes * part // count for part in range(count + 1)]
    return [(low, behind - 1) for low, behind in pairwise(starts)]
