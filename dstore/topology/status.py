"""What a process's view of the topology is worth, for an operator."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dstore.base.limits import TOPOLOGY_DOUBTED_S, TOPOLOGY_SILENCE_S
from dstore.topology.coordinator import Revision
from dstore.topology.fold import Problem


class TopologyState(StrEnum):
    """What the view is worth."""

    EMPTY = "empty"  # nothing is known yet
    COPY = "copy"  # from the disk: the coordinator has not been heard since the start
    LIVE = "live"  # as the coordinator had it when it was last heard
    FROZEN = "frozen"  # the coordinator went back in time; nothing is taken from it


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyStatus:
    """The watcher for an operator; `heard_ms_ago` is None before the coordinator was heard.

    `problems` are the first TOPOLOGY_PROBLEMS_SHOWN of `problem_count`.
    """

    state: TopologyState
    sentence: str
    cluster_id: str
    revision: Revision
    heard_ms_ago: int | None
    problem_count: int
    problems: tuple[Problem, ...]
    ignored_keys: int

    @property
    def is_silent(self) -> bool:
        """Whether the coordinator has not been heard for so long that it must be away."""
        return (self.heard_ms_ago or 0) >= TOPOLOGY_SILENCE_S * 1_000

    @property
    def is_current(self) -> bool:
        """Whether the view is what the coordinator has, but for what it is just about to tell."""
        heard_ms_ago = self.heard_ms_ago
        is_heard = heard_ms_ago is not None and heard_ms_ago < TOPOLOGY_DOUBTED_S * 1_000
        return self.state is TopologyState.LIVE and is_heard


def sentence(
    state: TopologyState, *, revision: Revision, heard_ms_ago: int | None, frozen_since: str
) -> str:
    """Say in a sentence what the view is worth; `frozen_since` is a sentence of its own."""
    match state:
        case TopologyState.EMPTY:
            return "The topology is not known yet: the coordinator has not answered."
        case TopologyState.COPY:
            return (
                f"The topology is the last copy, of revision {revision}: the coordinator has "
                "not answered since the start."
            )
        case TopologyState.FROZEN:
            return (
                f"Topology rolled back: {frozen_since} What was known at revision "
                f"{revision} goes on being used; nothing new is taken over."
            )
        case TopologyState.LIVE:
            silent_s = (heard_ms_ago or 0) // 1_000
            if silent_s < TOPOLOGY_SILENCE_S:
                return f"The topology is that of revision {revision}."
            return (
                f"The coordinator has been silent for {silent_s} s; the topology of revision "
                f"{revision} goes on being used."
            )
