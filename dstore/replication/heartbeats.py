"""Answering from memory what a primary sends to hear that its replica is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dstore.replication.replica_calls import AppendRecords
    from dstore.storage.log_records import LogPoint, Standing


def matched_at_once(
    request: AppendRecords, standing: Standing | None, *, promised_epoch: int
) -> LogPoint | None:
    """Tell up to where the logs are equal, if the request changes nothing; None: look at the file.

    `standing` is where the replica stands, if that is known.
    """
    if (
        standing is None
        or request.records
        or request.epoch != promised_epoch
        or request.after != standing.end
        or not standing.is_whole
        or min(request.committed_seq, request.after.seq) > standing.applied_seq
    ):
        return None
    return request.after
