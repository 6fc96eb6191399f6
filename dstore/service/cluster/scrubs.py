"""When a node's ranges are scrubbed: each about once in a period, one at a time, at a slow pace.

The primary of a range does it; when it was done is noted by every replica, so that another primary
goes on from there. What somebody asks for, or what was found damaged, comes first and goes faster.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_S, US_PER_S
from dstore.base.limits import NOTES_AT_ONCE, REPLICA_CALL_TIMEOUT_S
from dstore.base.logging import get_logger
from dstore.base.metrics import ScrubMetrics
from dstore.base.scrub_limits import (
    SCRUB_ASKED_FASTER,
    SCRUB_ASKED_LOOK_S,
    SCRUB_BYTES_S,
    SCRUB_LOOK_S,
    SCRUB_PERIOD_S,
    SCRUB_RETRY_S,
    SCRUBS_ASKED_MAX,
)
from dstore.model.errors import DStoreError
from dstore.replication.peers.calls import Answered
from dstore.replication.scrub_calls import ASK_SCRUBS, NoteScrub, ScrubsTold, ScrubTold
from dstore.replication.scrubbing import Scrub
from dstore.service.cluster.scrub_repairs import ScrubRepairs

if TYPE_CHECKING:
    from typing import Any

    from dstore.base.entropy import Entropy
    from dstore.replication.peers.port import Received
    from dstore.replication.primary import Primary
    from dstore.replication.replica import Replica
    from dstore.replication.replicas import Replicas
    from dstore.replication.scrub_calls import AskScrubs
    from dstore.replication.scrubbing import Findings
    from dstore.replication.surroundings import Surroundings
    from dstore.service.cluster.notices import NodeNotices
    from dstore.service.holdings import Holdings

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubSettings:
    """What an operator decides about scrubs, and who counts them."""

    period_s: float = SCRUB_PERIOD_S
    bytes_s: int = SCRUB_BYTES_S
    counts: ScrubMetrics


@dataclass(slots=True, kw_only=True)
class _State:
    """What there is to say of a range's scrub; `retry_ns` is before when it is not begun again."""

    is_running: bool = False
    done_bytes: int = 0
    total_bytes: int = 0
    damaged: int = 0
    different: int = 0
    why: str = ""
    is_unclear: bool = False  # something differs, or could not be read
    tries: int = 0  # in a row that failed, or did not read everything
    retry_ns: int = 0
    ended_ns: int | None = None


