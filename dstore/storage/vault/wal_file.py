"""The write-ahead log: its header in two sealed slots, every frame sealed under its place.

SQLite writes a frame as 24 header bytes, then 4,096 page bytes. The header is held back until its
page comes, so that a frame is one write. Two rarer shapes exist, when a page is spilled twice in
one transaction: a page alone over an existing frame, and then headers alone, to mend checksums.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import apsw

from dstore.model.errors import Corrupt
from dstore.storage.vault import log_tail
from dstore.storage.vault.layout import (
    COMMIT_SIZE,
    CONTENT_BYTES,
    FRAME_BYTES,
    FRAME_HEADER_BYTES,
    FRAME_PLAIN_BYTES,
    HELD_FRAMES_MAX,
    LOG_NUMBER_BYTES,
    NOT_A_COMMIT,
    PAGE_BYTES,
    PAGE_NUMBER_BYTES,
    SLOT_BYTES,
    SLOT_STRIDE_BYTES,
    WAL_HEADER_BYTES,
    WAL_PREFIX_BYTES,
    WAL_SHIFT_BYTES,
    WAL_SUFFIX,
    ZERO_RESERVED,
    LogHeader,
    frame_checksum,
    pack_note,
)
from dstore.storage.vault.page_cache import NO_CACHE
from dstore.storage.vault.residency import Inspection, NotResident, Residency

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dstore.storage.vault.file_state import FileState


_NO_FRAME: Final = bytes(FRAME_BYTES)  # its salts are no log's: SQLite takes it for the end


class WalFile(apsw.VFSFile):
    """One handle of a log. Used by one thread at a time, as its connection is.

    Keeps: what SQLite reads back is what it wrote, to the bit, or `Corrupt`, or (at the very end
    of the log only) nothing, as after a torn write. `log_tail` judges which.
    """

    def __init__(
        self,
        base_vfs: str,
        name: apsw.URIFilename | str | None,
        flags: list[int],
        *,
        state: FileState,
        residency: Residency,
    ) -> None:
        """Open the log through `base_vfs`; bound methods are kept because they are hot."""
        super().__init__(base_vfs, name, flags)
        self._state = state
        self._log = state.log
        self._seal = state.sealer.seal_frame
        cache = NO_CACHE if isinstance(residency, Inspection) else state.cache
        self._cache_get, self._cache_put = cache.get, cache.put
        self._cache_discard = cache.discard
        self._base_read, self._base_write = super().xRead, super().xWrite
        self._residency = residency
        self._pending_index = -1
        self._pending_header = b""
        self._held: list[bytes] = []
        self._held_first = 0
        self._path = state.path + WAL_SUFFIX
        self._descriptor: int | None = None

    # ------------------------------------------------------------------------------- reading

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        """Answer the header (32 bytes), a whole frame (4,120) or a frame's page (4,096)."""
        if offset < WAL_HEADER_BYTES:
            return self._read_header()[offset : offset + amount]
        index, within = divmod(offset - WAL_HEADER_BYTES, FRAME_BYTES)
        if amount == PAGE_BYTES and within == FRAME_HEADER_BYTES:
            page = self._cache_get(self._log.cache_space | index)
            return self._read_known(index)[FRAME_HEADER_BYTES:] if page is None else page
        if within + amount > FRAME_BYTES:
            raise self._corrupt(index, "is asked for across a frame boundary")
        frame = self._read_frame(index)
        return (_NO_FRAME if frame is None else frame)[within : within + amount]

    def _read_header(self) -> bytes:
        """Find the newest authentic header and begin to learn the log behind it."""
        if self._residency.required:
            raise NotResident
        header = self._stored_header()
        if header is None:
            # SQLite asks only if there are frames, and those come after a synced header.
            raise self._corrupt_at("header", "fails authentication")
        source, sealer = self._frame_source(), self._state.sealer
        if log_tail.holds_newer_frames(source, sealer, number=header.number):
            raise self._corrupt_at("header", "fails authentication, and frames behind it do not")
        if header.stamp != self._log.stamp:
            self._start_log(header)
            self._log.is_judged = False
        # Of the same log: whatever was written and not committed is dead.
        self._log.frames = self._log.committed_frames
        return header.plain

    def _stored_header(self) -> LogHeader | None:
        slots = [self._base_read(SLOT_BYTES, slot * SLOT_STRIDE_BYTES) for slot in (0, 1)]
        return log_tail.newest_header(self._state.sealer, slots)

    def _read_known(self, index: int) -> bytes:
        """Read a frame that cannot be the end of the log, since SQLite has seen it."""
        frame = self._read_frame(index)
        if frame is None:
            raise self._corrupt(index, "fails authentication")
        return frame

    def _read_frame(self, index: int) -> bytes | None:
        """Return header and page as SQLite wrote them; None at the end of the log."""
        if self._residency.required:
            raise NotResident
        if self._held and index >= self._held_first:
            self._flush()
        log, sealer = self._log, self._state.sealer
        stored = self._base_read(FRAME_BYTES, WAL_PREFIX_BYTES + index * FRAME_BYTES)
        bound = stored[:FRAME_HEADER_BYTES]
        body = None
        # Not the salts: once a page is spilled twice, SQLite leaves them zero and mends them later.
        if log.stamp is not None and bound[FRAME_PLAIN_BYTES:] == log.number_bytes:
            body = sealer.open_frame(index, bound, stored[FRAME_HEADER_BYTES:])
        if body is None:
            if index < log.frames:
                raise self._corrupt(index, "fails authentication")
            if log.stamp is not None and log_tail.is_known_synced(
                self._frame_source(), sealer, index=index, stamp=log.stamp
            ):
                raise self._corrupt(index, "fails authentication in the middle of the log")
            return None
        if index >= log.frames:  # recovery only: a reader must not undo what the writer counts
            log.frames = index + 1
        page = body[:CONTENT_BYTES] + ZERO_RESERVED
        self._cache_put(log.cache_space | index, page)
        return bound[:FRAME_PLAIN_BYTES] + frame_checksum(body) + page

    def _frame_source(self) -> log_tail.FrameSource:
        return log_tail.FrameSource(
            read=self._base_read,
            count=max(0, super().xFileSize() - WAL_PREFIX_BYTES) // FRAME_BYTES,
        )

    # ------------------------------------------------------------------------------- writing

    def xWrite(self, data: Buffer, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Take the log's header, a frame's header or a frame's page; refuse any other shape."""
        written = bytes(data)
        index, within = divmod(offset - WAL_HEADER_BYTES, FRAME_BYTES)
        if within == FRAME_HEADER_BYTES and len(written) == PAGE_BYTES:
            self._write_page(index, written)
        elif within == 0 and len(written) == FRAME_HEADER_BYTES:
            self._take_frame_header(index, written)
        elif offset == 0 and len(written) == WAL_HEADER_BYTES:
            self._write_header(written)
        else:
            raise self._corrupt(index, f"is written in a part of {len(written)} bytes")

    def _write_header(self, header: bytes) -> None:
        """Begin a log. The other slot keeps the former header until the next restart.

        The file is asked for the former number, not our memory: SQLite does not read the header of
        a log without frames, so a log that a crash left empty is not known otherwise.
        """
        self._take_over()
        former = self._stored_header()
        number = 1 + max(self._log.number, 0 if former is None else former.number)
        begun = LogHeader(plain=header, number=number)
        slot = number & 1
        sealed = self._state.sealer.seal_slot(slot, begun)
        self._base_write(sealed, slot * SLOT_STRIDE_BYTES)
        self._start_log(begun)

    def _take_frame_header(self, index: int, header: bytes) -> None:
        if self._log.writer is not self:
            self._take_over()
        self._pending_index, self._pending_header = index, header
        if index < self._log.frames:
            # Either a checksum is mended and no page will follow, or a rolled back frame is
            # written anew and its page comes next: sealing the old page under the new header is
            # right in the first case and harmless, since overwritten, in the second.
            old = self._read_known(index)
            self._seal_frame(index, header, old[FRAME_HEADER_BYTES:])

    def _take_over(self) -> None:
        """Write the log from now on; a handle that has SQLite's write lock does.

        Frames that are not committed by now were rolled back: what another handle, or this one,
        still holds back must never reach the file.
        """
        self._held = []
        self._log.writer = self
        self._log.frames = self._log.committed_frames

    def _write_page(self, index: int, page: bytes) -> None:
        log = self._log
        if self._pending_index == index:
            header = self._pending_header
            self._pending_index = -1
            self._seal_frame(index, header, page)
            log.frames = index + 1
        else:
            # A page spilled again in its transaction; SQLite mends the checksums before it commits.
            header = self._read_known(index)[:FRAME_HEADER_BYTES]
            self._seal_frame(index, header, page)
        key = log.cache_space | index
        number = header[:PAGE_NUMBER_BYTES]
        former = log.cached.get(number)
        if former is None:
            # The database file's own: readers want the log's from now on. Page 1 is read for its
            # first bytes in any case.
            former = self._state.main_space | (int.from_bytes(number, "big") - 1)
        if former != self._state.main_space:
            self._cache_discard(former)
        log.cached[number] = key
        self._cache_put(key, page)

    def _seal_frame(self, index: int, header: bytes, page: bytes) -> None:
        """Write one frame. It may say "synced" only of frames before it that stay as they are."""
        log = self._log
        if not page.endswith(ZERO_RESERVED):
            raise self._corrupt(index, "is written with content in its reserved bytes")
        log.synced_frames = min(log.synced_frames, index)
        bound = header[:FRAME_PLAIN_BYTES] + log.number_bytes
        body = page[:CONTENT_BYTES] + pack_note(log.synced_frames, header[FRAME_PLAIN_BYTES:])
        sealed = self._seal(index, bound, body)
        if index != self._held_first + len(self._held):
            self._flush()
            self._held_first = index
        self._held.append(bound + sealed)
        is_commit = header[COMMIT_SIZE] != NOT_A_COMMIT
        if is_commit or len(self._held) == HELD_FRAMES_MAX:
            self._flush()
        if is_commit:
            log.committed_frames = index + 1
        elif index < log.committed_frames:
            log.committed_frames = index

    def _flush(self) -> None:
        """Write the frames held back, in one piece.

        SQLite publishes frames to other connections once it has written the commit frame, so
        nothing is held back beyond that one; what this handle reads itself is flushed before.
        """
        if not self._held or self._log.writer is not self:
            return
        held, self._held = self._held, []
        try:
            self._base_write(b"".join(held), WAL_PREFIX_BYTES + self._held_first * FRAME_BYTES)
        except BaseException:
            # The transaction fails, and SQLite will write these places anew.
            self._log.frames = min(self._log.frames, self._held_first)
            raise

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Sync, and only then count the frames written before as known to be on disk.

        The first sync of a handle goes through SQLite, which also syncs the directory when the log
        is new. A new log's header is synced before any frame comes behind it, whoever asks. A
        failure is fatal to the caller (B16).
        """
        if self._descriptor is None:
            log = self._log
            stamp, committed = log.stamp, log.committed_frames
            super().xSync(flags)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            self._count_synced(stamp, committed)
        elif self._residency.defers_sync and self._log.frames:
            self._log.unsynced_by = self
        else:
            self.sync()

    def sync(self) -> None:
        """Sync while other threads run. Raises: OSError: nobody knows what is on the disk."""
        log = self._log
        stamp, committed = log.stamp, log.committed_frames
        assert self._descriptor is not None, "the first sync is SQLite's"
        self._state.fdatasync(self._descriptor)
        self._count_synced(stamp, committed)

    def _count_synced(self, stamp: bytes | None, committed: int) -> None:
        """Count what was committed before a sync, if the log is still the same."""
        log = self._log
        if log.stamp == stamp:
            log.synced_frames = max(log.synced_frames, min(committed, log.committed_frames))

    def xClose(self) -> None:  # noqa: N802 - SQLite's name
        """Close both descriptors. Nobody holds POSIX locks on a log, so closing drops none.

        Frames still held back belong to a transaction that was never committed.
        """
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        super().xClose()

    def xFileSize(self) -> int:  # noqa: N802 - SQLite's name
        """Answer the size that SQLite believes in: 32 bytes and the frames."""
        stored = super().xFileSize()
        return max(0, stored - WAL_SHIFT_BYTES) if stored > WAL_PREFIX_BYTES else 0

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite's name
        """Cut the log after a checkpoint. At 0 the header slots go too."""
        self._held = []
        super().xTruncate(size + WAL_SHIFT_BYTES if size else 0)
        if not size:  # the next log must not meet the header slots of this one after a power cut
            super().xSync(apsw.SQLITE_SYNC_NORMAL)
        frames = max(0, size - WAL_HEADER_BYTES) // FRAME_BYTES
        log = self._log
        log.frames = min(log.frames, frames)
        log.committed_frames = min(log.committed_frames, frames)
        log.synced_frames = min(log.synced_frames, frames)

    def _start_log(self, header: LogHeader) -> None:
        log = self._log
        log.stamp, log.number = header.stamp, header.number
        log.number_bytes = header.stamp[-LOG_NUMBER_BYTES:]
        log.frames = log.committed_frames = log.synced_frames = 0
        log.is_judged = True
        for key in log.cached.values():
            self._cache_discard(key)
        log.cache_space = self._state.cache.new_space()
        log.cached = {}

    def _corrupt(self, index: int, what: str) -> Corrupt:
        return self._corrupt_at(f"frame {index}", what)

    def _corrupt_at(self, where: str, what: str) -> Corrupt:
        where = f"wal {where}"
        return Corrupt(f"{where} {what}", file=self._state.path, where=where)
