"""What must hold besides linearizability; each returns a text for every violation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dstore.model.hashing import HASH_MAX
from tests.simulation.history import Add, Fate, History, Put, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def lost_writes(history: History, found: Mapping[str, Value]) -> list[str]:
    """Judge keys that are put once each: what was acknowledged is there, what failed is not.

    Args:
        history: in which each key of `found` was put at most once.
        found: every such key's value at the end.
    """
    told = []
    for operation in history:
        if not isinstance(operation.call, Put) or operation.key not in found:
            continue
        value = found[operation.key]
        if operation.fate is Fate.OK and value != operation.call.value:
            told.append(f"acknowledged, and {value!r} is there: {operation}")
        if operation.fate is Fate.FAILED and value == operation.call.value:
            told.append(f"said to have failed, and is there: {operation}")
    return told


def unconserved(history: History, found: Mapping[str, Value]) -> list[str]:
    """Judge the sum of all counters: it is what was added, give or take what is unknown."""
    least = most = 0
    for operation in history:
        if not isinstance(operation.call, Add) or operation.fate is Fate.FAILED:
            continue
        amount = operation.call.amount
        if operation.fate is Fate.OK:
            least, most = least + amount, most + amount
        else:
            least, most = least + min(amount, 0), most + max(amount, 0)
    total = sum(value for value in found.values() if isinstance(value, int))
    if least <= total <= most:
        return []
    return [f"the counters hold {total}, and {least} to {most} was added"]


def misplaced(ranges: Iterable[tuple[int, int]]) -> list[str]:
    """Judge the ranges of one table, as pairs of first and last hash: no gap, no overlap (I8)."""
    told, next_low = [], 0
    for low, high in sorted(ranges):
        if low > next_low:
            told.append(f"nobody has {next_low:#x} to {low - 1:#x}")
        if low < next_low:
            told.append(f"more than one has {low:#x} to {min(high, next_low - 1):#x}")
        next_low = max(next_low, high + 1)
    if next_low != HASH_MAX + 1:
        told.append(f"nobody has {next_low:#x} and beyond")
    return told


class Primaries:
    """Who has acknowledged in which epoch: at most one node in each (I6)."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._nodes: dict[tuple[str, int], str] = {}

    def acknowledged(self, range_id: str, epoch: int, node: str) -> list[str]:
        """Note that a node has acknowledged a write. Returns: a text if another one has before."""
        first = self._nodes.setdefault((range_id, epoch), node)
        if first == node:
            return []
        return [f"{first} and {node} have both acknowledged in epoch {epoch} of {range_id}"]


@dataclass(frozen=True, slots=True)
class Log:
    """A replica's committed records as (epoch, seq, digest), by growing seq.

    Up to `left_out_seq` there may be some missing, behind it none, and that one is marked.
    """

    records: Sequence[tuple[int, int, bytes]]
    left_out_seq: int = 0


def diverged(logs: Mapping[str, Log]) -> list[str]:
    """Judge the committed logs of one range's replicas: a position names one record (I5).

    Args:
        logs: each replica's. They may begin and end at different seqs.
    """
    told = []
    known: dict[int, tuple[str, int, bytes]] = {}
    for replica, log in logs.items():
        before = None
        for epoch, seq, digest in log.records:
            is_next = before is None or seq == before[1] + 1 or before[1] < seq <= log.left_out_seq
            if not is_next or (before is not None and epoch < before[0]):
                told.append(f"{replica} has ({epoch}, {seq}) behind {before}")
            before = (epoch, seq)
            other, other_epoch, other_digest = known.setdefault(seq, (replica, epoch, digest))
            if (epoch, digest) != (other_epoch, other_digest):
                told.append(f"{other} and {replica} differ at {seq}")
                break
    return told
