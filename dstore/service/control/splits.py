"""Ranges that are too large, or asked too much, are split in two, by themselves (ADR 0018).

A leader's job. It looks which ranges should be split (`split_choice`), asks their primaries where
the bytes or requests in them are, writes an attempt down, and then asks the primary to do it, again
and again, until the view shows what came of it (`split_steps`). So it may end anywhere, and whoever
leads next goes on: what is under way stands in the store, and in the coordinator.

Nothing is split that is moved, copied, scrubbed, or may have lost writes; nor while moves are
paused. What can't be split well is looked at again later, and ever more seldom.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.clock import NS_PER_S, US_PER_S
from dstore.base.limits import MOVES_FOLLOWED_S
from dstore.base.logging import get_logger
from dstore.base.metrics import SplitMetrics
from dstore.base.split_limits import (
    SPLIT_AGAIN_S,
    SPLIT_AGAIN_S_MAX,
    SPLIT_CALL_S,
    SPLITS_ASK_S,
    SPLITS_AT_ONCE,
    SPLITS_LOOK_S,
    SPLITS_OPEN_MAX,
    SPLITS_PAUSE_S,
    SPLITS_REMEMBERED_MAX,
)
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError, Refused
from dstore.replication.sample_calls import AskSample, SampleOf
from dstore.replication.split_calls import CutRange, Split
from dstore.replication.whereabouts import primary_of
from dstore.service.control import split_steps
from dstore.service.control.leader import NotLeading, Term
from dstore.service.control.rounds import Rounds
from dstore.service.control.split_choice import (
    SplitBounds,
    Splittable,
    due,
    hot,
    is_awaited,
    point_of,
    sustained_of,
)
from dstore.service.control.split_recall import recall
from dstore.service.control.split_steps import SPLIT_RANGE, Seen, SplitSubject, seen_of
from dstore.service.control.tasks import fail, report
from dstore.storage.control import splits, tables, tasks
from dstore.storage.control.records import RangeId, SplitRecord, SplitWhy
from dstore.topology import keyspace as keys
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dstore.replication.peers.port import Peer
    from dstore.service.control.moves import Moves
    from dstore.service.control.realm import Realm
    from dstore.service.control.tasks import Handler, Step
    from dstore.storage.control.records import TableRecord
    from dstore.topology.view import TopologyView
    from dstore.topology.watcher import Update

_log: Final = get_logger(__name__)

_Reason = tuple[str, SplitWhy]  # a range, and what it should be split for
_NO_POINT: Final = "Nearly all that is in it is of one partition, and a partition is not cut."


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """What an operator decides about splits, and who counts them."""

    bounds: SplitBounds = field(default_factory=SplitBounds)
    counts: SplitMetrics = field(default_factory=SplitMetrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """An attempt of which nobody knows yet what comes of it, and the table that it is of."""

    split: SplitRecord
    table: TableRecord


@dataclass(slots=True, kw_only=True)
class _Memory:
    """What a leader remembers of ranges, by id; another one begins with nothing."""

    hot_since_ns: dict[str, int] = field(default_factory=dict)
    sampled: frozenset[str] = frozenset()  # whose primaries are asked
    wait_s: dict[_Reason, float] = field(default_factory=dict)  # for which they were put off
    until_ns: dict[_Reason, int] = field(default_factory=dict)

    def put_off(self, reason: _Reason, now_ns: int) -> None:
        """Look at a range later, the later the more often it was put off."""
        if len(self.wait_s) >= SPLITS_REMEMBERED_MAX:
            self.wait_s.clear()
            self.until_ns.clear()
        wait_s = min(2 * self.wait_s.get(reason, SPLIT_AGAIN_S / 2), SPLIT_AGAIN_S_MAX)
        self.wait_s[reason] = wait_s
        self.until_ns[reason] = now_ns + int(wait_s * NS_PER_S)

    def put_off_now(self, now_ns: int) -> set[_Reason]:
        """Name what is not to be tried now."""
        return {reason for reason, ns in self.until_ns.items() if ns > now_ns}


class Splits:
    """Splits ranges. `run` is a leader's job."""

    def __init__(
        self,
        realm: Realm,
        moves: Moves,
        *,
        peer_of: Callable[[str], Peer],
        settings: SplitSettings,
    ) -> None:
        """Prepare.

        Args:
            realm: whose view is followed.
            moves: know what is moved, and whether anything may begin.
            peer_of: finds a node. Raises: Unreachable.
            settings: the operator's.
        """
        self._realm = realm
        self._moves = moves
        self._peer_of = peer_of
        self._bounds = settings.bounds
        self._counts = settings.counts
        self._memory = _Memory()
        self._refused: dict[str, str] = {}  # ranges an operator wants split, and why they aren't
        self._open: set[str] = set()
        self._has_recalled = False  # in this term
        self._rounds = Rounds(
            self._go_on, watcher=realm.watcher, clock=realm.clock, failed="ranges_not_split"
        )

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What follows splits as tasks."""
        return {SPLIT_RANGE: self._follow}

    async def run(self, term: Term) -> None:
        """Split for as long as the term lasts. Raises: NotLeading: another leads."""
        self._memory, self._open, self._refused = _Memory(), set(), {}
        self._has_recalled = False
        try:
            await self._rounds.run(
                term,
                prefix=keys.TENANTS,
                on_update=self._on_update,
                pause_s=lambda: SPLITS_PAUSE_S,
                interval_s=self._interval_s,
            )
        finally:
            self._counts.under_way = 0

    def _interval_s(self) -> float:
        return SPLITS_ASK_S if self._open or self._memory.sampled else SPLITS_LOOK_S

    def _now_ns(self) -> int:
        return self._realm.clock.monotonic_ns()

    def _on_update(self, update: Update) -> None:
        if self._open and any(isinstance(path, keys.RangePath) for path in update.paths):
            self._rounds.wake()

    # ------------------------------------------------------------------------------ one round

    async def _go_on(self, term: Term) -> None:
        """Do what can be done now."""
        if self._realm.watcher.status().state is not TopologyState.LIVE:
            return
        if not self._has_recalled:
            await recall(self._realm, term)
            self._has_recalled = True
        found = await self._begun()
        ended = await asyncio.gather(*(self._drive(term, each) for each in found))
        left = [each.split for each, is_ended in zip(found, ended, strict=True) if not is_ended]
        self._open = {each.range_id for each in left}
        self._counts.under_way = len(left)
        await self._choose(term, left)

    async def _begun(self) -> list[_Open]:
        """Read what is under way."""
        async with self._realm.plane.store.snapshot() as tx:
            begun = await splits.begun(tx)
            owners = {
                table_id: await tables.get_by_id(tx, table_id)
                for table_id in sorted({each.table_id for each in begun})
            }
        return [
            _Open(split=each, table=table)
            for each in begun
            if (table := owners[each.table_id]) is not None
        ]

    async def _drive(self, term: Term, one: _Open) -> bool:
        """Bring an attempt one step further. Returns: whether it has ended."""
        try:
            return await self._driven(term, one.split, seen_of(self._view, one.table, one.split))
        except NotLeading:
            raise
        except DStoreError as error:
            _log.info("split_waits", range=one.split.range_id, reason=error.message)
            return False

    async def _driven(self, term: Term, split: SplitRecord, seen: Seen) -> bool:
        if seen.children is not None:
            if await split_steps.finish(self._realm, term, split, children=seen.children):
                self._counts.done += 1
                took_us = self._realm.clock.wall_us() - split.begun_at_us
                self._counts.seconds += max(took_us, 0) / US_PER_S
                _log.info(
                    "range_is_split",
                    range=split.range_id,
                    low=split.low_id,
                    high=split.high_id,
                    why=str(split.why),
                )
            return True
        if seen.is_over(split):
            if await split_steps.abandon(self._realm, term, split):
                self._counts.abandoned += 1
                _log.info("split_abandoned", range=split.range_id, epoch=split.epoch)
            return True
        if seen.parent is not None:
            await self._ask_to_cut(split, seen)
        return False

    async def _ask_to_cut(self, split: SplitRecord, seen: Seen) -> None:
        """Ask the primary; what it answers says nothing that the view does not say."""
        assert seen.parent is not None
        value = seen.parent.value
        ask = CutRange(
            range_id=split.range_id,
            epoch=split.epoch,
            incarnation=primary_of(value).incarnation,
            split=Split(low_id=split.low_id, high_id=split.high_id, at_hash=split.at_hash),
        )
        with suppress(DStoreError):
            await self._peer_of(value.node).call(ask, deadline_s=SPLIT_CALL_S)

    # ----------------------------------------------------------------------- what is to be split

    async def _choose(self, term: Term, begun: Sequence[SplitRecord]) -> None:
        """Look for ranges that should be split, and begin with those of which it is known where."""
        found = await self._moves.planned(limit=1)
        memory, now_ns = self._memory, self._now_ns()
        hot_now = await in_thread(partial(hot, found.outlook, self._bounds))
        memory.hot_since_ns = {each: memory.hot_since_ns.get(each, now_ns) for each in hot_now}
        if found.is_paused:
            memory.sampled = frozenset()
            return
        wished = await self._wished(found.outlook.placed)
        wanted = await in_thread(
            partial(
                due,
                found.outlook,
                self._bounds,
                sustained=sustained_of(
                    memory.hot_since_ns,
                    now_ns,
                    sustained_ns=int(self._bounds.sustained_s * NS_PER_S),
                ),
                wished=wished,
                put_off=memory.put_off_now(now_ns),
                begun={each.range_id for each in begun},
            )
        )
        now_us = self._realm.clock.wall_us()
        room = SPLITS_AT_ONCE - sum(is_awaited(each, now_us) for each in begun)
        room = min(room, SPLITS_OPEN_MAX - len(begun))  # more would be driven on by nobody
        chosen = wanted[: max(room, 0)]
        memory.sampled = frozenset([each.placed.value.range_id for each in chosen])
        for each in chosen:
            await self._begin(term, each)

    @property
    def _view(self) -> TopologyView:
        return self._realm.watcher.view

    async def _wished(self, placed: Mapping[str, object]) -> frozenset[str]:
        """Name the ranges that an operator wants split."""
        async with self._realm.plane.store.snapshot() as tx:
            found = await tasks.unfinished_of(tx, SPLIT_RANGE)
        named = {_subject(each.parameters).range_id for each in found}
        # What was refused to somebody who wants it no more is nothing to who asks next.
        self._refused = {key: why for key, why in self._refused.items() if key in named}
        return frozenset(each for each in named if each in placed and each not in self._refused)

    async def _begin(self, term: Term, wanted: Splittable) -> None:
        """Find out where a range is to be cut, and write that down."""
        value, why = wanted.placed.value, wanted.why
        of = SampleOf.REQUESTS if why is SplitWhy.HEAT else SampleOf.BYTES
        try:
            peer = self._peer_of(value.node)
            ask = AskSample(range_id=value.range_id, epoch=value.epoch, of=of)
            sampled = await peer.call(ask, deadline_s=SPLIT_CALL_S)
            if sampled.buckets is None:
                return
            at_hash = point_of(sampled.buckets, wanted.placed, why, bounds=self._bounds)
            self._memory.sampled -= {value.range_id}
            if at_hash is None:
                self._refuse(value.range_id, why, reason=_NO_POINT)
                return
            begun = await split_steps.begin(
                self._realm, term, wanted.placed, at_hash=at_hash, why=why
            )
        except NotLeading:
            raise
        except Refused as error:
            self._refuse(value.range_id, why, reason=error.message)
            return
        except DStoreError as error:
            _log.info("split_not_begun", range=value.range_id, reason=error.message)
            return
        if begun is None:
            return
        self._open.add(value.range_id)
        self._counts.begun += 1
        self._rounds.wake()
        _log.info(
            "split_begun",
            range=value.range_id,
            at_hash=at_hash,
            why=str(why),
            low=begun.low_id,
            high=begun.high_id,
        )

    def _refuse(self, range_id: str, why: SplitWhy, *, reason: str) -> None:
        """Split a range not, or not now."""
        _log.info("range_cannot_be_split", range=range_id, why=str(why), reason=reason)
        if why is SplitWhy.OPERATOR:
            self._refused[range_id] = reason
        else:
            self._memory.put_off((range_id, why), self._now_ns())

    # ------------------------------------------------------------------------------ as tasks

    async def _follow(self, step: Step) -> None:
        """Say how far a split is until the range is no more, or can't be split."""
        realm, written = self._realm, ""
        range_id = RangeId(_subject(step.task.parameters).range_id)
        while True:
            async with realm.plane.store.snapshot() as tx:
                is_there = await tables.get_range(tx, range_id) is not None
                split = await splits.get(tx, range_id)
            if (why := self._refused.pop(range_id, "")) and await fail(realm, step, why):
                return
            shown = msgspec.json.encode(_progress(split)).decode()
            if shown != written:
                if not await report(realm, step, shown):
                    return
                written = shown
            if not is_there:
                return
            await asyncio.sleep(MOVES_FOLLOWED_S)


def _subject(parameters: str) -> SplitSubject:
    return msgspec.json.decode(parameters, type=SplitSubject)


def _progress(split: SplitRecord | None) -> dict[str, str]:
    if split is None:
        return {"state": "waiting"}
    return {"state": str(split.state), "at": f"{split.at_hash:08x}", "why": str(split.why)}
