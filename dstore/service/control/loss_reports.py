"""What an operator is told of a range that can't be opened any more, and says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.storage.control.records import RangeId, TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftRow:
    """A replica of such a range.

    Attributes:
        node: its UUID.
        state: in_sync or learner, as the range's value has it.
        is_alive: whether the node holds its lease.
        is_heard: whether it has answered; what follows is known only then.
        is_same_disk: whether it is the disk that the range's value means.
        is_whole: whether all its rows are there.
        is_damaged: whether the node has found something of it that can't be read.
        epoch, sequence: where its log ends.
        newest_at_us: when the newest record in its log was made, wall time; 0: it has none.
        entries: as the node last said, alive or not; an estimate.
    """

    node: str
    state: str
    is_alive: bool
    is_heard: bool = False
    is_same_disk: bool = False
    is_whole: bool = False
    is_damaged: bool = False
    epoch: int = 0
    sequence: int = 0
    newest_at_us: int = 0
    entries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LossReport:
    """What is left of a range, and what accepting that would mean.

    Attributes:
        has_possible_loss: whether it says so of itself already.
        replicas: all of them.
        best: the node whose replica would serve; None: there is none. It is a damaged one only if
            all are that could.
        missing: the nodes that have to be named as gone for good.
        is_lossless: whether every acknowledged write is in what is left.
        why_not: why nothing is to be accepted, in a sentence; "" if something is.
    """

    tenant: str
    table: str
    range_id: str
    low_hash: int
    high_hash: int
    epoch: int
    has_possible_loss: bool
    replicas: tuple[LeftRow, ...]
    best: str | None
    missing: tuple[str, ...]
    is_lossless: bool
    why_not: str


class Losing(Protocol):
    """What an operator asks and says about ranges whose replicas are gone (ADR 0023).

    Methods raise Refused(NOT_FOUND): there is no such range. Unavailable: the store or the
    coordinator can't be reached, or the topology is not known as it is now. Unknown: it may be
    written down.
    """

    async def report(self, range_id: RangeId) -> LossReport:
        """Ask all replicas, and say what is left; nothing is changed."""

    async def accept(
        self, range_id: RangeId, *, gone: Sequence[str], reason: str, actor: str
    ) -> TaskId:
        """Let the best of what is left serve. Returns: the task that does it.

        Args:
            range_id: the range.
            gone: the nodes of all its in-sync replicas that are missing.
            reason: kept in the audit log and the notice.
            actor: who says so.
        Raises: Refused(CONFLICT): nothing is to be accepted, or somebody is missing who was not
            named; nothing was changed.
        """

    async def clear(self, range_id: RangeId, *, reason: str, actor: str) -> TaskId:
        """Say of a range no longer that it may have lost writes. Returns: the task that does it."""
