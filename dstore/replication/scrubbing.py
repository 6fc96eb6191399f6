"""A scrub of one range, by its primary: every replica's file is read whole, and rows are compared.

First each replica in sync reads its file from its disk, so that what has rotted is found where
nobody else has a replica, too. Then rows are compared by their sums, a span at a time, each at its
own moment (`storage.checksums`): writes go on, and what was written between two moments is left
out. What differs is looked at twice.

Who is wrong? Whose file is damaged; and of an entry, whoever has another one than most of the
replicas. Where there is no majority nobody knows: that is told, and nothing is done.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from dstore.base.limits import PAGE_BYTES
from dstore.base.logging import get_logger
from dstore.base.scrub_limits import SCRUB_AGAIN_MS, SCRUB_CALL_S, SCRUB_SURE_S, SCRUB_TRIES
from dstore.model.errors import Corrupt, DStoreError, NotMine
from dstore.replication.scrub_answers import is_sound, read_pages, sum_rows
from dstore.replication.scrub_calls import ReadFile, ReadPages, SumRows
from dstore.replication.surroundings import pause_ms
from dstore.storage.checksums import differing, written_between

if TYPE_CHECKING:
    from dstore.replication.follower import Follower
    from dstore.replication.primary import Primary
    from dstore.replication.surroundings import Surroundings
    from dstore.storage.checksums import SpanSums
    from dstore.storage.examination import PagesSeen

_log: Final = get_logger(__name__)

Pace = Callable[[int], Awaitable[None]]
"""Waits as long as reading so many bytes should take."""

Pair = tuple[bytes | None, bytes | None]
"""Of an entry that differs: the primary's sum and another replica's, None where there is none."""


@dataclass(slots=True, kw_only=True)
class Findings:
    """What a scrub has found.

    Attributes:
        replicas: how many were to be compared, the primary's among them.
        damaged: nodes whose files are damaged.
        wrong: of each node, how many entries are others than in most replicas.
        undecided: entries that differ, and nobody knows which one is right.
        unread: nodes that did not answer, or not all that they were asked.
        bytes_read: of all replicas.
    """

    replicas: int
    damaged: set[str] = field(default_factory=set)
    wrong: Counter[str] = field(default_factory=Counter)
    undecided: int = 0
    unread: set[str] = field(default_factory=set)
    bytes_read: int = 0

    @property
    def different(self) -> int:
        """How many entries are not the same everywhere; one that is wrong twice counts twice."""
        return self.wrong.total() + self.undecided

    @property
    def to_be_repaired(self) -> set[str]:
        """The nodes whose replicas are known to be wrong."""
        return self.damaged | set(self.wrong)


class _Ended(Exception):
    """The primary is none any more."""


class Scrub:
    """One scrub of a range, as its primary in one epoch. Run it once, from its event loop."""

    def __init__(self, primary: Primary, around: Surroundings, *, pace: Pace) -> None:
        """Prepare; `pace` is asked after each piece."""
        self._primary = primary
        self._around = around
        self._pace = pace
        self._range_id = primary.range_id
        self._own = _Own(self._range_id, around)
        self._others: dict[str, _Other] = {
            each.node: _Other(self._range_id, each, around)
            for each in primary.in_sync
            if not each.is_wrong
        }
        self.findings = Findings(replicas=1 + len(self._others))

    async def run(self) -> Findings:
        """Read and compare everything.

        Raises: NotMine: this is not the primary any more. DStoreError: it can't be done now.
        """
        try:
            await self._read_and_compare()
        except _Ended:
            raise NotMine(self._range_id, self._primary.epoch) from None
        return self.findings

    async def _read_and_compare(self) -> None:
        await self._file(self._around.node, self._own)
        for node, other in list(self._others.items()):
            try:
                await self._file(node, other)
            except DStoreError as error:
                self._leave_out(node, error.message)
        if self._around.node not in self.findings.damaged:
            await self._rows()

    def _found_damaged(self, node: str) -> None:
        _log.warning("scrub_found_damage", range=self._range_id, node=node)
        self.findings.damaged.add(node)
        self._others.pop(node, None)

    def _leave_out(self, node: str, why: str) -> None:
        _log.info("scrub_without", range=self._range_id, node=node, reason=why)
        other = self._others.pop(node, None)
        if other is None or other.counts:  # else it has left the set meanwhile
            self.findings.unread.add(node)

    async def _spend(self, size_bytes: int) -> None:
        self.findings.bytes_read += size_bytes
        await self._pace(size_bytes)
        if self._primary.is_closed:
            raise _Ended

    # -------------------------------------------------------------------------------- the files

    async def _file(self, node: str, replica: _Read) -> None:
        """Have a replica's file read whole."""
        next_page: int | None = 1
        is_suspect = False
        try:
            while next_page is not None:
                seen = await replica.read_pages(next_page)
                is_suspect |= bool(seen.suspects)
                next_page = seen.next_page
                await self._spend(seen.pages * PAGE_BYTES)
            is_damaged = is_suspect and not await replica.is_sound()
        except Corrupt:
            is_damaged = True
        if is_damaged:
            self._found_damaged(node)

    # --------------------------------------------------------------------------------- the rows

    async def _rows(self) -> None:
        """Compare the rows of all replicas whose files are not damaged."""
        after: bytes | None = b""
        while after is not None and self._others:
            try:
                after = await self._compare(after)
            except Corrupt:  # ours: the others' are found out one by one
                self._found_damaged(self._around.node)
                return

    async def _compare(self, after: bytes) -> bytes | None:
        """Compare a span. Returns: its last key; None: nothing is behind it."""
        ours = await self._own.sum_rows(after, None)
        theirs = await self._sums(after, ours.last)
        if any(each.digest != ours.digest for each in theirs.values()):
            await self._narrow(after, ours.last)
        await self._spend(ours.size_bytes * (1 + len(theirs)))
        return ours.last

    async def _sums(
        self, after: bytes, upto: bytes | None, *, has_sums: bool = False
    ) -> dict[str, SpanSums]:
        """Ask all others at once; who can't say it is left out from here on."""
        nodes = list(self._others)
        told = await asyncio.gather(
            *(self._others[node].sum_rows(after, upto, has_sums=has_sums) for node in nodes),
            return_exceptions=True,
        )
        found: dict[str, SpanSums] = {}
        for node, each in zip(nodes, told, strict=True):
            if isinstance(each, Corrupt):
                self._found_damaged(node)
            elif isinstance(each, DStoreError):
                self._leave_out(node, each.message)
            elif isinstance(each, BaseException):
                raise each
            elif not each.is_whole:
                self._leave_out(node, "It is being copied.")
            else:
                found[node] = each
        return found

    async def _narrow(self, after: bytes, upto: bytes | None) -> None:
        """Find the entries of a span that differ, and whose are wrong."""
        first: dict[str, dict[bytes, Pair]] | None = None
        for _ in range(SCRUB_TRIES):
            found = await self._differing(after, upto)
            if found is not None and not any(found.values()):
                return
            if found is not None and first is not None:
                self._judge(_in_both(first, found), voters=1 + len(found))
                return
            first = found if first is None else first
            await pause_ms(SCRUB_AGAIN_MS)
        for node in list(self._others):
            self._leave_out(node, "It is too far behind to be compared.")

    async def _differing(
        self, after: bytes, upto: bytes | None
    ) -> dict[str, dict[bytes, Pair]] | None:
        """List what differs at each other replica; None: their moments are too far apart."""
        ours = await self._own.sum_rows(after, upto, has_sums=True)
        theirs = await self._sums(after, upto, has_sums=True)
        seqs = [each.applied_seq for each in (ours, *theirs.values())]
        written = await self._own.written_between(min(seqs), max(seqs))
        if written is None:
            return None
        return {
            node: {
                rid_id: pair
                for rid_id, pair in differing(ours, sums).items()
                if rid_id not in written
            }
            for node, sums in theirs.items()
        }

    def _judge(self, found: Mapping[str, Mapping[bytes, Pair]], *, voters: int) -> None:
        """Count, entry by entry, who has what; a replica of which nothing is said has ours."""
        findings, me = self.findings, self._around.node
        for rid_id in sorted({rid_id for pairs in found.values() for rid_id in pairs}):
            ours = next(pairs[rid_id][0] for pairs in found.values() if rid_id in pairs)
            has = {
                node: pairs[rid_id][1] if rid_id in pairs else ours for node, pairs in found.items()
            }
            has[me] = ours
            most, votes = Counter(has.values()).most_common(1)[0]
            if 2 * votes <= voters:
                findings.undecided += 1
                continue
            findings.wrong.update(node for node, each in has.items() if each != most)


