"""The write-ahead log: its header in two sealed slots, every frame sealed under its place.

SQLite writes a frame as 24 header bytes, then 4,096 page bytes. The header is held back until its
page comes, so that a frame is one write. Two rarer shapes exist, when a page is spilled twice in
one transaction: a page alone over an existing frame, and then headers alone, to mend checksums.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import apsw

from dstore.model.errors import Corrupt
from dstore.storage.vault import log_tail
from dstore.storage.vault.layout import (
    CHECKSUM_BLANK,
    CONTENT_BYTES,
    FRAME_BOUND_BYTES,
    FRAME_BYTES,
    FRAME_HEADER_BYTES,
    PAGE_BYTES,
    SLOT_BYTES,
    SLOT_STRIDE_BYTES,
    WAL_HEADER_BYTES,
    WAL_PREFIX_BYTES,
    WAL_SHIFT_BYTES,
    WAL_SUFFIX,
    ZERO_RESERVED,
    Nonces,
    frame_checksum,
    header_salts,
    header_sequence,
    pack_note,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dstore.storage.vault.file_state import FileState


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
        nonces: Nonces,
    ) -> None:
        """Open the log through `base_vfs`; bound methods are kept because they are hot."""
        super().__init__(base_vfs, name, flags)
        self._state = state
        self._log = state.log
        self._next_nonce, self._seal = nonces.next, state.sealer.seal_frame
        self._cache_get, self._cache_put = state.cache.get, state.cache.put
        self._cache_discard = state.cache.discard
        self._base_read, self._base_write = super().xRead, super().xWrite
        self._pending_index = -1
        self._pending_header = b""
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
            return self._read_frame(index)[FRAME_HEADER_BYTES:] if page is None else page
        if within + amount > FRAME_BYTES:
            raise self._corrupt(index, "is asked for across a frame boundary")
        return self._read_frame(index)[within : within + amount]

    def _read_header(self) -> bytes:
        """Find the newest authentic header and begin to learn the log behind it."""
        header = log_tail.newest_header(
            self._state.sealer,
            [self._base_read(SLOT_BYTES, slot * SLOT_STRIDE_BYTES) for slot in (0, 1)],
        )
        salts = None if header is None else header_salts(header)
        if log_tail.holds_newer_frames(self._frame_source(), self._state.sealer, salts):
            raise self._corrupt_at("header", "fails authentication, and frames behind it do not")
        if header is None:
            return b""
        if salts != self._log.salts:
            self._start_log(header)
        return header

    def _read_frame(self, index: int) -> bytes:
        """Return header and page as SQLite wrote them; empty at the end of the log."""
        log, sealer = self._log, self._state.sealer
        stored = self._base_read(FRAME_BYTES, WAL_PREFIX_BYTES + index * FRAME_BYTES)
        if not stored and index >= log.frames:
            return b""
        bound = stored[:FRAME_BOUND_BYTES]
        body = None
        if bound[8:] == log.salts:
            body = sealer.open_frame(index, bound, stored[FRAME_HEADER_BYTES:])
        if body is None:
            if index < log.frames:
                raise self._corrupt(index, "fails authentication")
            if log.salts is not None and log_tail.is_known_synced(
                self._frame_source(), sealer, index=index, salts=log.salts
            ):
                raise self._corrupt(index, "fails authentication in the middle of the log")
            return b""
        log.frames = max(log.frames, index + 1)
        page = body[:CONTENT_BYTES] + ZERO_RESERVED
        self._cache_put(log.cache_space | index, page)
        return bound + frame_checksum(body) + page

    def _frame_source(self) -> log_tail.FrameSource:
        return log_tail.FrameSource(
            read=self._base_read,
            count=max(0, super().xFileSize() - WAL_PREFIX_BYTES) // FRAME_BYTES,
        )

    # ------------------------------------------------------------------------------- writing

    def xWrite(self, data: Buffer, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Take the log's header, a frame's header or a frame's page; refuse any other shape."""
        written = bytes(data)
        if offset == 0 and len(written) == WAL_HEADER_BYTES:
            self._write_header(written)
            return
        index, within = divmod(offset - WAL_HEADER_BYTES, FRAME_BYTES)
        if within == 0 and len(written) == FRAME_HEADER_BYTES:
            self._take_frame_header(index, written)
        elif within == FRAME_HEADER_BYTES and len(written) == PAGE_BYTES:
            self._write_page(index, written)
        else:
            raise self._corrupt(index, f"is written in a part of {len(written)} bytes")

    def _write_header(self, header: bytes) -> None:
        """Begin a log. The other slot keeps the former header until the next restart."""
        slot = header_sequence(header) & 1
        sealed = self._state.sealer.seal_slot(slot, header, self._next_nonce())
        self._base_write(sealed, slot * SLOT_STRIDE_BYTES)
        self._start_log(header)

    def _take_frame_header(self, index: int, header: bytes) -> None:
        self._pending_index, self._pending_header = index, header
        if index < self._log.frames:
            # Either a checksum is mended and no page will follow, or a rolled back frame is
            # written anew and its page comes next: sealing the old page under the new header is
            # right in the first case and harmless, since overwritten, in the second.
            old = self._read_frame(index)
            self._seal_frame(index, header, old[FRAME_HEADER_BYTES:])

    def _write_page(self, index: int, page: bytes) -> None:
        log = self._log
        if self._pending_index == index:
            header = self._pending_header
            self._pending_index = -1
            self._seal_frame(index, header, page)
            log.frames = index + 1
        else:
            # A page spilled again in its transaction; SQLite mends the checksums before it commits.
            header = self._read_frame(index)[:FRAME_HEADER_BYTES]
            self._seal_frame(index, header, page)
        key = log.cache_space | index
        former = log.cached.get(header[:4])
        if former is not None:
            self._cache_discard(former)
        log.cached[header[:4]] = key
        self._cache_put(key, page)

    def _seal_frame(self, index: int, header: bytes, page: bytes) -> None:
        """Write one frame. It may say "synced" only of frames before it that stay as they are."""
        log = self._log
        if page[CONTENT_BYTES:] != ZERO_RESERVED:
            raise self._corrupt(index, "is written with content in its reserved bytes")
        log.synced_frames = min(log.synced_frames, index)
        bound = header[:FRAME_BOUND_BYTES]
        body = page[:CONTENT_BYTES] + pack_note(log.synced_frames, header[FRAME_BOUND_BYTES:])
        sealed = self._seal(index, bound, body, nonce=self._next_nonce())
        self._base_write(bound + CHECKSUM_BLANK + sealed, WAL_PREFIX_BYTES + index * FRAME_BYTES)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Sync, and only then count the frames written before as known to be on disk.

        The first sync of a handle goes through SQLite, which also syncs the directory when the log
        is new; the later ones let other threads run. A failure is fatal to the caller (B16).
        """
        log = self._log
        salts, frames = log.salts, log.frames
        if self._descriptor is None:
            super().xSync(flags)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        else:
            self._state.fdatasync(self._descriptor)
        if log.salts == salts:
            log.synced_frames = max(log.synced_frames, min(frames, log.frames))

    def xClose(self) -> None:  # noqa: N802 - SQLite's name
        """Close both descriptors. Nobody holds POSIX locks on a log, so closing drops none."""
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
        super().xTruncate(size + WAL_SHIFT_BYTES if size else 0)
        frames = max(0, size - WAL_HEADER_BYTES) // FRAME_BYTES
        self._log.frames = min(self._log.frames, frames)
        self._log.synced_frames = min(self._log.synced_frames, frames)

    def _start_log(self, header: bytes) -> None:
        log = self._log
        log.salts, log.frames, log.synced_frames = header_salts(header), 0, 0
        log.cache_space = self._state.cache.new_space()
        log.cached = {}

    def _corrupt(self, index: int, what: str) -> Corrupt:
        return self._corrupt_at(f"frame {index}", what)

    def _corrupt_at(self, where: str, what: str) -> Corrupt:
        where = f"wal {where}"
        return Corrupt(f"{where} {what}", file=self._state.path, where=where)
