"""Opened pages of hot files, shared by all connections of the process.

A reader connection drops its own SQLite cache at every commit of the writer; this cache makes the
refill a dictionary look-up instead of a decryption (about 20 µs). It holds authenticated plaintext
in memory only.

Coherence rests on SQLite's own rules: a frame is immutable while any reader may look at it, a page
of the main file is rewritten by a checkpoint only when no reader needs the old one, and whoever
rewrites either puts the new bytes here. A restarted log gets a new space, so old entries die.
"""

from itertools import count
from threading import Lock
from typing import Final

from dstore.storage.vault.layout import PAGE_BYTES

_SPACE_SHIFT: Final = 32  # page and frame indexes are below 2³²


class PageCache:
    """A bounded two-generation cache: what is looked up moves to the young generation.

    When the young one is full, the old one is dropped whole: constant cost, and no lock but for
    that, since dict operations are atomic between threads. Holds at most `bytes_max` of pages.
    """

    __slots__ = ("_generation_pages_max", "_old", "_spaces", "_turning", "_young")

    def __init__(self, *, bytes_max: int) -> None:
        """Make an empty cache; `bytes_max` below two pages keeps one page a generation."""
        self._generation_pages_max = max(1, bytes_max // PAGE_BYTES // 2)
        self._young: dict[int, bytes] = {}
        self._old: dict[int, bytes] = {}
        self._spaces = count(1)
        self._turning = Lock()

    def new_space(self) -> int:
        """Reserve a key prefix for one file's pages, or one log's frames."""
        return next(self._spaces) << _SPACE_SHIFT

    def get(self, key: int) -> bytes | None:
        """Return the page at `space | index`, or None."""
        page = self._young.get(key)
        if page is None:
            page = self._old.get(key)
            if page is not None:
                self.put(key, page)
        return page

    def peek(self, key: int) -> bytes | None:
        """Return the page, or None, without moving it: for page 1, which is read without a lock.

        A reader that moved an old page 1 up could put it over a new one that a checkpoint wrote.
        """
        page = self._young.get(key)
        return self._old.get(key) if page is None else page

    def put(self, key: int, page: bytes) -> None:
        """Remember a page, replacing an older one of the same key."""
        young = self._young
        if len(young) >= self._generation_pages_max:
            with self._turning:  # two turns at once would drop pages newer than those they keep
                young = self._young
                if len(young) >= self._generation_pages_max:
                    self._old = young
                    self._young = young = {}
        young[key] = page

    def discard(self, key: int) -> None:
        """Forget a page that nobody will ask for again, to make room for one that they will."""
        self._young.pop(key, None)
        self._old.pop(key, None)
