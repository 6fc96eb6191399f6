"""What every replica of a node shares."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dstore.base.clock import NS_PER_MS
from dstore.model.errors import Corrupt, DStoreError
from dstore.replication.pace import Pace
from dstore.replication.turns import Turns

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.tasks import Tasks
    from dstore.replication.peers.port import Peer
    from dstore.replication.placements import Placed
    from dstore.storage.examination import PagesSeen
    from dstore.storage.range_file import RangeFile
    from dstore.topology.coordinator import Coordinator


class Files(Protocol):
    """What replicas ask of their files beside opening them, each by its range's id."""

    async def read_pages(self, range_id: str, *, first_page: int) -> PagesSeen:
        """Read pages from the disk, see `examination`. Raises: as `open_file`."""

    async def is_sound(self, range_id: str) -> bool:
        """Read the whole file, see `examination`. Raises: as `open_file`."""

    async def renew(self, range_id: str, *, promised_epoch: int) -> None:
        """Put an empty file in its place that has promised an epoch, durably, and is no replica.

        Raises: Unavailable: it is as it was. NotMine: it is not held here.
        """

    async def note_scrub(self, range_id: str, at_us: int) -> None:
        """Remember when the range was scrubbed."""

    def found_damaged(self, range_id: str, error: Corrupt) -> None:
        """Hear that something in the file can't be read."""

    def condemned(self, range_id: str, node: str) -> None:
        """Hear that the primary here has another node's replica copied anew."""

    def fell_short(self, node: str) -> None:
        """Hear that a replica on another node lacks what it has acknowledged to a primary here."""

    def begins_anew(self, range_id: str) -> None:
        """Hear that nothing is left of what was in it."""


async def _noted_by_nobody(_placed: Placed) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every replica of a node shares.

    Attributes:
        node: this node's UUID.
        incarnation: of this node's disk.
        peer_of: finds the node of a UUID. Raises: Unreachable.
        open_file: opens the file of a range that is held here. Raises: NotMine, Unavailable,
            Corrupt.
        on_serving: told that a range, by its id, is served here in an epoch from now on, or, with
            None, no longer; in the turn of the event loop in which that becomes so.
        on_fault: told of a range, by its id, whose content is not what it should be.
        note: remembers a range's value, durably when it returns, should the coordinator lose it; a
            primary has it noted before it opens the range in it or acknowledges by its set. Raises:
            Unavailable, Unknown.
        files: what is asked of them beside opening.
        tasks: own what runs in the background.
        began_ns: when this process began, on `clock`.
        turns: to open ranges.
        pace: of what copies send.
        leaving: set when the node is about to stop: its replicas ask not to be counted on.
    """

    node: str
    incarnation: str
    clock: Clock
    coordinator: Coordinator
    peer_of: Callable[[str], Peer]
    open_file: Callable[[str], Awaitable[RangeFile]]
    on_serving: Callable[[str, int | None], None]
    on_fault: Callable[[str, Corrupt], None]
    files: Files
    tasks: Tasks
    began_ns: int
    turns: Turns = field(default_factory=Turns)
    pace: Pace = field(default_factory=Pace)
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    note: Callable[[Placed], Awaitable[None]] = _noted_by_nobody


def fault_of(error: Exception) -> Corrupt | None:
    """Say what an operator is told of a failure: of damage, and of what nobody foresaw."""
    if isinstance(error, Corrupt):
        return error
    if isinstance(error, DStoreError):
        return None
    fault = Corrupt(f"It failed in a way that nobody foresaw: {error!r}.", file="", where="")
    fault.__cause__ = error
    return fault


async def pause_ms(duration_ms: float) -> None:
    """Wait."""
    await asyncio.sleep(duration_ms / 1_000)


def since_ms(clock: Clock, then_ns: int) -> float:
    """How long ago a time of `Clock.monotonic_ns` was."""
    return (clock.monotonic_ns() - then_ns) / NS_PER_MS
