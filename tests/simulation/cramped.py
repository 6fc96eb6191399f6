"""A replicated range whose primaries find no room on their disks, as they write or as they open it.

One disk at a time is full, for longer than anybody waits: so another replica has to lead.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dstore.model.errors import DStoreError
from tests.simulation.faults import Fault
from tests.simulation.machines import Died
from tests.simulation.replicated import REPLICATED, ReplicatedCluster

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from random import Random

    from tests.simulation.history import Call
    from tests.simulation.machines import Machine
    from tests.simulation.world import World

FULL_S: Final = (7.0, 10.0)
_WHOLE_S: Final = 0.2  # between two looks whether the next disk may fill up


class CrampedCluster(ReplicatedCluster):
    """A range of three replicas on three nodes."""

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world, nodes=3)
        self._patches.close()
        self.factor = 3
        self.slowest_s = 0.0
        self._is_one_full = False

    def faults(self) -> Sequence[Fault]:
        """Fill disks."""
        return (Fault(name="full", strike=self.fill),)

    async def do(self, client: int, key: str, call: Call) -> Hashable:
        """Note how long the slowest took, tries included."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            return await super().do(client, key, call)
        finally:
            if client:  # not those of the start
                self.slowest_s = max(self.slowest_s, loop.time() - began_s)
                self.world.trace.counts["cramped.slowest_ms"] = int(self.slowest_s * 1_000)

    async def fill(self, random: Random) -> None:
        """Fill the disk of the primary, or of a replica to which the range is handed over then."""
        if self._is_one_full:
            return
        self._is_one_full = True
        try:
            await self._fill_one(random)
        finally:
            self._is_one_full = False

    async def _fill_one(self, random: Random) -> None:
        while not await self._is_whole():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_WHOLE_S)
        leading = next(filter(self._leads, self.nodes), None)
        if leading is None:
            return
        others = [each for each in self.nodes if each is not leading]
        full = random.choice((leading, random.choice(others)))
        assert full.disk is not None
        full.disk.is_full = True
        try:
            if full is not leading:
                await self._hand_over(leading, full)
            await asyncio.sleep(random.uniform(*FULL_S))
        finally:
            full.disk.is_full = False

    def _leads(self, machine: Machine) -> bool:
        life = self.lives.get(self.nodes.index(machine) + 1)
        return machine.is_up and life is not None and life.served is not None

    async def _hand_over(self, leading: Machine, full: Machine) -> None:
        life = self.lives[self.nodes.index(leading) + 1]
        replica = life.replicas.of(self.range_id)
        assert replica is not None
        self.world.trace.event("handed_to_a_full_disk", full.name)
        with suppress(DStoreError, Died):
            await life.process.run(
                replica.hand_over(self.ids[self.nodes.index(full)]), name="hand_over"
            )


CRAMPED: Final = replace(
    REPLICATED,
    name="cramped",
    build=CrampedCluster,
    duration_s=45.0,
    think_s=0.3,
    fault_pause_s=1.0,
    interesting=frozenset({"log.range_given_on", "handed_to_a_full_disk"}),
)
