"""What follows from a scrub: replicas that are wrong are copied anew, and it is told.

A wrong one leaves the in-sync set first, which never falls below what a write needs: until there
are enough without it, it counts on. A primary that is wrong hands over to a replica that is not,
and has that one scrub the range: it finds what is to be repaired by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.limits import REPLICA_CALL_TIMEOUT_S, REPLICA_TENDED_MS
from dstore.base.logging import get_logger
from dstore.base.scrub_limits import (
    SCRUB_AGAIN_MS,
    SCRUB_NAMED_MAX,
    SCRUB_REPAIRED_S,
    SCRUB_RETRY_S,
    SCRUB_TRIES,
)
from dstore.model.errors import DStoreError
from dstore.replication.scrub_calls import AskScrubs
from dstore.replication.surroundings import pause_ms, since_ms
from dstore.service.cluster.notices import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dstore.base.metrics import ScrubMetrics
    from dstore.replication.primary import Primary
    from dstore.replication.replica import Replica
    from dstore.replication.scrubbing import Findings
    from dstore.replication.surroundings import Surroundings
    from dstore.service.cluster.notices import NodeNotices

_log: Final = get_logger(__name__)


class ScrubRepairs:
    """Repairs what scrubs have found, and tells of it. Used from one event loop."""

    def __init__(
        self,
        around: Surroundings,
        serving: Callable[[str], Primary | None],
        *,
        notices: NodeNotices,
        counts: ScrubMetrics,
    ) -> None:
        """Work among `around`.

        Args:
            around: what the node's replicas share.
            serving: finds the primary of a range that is served here.
            notices: tell the operator.
            counts: tell whoever measures.
        """
        self._around = around
        self._serving = serving
        self._notices = notices
        self._counts = counts
        self._repairing: dict[str, set[str]] = {}  # nodes, by range
        self._wrong: dict[str, set[str]] = {}  # the same, until they are right again

    def repairing(self, range_id: str) -> int:
        """How many replicas of a range are being copied anew."""
        return len(self._repairing.get(range_id, ()))

    def is_open(self, range_id: str) -> bool:
        """Tell whether a replica of a range was found wrong that is not right again."""
        return bool(self._wrong.get(range_id))

    async def follow(self, replica: Replica, primary: Primary, findings: Findings) -> str:
        """Do what follows from what was found. Returns: a sentence about it, "" if all is well."""
        me, wrong = self._around.node, findings.to_be_repaired
        told = _sentence(findings)
        range_id = primary.range_id
        left = self._wrong.pop(range_id, set()) & self._repairing.get(range_id, set())
        if wrong | left:
            self._wrong[range_id] = wrong | left
        if me in wrong:
            others = [each.node for each in primary.in_sync]
            heirs = [each for each in others if each not in wrong | findings.unread]
            told.append(await self._hand_over(replica, primary, heirs))
        else:
            told += [self._copy_anew(primary, node) for node in sorted(wrong)]
        text = " ".join(told)
        if text:
            kind = NoticeKind.DAMAGED if findings.damaged else NoticeKind.DIFFERENT
            self._notices.tell_of_scrub(kind, primary.range_id, text)
        return text

    async def _hand_over(self, replica: Replica, primary: Primary, heirs: list[str]) -> str:
        if not heirs:
            return "No other replica in sync is known to be right: this one serves on."
        replica.is_damaged = True  # so that nobody counts on it, once another one is primary
        for heir in heirs * SCRUB_TRIES:
            if primary.is_closed:
                return "Another node is the primary now, and repairs it."
            try:
                await replica.hand_over(heir)
            except DStoreError as error:
                _log.info("scrub_not_handed_over", node=heir, reason=error.message)
                await pause_ms(SCRUB_AGAIN_MS)
                continue
            return f"Node {heir} is the primary now, and repairs it."
        return "The range could not be handed over; it is tried again."

    async def ask(self, range_id: str, node: str) -> bool:
        """Have another node scrub a range of which it is the primary. Returns: whether it will."""
        request = AskScrubs(range_ids=(range_id,), begins=True)
        try:
            peer = self._around.peer_of(node)
            answer = await peer.call(request, deadline_s=REPLICA_CALL_TIMEOUT_S)
        except DStoreError as error:
            _log.info("scrub_not_asked", node=node, reason=error.message)
            return False
        return answer.told[0] is not None

    def _copy_anew(self, primary: Primary, node: str) -> str:
        """Have a replica leave the set and copied anew. Returns: a sentence about it."""
        if primary.condemn(node):
            return f"The replica on node {node} is copied anew."
        return (
            f"The replica on node {node} is copied anew once enough others are in sync for a write."
        )

    def watch(self, range_id: str, node: str) -> None:
        """Hear that a replica is to be copied anew; tell when it is right again."""
        repairing = self._repairing.setdefault(range_id, set())
        self._wrong.setdefault(range_id, set()).add(node)
        if node not in repairing:
            repairing.add(node)
            self._around.tasks.spawn(self._watch(range_id, node), name="watch_repair")

    async def _watch(self, range_id: str, node: str) -> None:
        """Wait until a replica is right again; another primary would find out for itself."""
        try:
            if await self._is_repaired(range_id, node):
                self._counts.repairs += 1
                self._wrong.get(range_id, set()).discard(node)
                _log.warning("scrub_repaired", range=range_id, node=node)
                text = f"The replica on node {node} was copied anew and is in sync."
                self._notices.tell_of_scrub(NoticeKind.REPAIRED, range_id, text)
        finally:
            left = self._repairing[range_id]
            left.discard(node)
            if not left:
                del self._repairing[range_id]

    async def _is_repaired(self, range_id: str, node: str) -> bool:
        """Wait for it. Returns: False if this is not the primary any more."""
        clock = self._around.clock
        began_ns, has_served = clock.monotonic_ns(), False
        while since_ms(clock, began_ns) < SCRUB_REPAIRED_S * 1_000:
            await pause_ms(REPLICA_TENDED_MS)
            primary = self._serving(range_id)
            if primary is None:
                if has_served or since_ms(clock, began_ns) > SCRUB_RETRY_S * 1_000:
                    return False
                continue  # it is being opened
            has_served = True
            follower = primary.follower(node)
            if follower is None:
                return False
            if follower.is_required and not follower.is_wrong:
                return True
        return False


def _sentence(findings: Findings) -> list[str]:
    """Say what was found, in sentences."""
    told = []
    if findings.damaged:
        told.append(f"Damaged files: on {_named(findings.damaged)}.")
    if findings.wrong:
        each = ", ".join(
            f"{count} on node {node}" for node, count in sorted(findings.wrong.items())
        )
        told.append(f"Entries that most replicas have otherwise: {each}.")
    if findings.undecided:
        told.append(
            f"{findings.undecided} entries are not the same in all {findings.replicas} replicas, "
            "and nobody can tell which one is right: nothing was changed."
        )
    return told


def _named(nodes: Iterable[str]) -> str:
    names = sorted(nodes)
    more = f" and {len(names) - SCRUB_NAMED_MAX} more" if len(names) > SCRUB_NAMED_MAX else ""
    return f"node {', '.join(names[:SCRUB_NAMED_MAX])}{more}"
