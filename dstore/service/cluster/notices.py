"""What a node tells control of its own accord, in a sentence: its disk is low, a file damaged."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING

from dstore.base.clock import NS_PER_S
from dstore.base.limits import (
    NOTICE_DETAILS_CHARS_MAX,
    NOTICE_REPEAT_S,
    NOTICES_WAITING_MAX,
    UNKNOWN_RANGE_GRACE_S,
)
from dstore.base.logging import get_logger
from dstore.service.calls.key_calls import UNKNOWN_RANGE
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.backoff import Backoff
from dstore.topology.coordinator import CoordinatorError

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.model.errors import Corrupt, DStoreError
    from dstore.topology.coordinator import Coordinator

_log = get_logger(__name__)


class NoticeKind(StrEnum):
    """What it is about; the words stand in the coordinator."""

    DISK_LOW = "disk_low"
    DAMAGED = "damaged"
    DIFFERENT = "different"  # replicas of one range are not the same
    REPAIRED = "repaired"
    INDEX_LOST = "index_lost"  # it has to be made anew
    OLD_COPY = "old_copy"
    CONFLICT = "conflict"  # what control decided cannot be done here
    UNKNOWN_RANGE = UNKNOWN_RANGE  # nobody else knows of it


class NodeNotices:
    """Tells control; the same again only after NOTICE_REPEAT_S. Used from one event loop."""

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        node: keys.ComponentId,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """Begin with nothing to tell; `node` is whose notices they are."""
        self._coordinator = coordinator
        self._node = node
        self._clock = clock
        self._backoff = Backoff(entropy)
        self._waiting: deque[values.Notice] = deque()
        self._told_ns: dict[tuple[NoticeKind, str], int] = {}
        # Of ranges that nobody else knows of: since when, and when that was heard last.
        self._unknown_ns: dict[str, tuple[int, int]] = {}
        self._last_us = 0
        self._is_due = asyncio.Event()

    def tell(self, kind: NoticeKind, details: str, *, about: str = "") -> None:
        """Tell something.

        Args:
            kind: what it is.
            details: a sentence for the operator.
            about: what of; the same kind about something else is told beside it.
        """
        now_ns = self._clock.monotonic_ns()
        since_ns = now_ns - NOTICE_REPEAT_S * NS_PER_S
        told_ns = self._told_ns.get((kind, about))
        if told_ns is not None and told_ns > since_ns:
            return
        _log.warning("notice", kind=kind, about=about, details=details)
        if len(self._waiting) >= NOTICES_WAITING_MAX:
            return  # the log has it
        self._told_ns = {name: at for name, at in self._told_ns.items() if at > since_ns}
        if len(self._told_ns) < NOTICES_WAITING_MAX:
            self._told_ns[kind, about] = now_ns
        details = details[:NOTICE_DETAILS_CHARS_MAX]
        self._waiting.append(values.Notice(details=details, kind=kind))
        self._is_due.set()

    def tell_of_full_disk(self, free_bytes: int) -> None:
        """Tell that writes are refused."""
        details = f"Node {self._node} takes no writes: its disk has {free_bytes} bytes left."
        self.tell(NoticeKind.DISK_LOW, details)

    def tell_of_copy(self) -> None:
        """Tell that this directory, or the coordinator, was put back from earlier."""
        self.tell(
            NoticeKind.OLD_COPY,
            f"Node {self._node} and the coordinator disagree about its former starts: its data "
            "directory, or the coordinator, is an old copy. Writes may be missing there; it goes "
            "on as another disk.",
        )

    def tell_of_shortfall(self, node: str) -> None:
        """Tell that another node has less than it has acknowledged; once for all its ranges."""
        self.tell(
            NoticeKind.OLD_COPY,
            f"Node {node} lacks records that it had said it holds: its data directory is an older "
            f"copy of itself, or its disk loses what it was told to keep. It learns again from "
            f"node {self._node} what it lacks.",
            about=node,
        )

    def tell_of_damage(self, range_id: str, error: Corrupt) -> None:
        """Tell that something in a range does not open."""
        details = f"Node {self._node}, range {range_id}: {error.message}"
        self.tell(NoticeKind.DAMAGED, details, about=range_id)

    def tell_of_fault(self, range_id: str, why: str) -> None:
        """Tell that a replica of a range has another content than its primary."""
        details = f"Node {self._node}, its replica of range {range_id}: {why}"
        self.tell(NoticeKind.DAMAGED, details, about=range_id)

    def tell_of_scrub(self, kind: NoticeKind, range_id: str, text: str) -> None:
        """Tell what a scrub of a range has found, or that it is repaired."""
        self.tell(kind, f"Range {range_id}: {text}", about=f"scrub of {range_id}")

    def tell_of_lost_index(self, range_id: str, index: str) -> None:
        """Tell that an index can't be brought up to date; it is named by its table and itself."""
        self.tell(
            NoticeKind.INDEX_LOST,
            f"Range {range_id} of table {index}: it was out of reach for so long that the changes "
            "meanwhile are not kept any more, or the range has lost records that it had. It is not "
            "right any more: dstore table rebuild-index",
            about=f"{range_id} {index}",
        )

    def tell_of_conflict(self, name: tuple[str, str], error: DStoreError) -> None:
        """Tell that what control decided of a table, by tenant and name, cannot be done here."""
        table = "/".join(name)
        details = f"Node {self._node} can't hold what it is given of {table}: {error.message}"
        self.tell(NoticeKind.CONFLICT, details, about=table)

    def tell_of_unknown(self, range_id: str, table: str) -> None:
        """Tell of a range that nobody else knows of, once that was so for UNKNOWN_RANGE_GRACE_S."""
        now_ns = self._clock.monotonic_ns()
        grace_ns = UNKNOWN_RANGE_GRACE_S * NS_PER_S
        self._unknown_ns = {
            each: heard for each, heard in self._unknown_ns.items() if now_ns - heard[1] < grace_ns
        }
        since_ns, _ = self._unknown_ns.get(range_id, (now_ns, now_ns))
        self._unknown_ns[range_id] = since_ns, now_ns
        if now_ns - since_ns < grace_ns:
            return
        self.tell(
            NoticeKind.UNKNOWN_RANGE,
            f"Node {self._node} keeps range {range_id} of {table}, of which neither the topology "
            "nor control's store know: one of them may be older than it. If it is of no use, "
            f"dstore node discard {self._node} {range_id} removes it.",
            about=range_id,
        )

    async def run(self) -> None:
        """Write what waits, until cancelled; a notice may be written twice, and is never lost."""
        while True:
            await self._is_due.wait()
            notice = self._waiting[0]
            self._last_us = max(self._clock.wall_us(), self._last_us + 1)
            path = keys.NoticePath(self._node, self._last_us)
            try:
                await self._coordinator.put(path.path, values.encode(notice))
            except CoordinatorError as error:
                _log.warning("notice_not_written", reason=error.message)
                await asyncio.sleep(self._backoff.next_s())
                continue
            self._backoff.reset()
            self._waiting.popleft()
            if not self._waiting:
                self._is_due.clear()