class Scrubs:
    """Scrubs the ranges that a node is the primary of. Used from one event loop."""

    def __init__(
        self,
        replicas: Replicas,
        around: Surroundings,
        holdings: Holdings,
        *,
        settings: ScrubSettings,
        notices: NodeNotices,
        entropy: Entropy,
    ) -> None:
        """Work on `replicas`; `holdings` has their files, and notes when they were scrubbed."""
        self._replicas = replicas
        self._around = around
        self._holdings = holdings
        self._settings = settings
        self._entropy = entropy
        self._counts = settings.counts
        self._repairs = ScrubRepairs(around, self._primary, notices=notices, counts=settings.counts)
        self._asked: dict[str, None] = {}  # in the order in which they came
        self._states: dict[str, _State] = {}
        self._is_due = asyncio.Event()

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls and their handlers."""
        return (Answered(call=ASK_SCRUBS, handler=self._told),)

    def is_running(self, range_id: str) -> bool:
        """Tell whether a range is being scrubbed from here."""
        state = self._states.get(range_id)
        return state is not None and state.is_running

    def ask(self, range_id: str) -> None:
        """Have a range scrubbed as soon as may be, here or by its primary."""
        if range_id in self._holdings.ranges and len(self._asked) < SCRUBS_ASKED_MAX:
            self._asked[range_id] = None
            self._is_due.set()

    def suspect(self, range_id: str) -> None:
        """Hear that something in a range is damaged: as `ask`, but not again at once."""
        state = self._state(range_id)
        if state.ended_ns is not None and range_id not in self._asked:
            again_ns = state.ended_ns + int(SCRUB_RETRY_S * NS_PER_S)
            state.retry_ns = max(state.retry_ns, again_ns)
        self.ask(range_id)

    def condemned(self, range_id: str, node: str) -> None:
        """Hear that a replica of a range on another node is copied anew; it is told when it is."""
        self._repairs.watch(range_id, node)

    def served(self, range_id: str) -> None:
        """Hear that a range is served here from now on: what was asked of it can be done."""
        if range_id in self._asked:
            self._state(range_id).retry_ns = 0
            self._is_due.set()

    async def run(self) -> None:
        """Scrub what is due, until cancelled."""
        while True:
            self._is_due.clear()
            await self._note_first_sights()
            range_id = self._next()
            if range_id is not None:
                await self._do(range_id)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(SCRUB_ASKED_LOOK_S if self._asked else SCRUB_LOOK_S):
                    await self._is_due.wait()

    # ---------------------------------------------------------------------------- what is due

    async def _note_first_sights(self) -> None:
        """Begin the time of ranges that nobody has scrubbed yet at some moment of a period."""
        new = [each.range_id for each in self._holdings.ranges.values() if not each.scrubbed_at_us]
        period_us, now_us = int(self._settings.period_s * US_PER_S), self._around.clock.wall_us()
        for start in range(0, len(new), NOTES_AT_ONCE):
            some = new[start : start + NOTES_AT_ONCE]
            times = [
                (each, max(1, now_us - period_us * self._entropy.token(1)[0] // 256))
                for each in some
            ]
            try:
                await self._holdings.note_scrubs(times)
            except DStoreError as error:
                _log.warning("scrub_not_noted", reason=error.message)
                return

    def _next(self) -> str | None:
        """Choose what is scrubbed next: what was asked for, then what waits the longest."""
        now_ns = self._around.clock.monotonic_ns()
        for range_id in list(self._asked):
            if range_id not in self._holdings.ranges:
                del self._asked[range_id]
            elif self._state(range_id).retry_ns <= now_ns:
                return range_id
        oldest: tuple[int, str] | None = None
        for held in self._holdings.ranges.values():
            if self._serving(held.range_id) is None or not held.scrubbed_at_us:
                continue
            if oldest is None or held.scrubbed_at_us < oldest[0]:
                state = self._states.get(held.range_id)
                if state is None or state.retry_ns <= now_ns:
                    oldest = held.scrubbed_at_us, held.range_id
        if oldest is None:
            self._counts.oldest_s = 0.0
            return None
        age_s = (self._around.clock.wall_us() - oldest[0]) / US_PER_S
        self._counts.oldest_s = max(0.0, age_s)
        return oldest[1] if age_s >= self._settings.period_s else None

    def _serving(self, range_id: str) -> tuple[Replica, Primary] | None:
        replica = self._replicas.of(range_id)
        primary = None if replica is None else replica.serving
        return None if replica is None or primary is None else (replica, primary)

    def _primary(self, range_id: str) -> Primary | None:
        serving = self._serving(range_id)
        return None if serving is None else serving[1]

    def _state(self, range_id: str) -> _State:
        return self._states.setdefault(range_id, _State())

    # --------------------------------------------------------------------------- what is done

    async def _do(self, range_id: str) -> None:
        """Scrub a range, or pass on that somebody has asked for it."""
        serving, state = self._serving(range_id), self._state(range_id)
        if serving is None:
            if await self._pass_on(range_id):
                self._end(range_id, state)
            else:  # it is about to be opened, here or elsewhere
                now_ns = self._around.clock.monotonic_ns()
                state.retry_ns = now_ns + int(SCRUB_ASKED_LOOK_S * NS_PER_S)
            return
        is_asked = range_id in self._asked
        state.is_running, state.done_bytes = True, 0
        state.total_bytes = self._total_bytes(range_id, serving[1])
        try:
            is_whole = await self._scrub(*serving, state, is_asked=is_asked)
        except DStoreError as error:
            _log.info("scrub_ended", range=range_id, reason=error.message)
            state.why, state.is_unclear = error.message, True
            is_whole = False
        finally:
            state.is_running = False
        if serving[1].is_closed and (is_asked or not is_whole):
            self.ask(range_id)  # of whoever is the primary now
            return
        self._asked.pop(range_id, None)
        if is_whole:
            self._end(range_id, state)
        else:
            self._put_off(state)

    async def _scrub(
        self, replica: Replica, primary: Primary, state: _State, *, is_asked: bool
    ) -> bool:
        """Scrub a range here. Returns: whether all of it was read, and nothing is left to do."""
        bytes_s = self._settings.bytes_s * (SCRUB_ASKED_FASTER if is_asked else 1)

        async def pace(size_bytes: int) -> None:
            state.done_bytes += size_bytes
            self._counts.bytes_read += size_bytes
            await asyncio.sleep(size_bytes / bytes_s)

        _log.info("scrub_begins", range=primary.range_id)
        findings = await Scrub(primary, self._around, pace=pace).run()
        state.damaged, state.different = len(findings.damaged), findings.different
        self._counts.ranges += 1
        self._counts.damaged += state.damaged
        self._counts.different += state.different
        state.is_unclear = bool(findings.undecided or findings.unread)
        state.why = await self._repairs.follow(replica, primary, findings)
        _log.info(
            "scrub_done",
            range=primary.range_id,
            size_bytes=findings.bytes_read,
            damaged=sorted(findings.damaged),
            different=state.different,
            unread=sorted(findings.unread),
        )
        if findings.unread:
            state.why = f"{state.why} Not all replicas could be read.".lstrip()
            return False
        if self._around.node in findings.to_be_repaired:
            return False
        await self._note(primary, findings)
        return True

    async def _note(self, primary: Primary, findings: Findings) -> None:
        """Have every replica remember that the range was scrubbed."""
        at_us = self._around.clock.wall_us()
        others = [each for each in primary.in_sync if each.node not in findings.to_be_repaired]
        with suppress(DStoreError):
            await self._around.files.note_scrub(primary.range_id, at_us)
        for each in others:
            request = NoteScrub(
                range_id=primary.range_id, incarnation=each.incarnation, at_us=at_us
            )
            with suppress(DStoreError):
                peer = self._around.peer_of(each.node)
                await peer.call(request, deadline_s=REPLICA_CALL_TIMEOUT_S)

    async def _pass_on(self, range_id: str) -> bool:
        """Ask the primary, if it is another node. Returns: whether nothing is left to do here."""
        replica = self._replicas.of(range_id)
        placed = None if replica is None else replica.placed
        if placed is None or placed.value.node == self._around.node:
            return False
        return await self._repairs.ask(range_id, placed.value.node)

    def _end(self, range_id: str, state: _State) -> None:
        self._asked.pop(range_id, None)
        state.tries = state.retry_ns = 0
        state.ended_ns = self._around.clock.monotonic_ns()

    def _put_off(self, state: _State) -> None:
        """Try again after a while, the longer the more often it was tried."""
        wait_s = min(SCRUB_RETRY_S * 2**state.tries, self._settings.period_s)
        state.tries = min(state.tries + 1, 16)
        state.ended_ns = self._around.clock.monotonic_ns()
        state.retry_ns = state.ended_ns + int(wait_s * NS_PER_S)

    def _total_bytes(self, range_id: str, primary: Primary) -> int:
        """Guess what is to be read: the files, and most of them once more as rows."""
        counts, held = self._holdings.counts, self._holdings.ranges[range_id]
        return 2 * (1 + len(primary.in_sync)) * counts.size_bytes((held.ref,))

    # ------------------------------------------------------------------------------ for others

    async def _told(self, request: AskScrubs, _received: Received) -> ScrubsTold:
        if request.begins:
            for range_id in request.range_ids:
                self.ask(range_id)
        return ScrubsTold(told=tuple(map(self._tell, request.range_ids)))

    def _tell(self, range_id: str) -> ScrubTold | None:
        held = self._holdings.ranges.get(range_id)
        if held is None:
            return None
        state = self._states.get(range_id) or _State()
        return ScrubTold(
            range_id=range_id,
            is_waiting=range_id in self._asked and not state.is_running,
            is_running=state.is_running,
            done_bytes=state.done_bytes,
            total_bytes=max(state.total_bytes, state.done_bytes),
            scrubbed_at_us=held.scrubbed_at_us,
            damaged=state.damaged,
            different=state.different,
            repairing=self._repairs.repairing(range_id),
            is_open=state.is_unclear or self._repairs.is_open(range_id),
            why=state.why,
        )