def _in_both(
    first: Mapping[str, Mapping[bytes, Pair]], second: Mapping[str, Mapping[bytes, Pair]]
) -> dict[str, dict[bytes, Pair]]:
    """Keep what differs in the same way both times."""
    return {
        node: {
            rid_id: pair
            for rid_id, pair in pairs.items()
            if first.get(node, {}).get(rid_id) == pair
        }
        for node, pairs in second.items()
    }


class _Read(Protocol):
    """A replica, as it is read."""

    async def read_pages(self, first_page: int) -> PagesSeen:
        """Read pages from its disk. Raises: Corrupt: its file can't be opened."""

    async def is_sound(self) -> bool:
        """Read all of its file."""


class _Own:
    """The primary's own replica."""

    def __init__(self, range_id: str, around: Surroundings) -> None:
        self._range_id = range_id
        self._around = around

    async def read_pages(self, first_page: int) -> PagesSeen:
        request = ReadPages(
            range_id=self._range_id, incarnation=self._around.incarnation, first_page=first_page
        )
        return await read_pages(self._around, request)

    async def is_sound(self) -> bool:
        return await is_sound(self._around, self._range_id)

    async def sum_rows(
        self, after: bytes, upto: bytes | None, *, has_sums: bool = False
    ) -> SpanSums:
        request = SumRows(
            range_id=self._range_id,
            incarnation=self._around.incarnation,
            after=after,
            upto=upto,
            has_sums=has_sums,
        )
        return await sum_rows(self._around, request)

    async def written_between(self, low_seq: int, high_seq: int) -> frozenset[bytes] | None:
        """List what was written between two moments."""
        if low_seq == high_seq:
            return frozenset()
        file = await self._around.open_file(self._range_id)
        return await file.look(partial(written_between, low_seq=low_seq, high_seq=high_seq))


