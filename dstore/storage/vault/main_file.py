"""The database file: every 4,096-byte page sealed under its number."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import apsw

from dstore.model.errors import Corrupt
from dstore.storage.vault.layout import (
    CONTENT_BYTES,
    PAGE_BYTES,
    RESERVED_BYTES,
    ZERO_RESERVED,
)
from dstore.storage.vault.page_cache import NO_CACHE
from dstore.storage.vault.residency import Inspection, NotResident, Residency

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dstore.storage.vault.file_state import FileState

_RESERVED_OFFSET: Final = 20  # in page 1: the byte that says how many bytes of a page are reserved


_NO_LOCK: Final = nullcontext()
_PIECE_PAGES: Final = 64  # written between two syncs of a connection that yields: ~2 ms of work


class MainFile(apsw.VFSFile):
    """One handle of a database file. Used by one thread at a time, as its connection is."""

    def __init__(
        self,
        base_vfs: str,
        name: apsw.URIFilename | str | None,
        flags: list[int],
        *,
        state: FileState,
        residency: Residency,
    ) -> None:
        """Open the file through `base_vfs`; bound methods are kept because they are hot."""
        super().__init__(base_vfs, name, flags)
        self._state = state
        cache = NO_CACHE if isinstance(residency, Inspection) else state.cache
        self._cache_get, self._cache_put = cache.get, cache.put
        self._space = state.main_space
        self._residency = residency
        self._unsynced_pages = 0  # counted only while it yields
        self._base_read, self._base_write = super().xRead, super().xWrite
        if isinstance(residency, Inspection):
            residency.pages = self

    @property
    def page_count(self) -> int:
        """How many pages lie on the disk, see `Pages`."""
        return -(-super().xFileSize() // PAGE_BYTES)

    def is_authentic(self, index: int) -> bool:
        """Read a page from the disk, see `Pages`.

        One that is being folded in at this moment may be read in part, and is not.
        """
        with self._state.first_page if index == 0 else _NO_LOCK:
            sealed = self._base_read(PAGE_BYTES, index * PAGE_BYTES)
        return self._state.sealer.open_main(index, sealed) is not None

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        """Answer authentic bytes, or raise `Corrupt`; beyond the end, nothing."""
        if amount == PAGE_BYTES and not offset % PAGE_BYTES:
            page = self._cache_get(self._space | offset // PAGE_BYTES)
            return self._read_page(offset // PAGE_BYTES) if page is None else page
        within = offset % PAGE_BYTES
        if within + amount > PAGE_BYTES:
            raise self._corrupt(offset // PAGE_BYTES, "is asked for across a page boundary")
        cached = self._cache_get(self._space | offset // PAGE_BYTES)
        if cached is not None:
            return cached[within : within + amount]
        try:
            page = self._read_page(offset // PAGE_BYTES)
        except Corrupt:
            if offset or amount == PAGE_BYTES:
                raise
            # A checkpoint cut short may have torn page 1, whose true content then lies in the
            # log. SQLite reads these bytes before it looks there, for the page size alone; the
            # page itself is read again, and authenticated, before anything is answered from it.
            page = _unread_first_page()
        return page[within : within + amount]

    def xWrite(self, data: Buffer, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Seal and write one page. Raises: Corrupt: SQLite means to use the reserved bytes."""
        page = bytes(data)
        index = offset // PAGE_BYTES
        if len(page) != PAGE_BYTES or offset % PAGE_BYTES:
            raise self._corrupt(index, "is written in part")
        if page[CONTENT_BYTES:] != ZERO_RESERVED:
            raise self._corrupt(index, "is written with content in its reserved bytes")
        sealed = self._state.sealer.seal_main(index, page)
        with self._state.first_page if index == 0 else _NO_LOCK:
            self._base_write(sealed, offset)
            self._cache_put(self._space | index, page)
        if self._residency.yields:
            self._unsynced_pages += 1
            if self._unsynced_pages >= _PIECE_PAGES:
                self._unsynced_pages = 0
                self._state.sync_main()

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - SQLite's name
        """Make the pages written so far durable. A failure is fatal to the caller (B16)."""
        self._state.sync_main()

    def _read_page(self, index: int) -> bytes:
        if self._residency.required:
            raise NotResident
        # SQLite reads page 1 before it holds any lock (is this a database, does it have a log?),
        # so nothing else keeps an old page 1 from entering the cache behind a checkpoint's new one.
        with self._state.first_page if index == 0 else _NO_LOCK:
            return self._fetch_page(index)

    def _fetch_page(self, index: int) -> bytes:
        sealed = self._base_read(PAGE_BYTES, index * PAGE_BYTES)
        if not sealed:
            if index:  # SQLite asks for pages that it counts; only a new database has none
                raise self._corrupt(index, "is missing")
            return b""
        page = self._state.sealer.open_main(index, sealed)
        if page is None:
            raise self._corrupt(index, "fails authentication")
        if index == 0 and page[_RESERVED_OFFSET] != RESERVED_BYTES:
            raise self._corrupt(index, f"reserves {page[_RESERVED_OFFSET]} bytes, not 40")
        self._cache_put(self._space | index, page)
        return page

    def _corrupt(self, index: int, what: str) -> Corrupt:
        message = f"page {index + 1} {what}"
        return Corrupt(message, file=self._state.path, where=f"page {index + 1}")


def _unread_first_page() -> bytes:
    page = bytearray(PAGE_BYTES)
    page[16:18] = PAGE_BYTES.to_bytes(2, "big")
    page[_RESERVED_OFFSET] = RESERVED_BYTES
    return bytes(page)
