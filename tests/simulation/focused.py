"""Short plays of a replicated range with few kinds of trouble, each about some sentences only.

What happens once in hundreds of seeds where everything happens is here in one of a few.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.simulation.faults import Fault
from tests.simulation.intrigues import Intrigues
from tests.simulation.replicated import REPLICATED, ReplicatedCluster
from tests.simulation.whole_cluster import WHOLE, WholeCluster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.world import World


class LonelyCluster(ReplicatedCluster):
    """A range whose writes need no majority: nothing but the set keeps what is acknowledged."""

    kinds = frozenset(
        {"open_swap", "exchange", "betrayal", "succession", "storm", "kill", "hand_over"}
    )

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world)
        self.factor = 1

    def faults(self) -> Sequence[Fault]:
        """Befall primaries, and whoever changes the set."""
        return [each for each in super().faults() if each.name in self.kinds]


class DeposedCluster(LonelyCluster):
    """A range whose primaries are deposed while their leases last."""

    kinds = frozenset({"coup", "hand_over", "lease_lost"})

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world)
        self.factor = 3


class SeveredCluster(LonelyCluster):
    """A range whose primaries live, and do not hear the others."""

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world)
        self.factor = 3

    def faults(self) -> Sequence[Fault]:
        """Cut primaries off from other nodes."""
        return (Fault(name="sever", strike=Intrigues(self).sever),)


LONELY: Final = replace(
    REPLICATED,
    name="lonely",
    build=LonelyCluster,
    duration_s=25.0,
    think_s=0.2,
    fault_pause_s=1.5,
    interesting=frozenset({"log.handed_over", "log.failed_over", "members_changed"}),
)
DEPOSED: Final = replace(
    LONELY,
    name="deposed",
    build=DeposedCluster,
    interesting=frozenset({"log.handed_over", "log.failed_over"}),
)
SEVERED: Final = replace(
    LONELY,
    name="severed",
    build=SeveredCluster,
    duration_s=100.0,
    interesting=frozenset({"log.replicas_not_heard", "taken_over_unheard"}),
)


class UnseenCluster(WholeCluster):
    """A whole cluster whose tables come and go while the coordinator is hard to see."""

    churn_s = (0.1, 0.8)
    kinds = frozenset({"coordinator_away", "coordinator_gap", "decision_lost", "storm"})

    def faults(self) -> Sequence[Fault]:
        """Befall the coordinator, and what it says."""
        return [each for each in super().faults() if each.name in self.kinds]


UNSEEN: Final = replace(
    WHOLE,
    name="unseen",
    build=UnseenCluster,
    duration_s=20.0,
    think_s=0.4,
    fault_pause_s=0.8,
    interesting=frozenset({"coordinator_compacted", "table.there.ok", "table.None.ok"}),
)
