"""A replicated range whose files rot, and whose primary scrubs it all the time.

Everything else that befalls it leaves processes running: what rots on the disk of one that is then
started anew is for the short plays of `test_scrub`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.base.metrics import ScrubMetrics
from dstore.model.errors import DStoreError
from dstore.replication.scrubbing import Scrub
from dstore.service.cluster.scrub_repairs import ScrubRepairs
from dstore.storage.replica_log import Diverged
from dstore.topology.values import Malformed
from tests.simulation.faults import Fault
from tests.simulation.machines import Died
from tests.simulation.replicated import REPLICATED, ReplicatedCluster
from tests.simulation.replicated_node import RANGE_ID, number_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

    from dstore.model.errors import Corrupt
    from dstore.replication.primary import Primary
    from dstore.replication.scrubbing import Findings
    from dstore.service.cluster.notices import NoticeKind
    from tests.simulation.replicated_node import Node
    from tests.simulation.world import World

_SCRUBS_S: Final = 1.5  # between two of them
_KINDS: Final = frozenset(
    {"pause", "partition", "storm", "reset", "slow_disk", "lease_lost", "hand_over", "exchange"}
)


class Heard:
    """Takes notices."""

    def __init__(self) -> None:
        """Begin with none."""
        self.told: list[tuple[str, str]] = []

    def tell_of_scrub(self, kind: NoticeKind, _range_id: str, text: str) -> None:
        """Keep one."""
        self.told.append((kind, text))


class ScrubbedCluster(ReplicatedCluster):
    """A range that is scrubbed by whoever is its primary."""

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world)
        self.factor = 3
        self.counts = ScrubMetrics()
        self.heard = Heard()
        self._of_nodes: dict[int, tuple[Node, ScrubRepairs]] = {}
        self.rotten: int | None = None  # the node whose file has rotted, as far as is known
        self.has_edits = False  # somebody has changed rows behind the log's back

    def faults(self) -> Sequence[Fault]:
        """Let files rot, beside what slows nodes down and moves the range."""
        ordinary = [each for each in super().faults() if each.name in _KINDS]
        return [*ordinary, Fault(name="rot", strike=self.rot, weight=8.0)]

    def faulty(self, where: str, what: Corrupt) -> None:
        """Damage is part of the play; that replicas part is not."""
        if isinstance(what, Diverged):
            super().faulty(where, what)

    async def rot(self, random: Random) -> None:
        """Flip a bit of one replica's file, while all others are known to be right."""
        try:
            value = await self._value()
        except Malformed:
            return
        if self.rotten is not None or len(value.in_sync) < len(value.replicas):
            return
        number = number_of(random.choice(value.in_sync).node)
        life, disk = self.lives[number], self.nodes[number - 1].disk
        assert disk is not None
        try:  # else what rots is old, and the log has what is true
            await life.process.run(self._fold(life), name="fold")
        except (DStoreError, Died):
            return
        path, self.rotten = self.file_of(number), number
        disk.rot(path)
        life.sim_files.on_anew = self._mended
        self.world.trace.event("rotten", f"node-{number}")

    async def _fold(self, life: Node) -> None:
        file = await life.open_file(RANGE_ID)
        if not file.is_folding:
            await file.fold()

    def _mended(self) -> None:
        self.rotten = None
        self.world.trace.event("mended")

    def file_of(self, number: int) -> Path:
        """Find a node's file."""
        (path,) = self.lives[number].directory.glob("ranges/??/*.db")
        return path

    async def work(self) -> None:
        """Scrub, again and again."""
        while True:
            await asyncio.sleep(_SCRUBS_S)
            await self.scrub()

    async def scrub(self) -> Findings | None:
        """Have the primary scrub the range, and do what follows.

        Returns: what it has found; if it has handed over, not what the next one finds.
        """
        found: Findings | None = None
        for life in self.lives.values():
            self._repairs(life)
        for life in list(self.lives.values()):
            replica = life.replicas.of(RANGE_ID)
            if not life.process.is_alive or replica is None or replica.serving is None:
                continue
            try:
                async with asyncio.timeout(30.0):
                    each = await life.process.run(self._scrub(life), name="scrub")
            except (DStoreError, Died, TimeoutError) as error:
                self.world.trace.note(f"not scrubbed: {error!r}")
            else:
                found = each if found is None or not found.to_be_repaired else found
        return found

    async def _scrub(self, life: Node) -> Findings | None:
        replica = life.replicas.of(RANGE_ID)
        primary = None if replica is None else replica.serving
        if replica is None or primary is None:
            return None
        scrub = Scrub(primary, life.around, pace=_at_once)
        findings = await scrub.run()
        if findings.different and not self.has_edits:
            self.world.violate(f"a scrub tells of differences that there are not: {findings}")
        if not findings.unread and not findings.damaged and self.rotten is not None:
            self._mended()  # what has rotted belonged to nothing, or was written anew
        await self._repairs(life).follow(replica, primary, findings)
        self.world.trace.event("scrubbed", str(findings.to_be_repaired))
        return findings

    def _repairs(self, life: Node) -> ScrubRepairs:
        heard: Any = self.heard
        known = self._of_nodes.get(life.number)
        if known is None or known[0] is not life:
            repairs = ScrubRepairs(
                life.around, partial(_primary_of, life), notices=heard, counts=self.counts
            )
            known = self._of_nodes[life.number] = life, repairs
            life.sim_files.on_condemned = repairs.watch
        return known[1]

    async def settled(self) -> Sequence[str]:
        """Wait until what has rotted is repaired, too."""
        for _ in range(20):
            if self.rotten is None:
                break
            await self.scrub()
            await asyncio.sleep(1.0)
        told = [] if self.rotten is None else [f"node-{self.rotten} is not repaired"]
        return [*told, *await super().settled()]


def _primary_of(life: Node, range_id: str) -> Primary | None:
    replica = life.replicas.of(range_id)
    return None if replica is None else replica.serving


async def _at_once(_size_bytes: int) -> None:
    await asyncio.sleep(0)


SCRUBBED: Final = replace(
    REPLICATED,
    name="scrubbed",
    build=ScrubbedCluster,
    duration_s=40.0,
    think_s=0.2,
    fault_pause_s=1.5,
    interesting=frozenset(
        {"scrubbed", "rotten", "mended", "log.handed_over", "log.copy_done", "log.scrub_repaired"}
    ),
)