class _Other:
    """Another replica, asked by calls."""

    def __init__(self, range_id: str, follower: Follower, around: Surroundings) -> None:
        self._range_id = range_id
        self._follower = follower
        self._node = follower.node
        self._incarnation = follower.incarnation
        self._around = around

    @property
    def counts(self) -> bool:
        """Whether it is in sync still, and not known to be wrong."""
        return self._follower.is_required and not self._follower.is_wrong

    async def read_pages(self, first_page: int) -> PagesSeen:
        request = ReadPages(
            range_id=self._range_id, incarnation=self._incarnation, first_page=first_page
        )
        return await self._around.peer_of(self._node).call(request, deadline_s=SCRUB_CALL_S)

    async def is_sound(self) -> bool:
        request = ReadFile(range_id=self._range_id, incarnation=self._incarnation)
        peer = self._around.peer_of(self._node)
        return (await peer.call(request, deadline_s=SCRUB_SURE_S)).is_sound

    async def sum_rows(
        self, after: bytes, upto: bytes | None, *, has_sums: bool = False
    ) -> SpanSums:
        request = SumRows(
            range_id=self._range_id,
            incarnation=self._incarnation,
            after=after,
            upto=upto,
            has_sums=has_sums,
        )
        return await self._around.peer_of(self._node).call(request, deadline_s=SCRUB_CALL_S)
