"""Where a write-ahead log ends: a torn tail is normal, a damaged middle is not.

After a crash the last transaction may be there in part; SQLite rightly ignores it. But a frame that
was synced and no longer opens is damage, and to stop there would silently drop every acknowledged
write behind it. The witness: each frame says, under its seal, how many frames of its log were
known to be synced when it was written. So a frame that fails is the end only if no later authentic
frame of the same log says "synced" past it.

What stays undecidable on one machine alone is the very last transaction: nothing later vouches for
it. `docs/OPERATIONS.md` says so; in a cluster the in-sync replicas' positions settle it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dstore.storage.vault.layout import (
    FRAME_BYTES,
    FRAME_HEADER_BYTES,
    WAL_PREFIX_BYTES,
    LogHeader,
    PageSealer,
    frame_log_number,
    frame_stamp,
    synced_frames,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSource:
    """The stored frames of one log. `read(amount, offset)` reads raw bytes of the file."""

    read: Callable[[int, int], bytes]
    count: int

    def from_index(self, first: int) -> Iterator[tuple[int, bytes]]:
        """Yield (index, clear header bytes) of the whole frames from `first` on."""
        for index in range(first, self.count):
            yield index, self.read(FRAME_HEADER_BYTES, WAL_PREFIX_BYTES + index * FRAME_BYTES)

    def sealed(self, index: int) -> bytes:
        """Read a frame's sealed page."""
        offset = WAL_PREFIX_BYTES + index * FRAME_BYTES
        return self.read(FRAME_BYTES, offset)[FRAME_HEADER_BYTES:]


def newest_header(sealer: PageSealer, slots: Sequence[bytes]) -> LogHeader | None:
    """Choose between the two header slots.

    SQLite syncs a new header before the first frame behind it, so a slot that was torn has no
    frames of its own, and the other slot's log was wholly folded into the database file before.

    Returns: the authentic header that is newer, or None.
    """
    opened = [sealer.open_slot(slot, sealed) for slot, sealed in enumerate(slots)]
    present = [header for header in opened if header is not None]
    return max(present, key=lambda header: header.number, default=None)


def holds_newer_frames(source: FrameSource, sealer: PageSealer, *, number: int) -> bool:
    """Tell whether an authentic frame belongs to a later log than the header found.

    Then the later header was on disk once and is damaged now: to go on would drop its frames.
    `number` is the found log's.
    """
    return any(
        sealer.open_frame(index, bound, source.sealed(index)) is not None
        for index, bound in source.from_index(0)
        if frame_log_number(bound) > number
    )


def is_known_synced(source: FrameSource, sealer: PageSealer, *, index: int, stamp: bytes) -> bool:
    """Tell whether an authentic frame of the same log, at `index` or later, says `index` is synced.

    `index` itself is asked too: SQLite also ends a log at an authentic frame, when the checksums
    that it chains from frame to frame do not meet.
    """
    for later, bound in source.from_index(index):
        if frame_stamp(bound) != stamp:
            continue
        body = sealer.open_frame(later, bound, source.sealed(later))
        if body is not None and synced_frames(body) > index:
            return True
    return False
