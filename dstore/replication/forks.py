"""Where two logs of one range part, by the epochs that each of them knows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dstore.storage.log_records import History


def last_common_seq(ours: tuple[History, int], theirs: tuple[History, int]) -> int:
    """Find the highest sequence up to which both logs may be equal; 0 if none is known.

    An epoch has one primary, and a primary one log: as far as two logs have an epoch's records,
    they have the same ones. So they are equal up to the end of the shorter one's part of the newest
    epoch that both have. Whether they really are, the digest there says.
    """
    our_ends = _ends(*ours)
    for epoch, end_seq in sorted(_ends(*theirs).items(), reverse=True):
        if epoch in our_ends:
            return min(end_seq, our_ends[epoch])
    return 0


def _ends(history: History, end_seq: int) -> dict[int, int]:
    """Say of each epoch where its part of the log ends."""
    ends = [start.first_seq - 1 for start in history[1:]] + [end_seq]
    return {start.epoch: end for start, end in zip(history, ends, strict=False)}
