"""A replicated range whose nodes have hardly any memory: most pages are on the disk.

What the event loop begins with a batch it often has to undo, and to leave to a thread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from dstore.base.limits import PAGE_BYTES
from dstore.storage.vault import vault
from tests.simulation import replicated_calls, replicated_node
from tests.simulation.replicated import REPLICATED, ReplicatedCluster

if TYPE_CHECKING:
    from tests.simulation.world import World

_OWN_CACHE_KIB: Final = 96
_PAD_BYTES_MAX: Final = 6_000


class ScantyCluster(ReplicatedCluster):
    """A range whose files have more pages than anybody keeps in memory."""

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world)
        for module, name, value in (
            (vault, "RESIDENT_CACHE_KIB", _OWN_CACHE_KIB),
            (replicated_node, "_PAGE_CACHE_BYTES", PAGE_BYTES),
            (replicated_calls, "PAD_BYTES_MAX", _PAD_BYTES_MAX),
        ):
            self._patches.enter_context(patch.object(module, name, value))


SCANTY: Final = replace(REPLICATED, name="scanty", build=ScantyCluster)
