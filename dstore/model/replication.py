"""What a number of replicas means: pure arithmetic, said in one place."""

from __future__ import annotations

from enum import StrEnum


class Outage(StrEnum):
    """How a range is with one of its nodes down, once another has taken over what it did."""

    UNAVAILABLE = "unavailable"
    READ_ONLY = "readOnly"  # what is acknowledged is kept by those that are left
    NONE = "none"


def majority(factor: int) -> int:
    """Say how many of `factor` >= 1 replicas must hold a write before it is acknowledged."""
    return factor // 2 + 1


def with_one_node_down(factor: int) -> Outage:
    """Say how a range of `factor` >= 1 replicas is when the node of one is down."""
    if factor == 1:
        return Outage.UNAVAILABLE
    return Outage.NONE if factor - 1 >= majority(factor) else Outage.READ_ONLY
