"""A simulated node's files, as its replicas ask for them beside opening them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dstore.storage import rewriting
from dstore.storage.range_files import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dstore.model.errors import Corrupt
    from dstore.storage.examination import PagesSeen
    from dstore.storage.range_files import RangeFiles
    from dstore.storage.vault.layout import FileKey


def _nothing() -> None:
    """Tell nobody."""


class SimFiles:
    """The one file of a node; a file beside it says which generation of its key is in use."""

    def __init__(self, files: RangeFiles, key: FileKey, made: Path) -> None:
        """Begin with what a former life has left."""
        self._files = files
        self._made = made
        self._key = key
        self.on_condemned: Callable[[str, str], None] = lambda _range_id, _node: None
        self.on_anew: Callable[[], None] = _nothing
        self.on_damage: Callable[[str, Corrupt], None] = lambda _range_id, _error: None

    @property
    def key(self) -> FileKey:
        """The key of the file as it is."""
        noted = self._made.read_text() if self._made.exists() else ""
        return replace(self._key, generation=int(noted or "1"))

    def settle(self) -> None:
        """Bring a renewal that a crash has cut short to its end, or undo it."""
        for path in self._made.parent.glob(f"{FOLDER}/??/*.db"):
            rewriting.settle(path, self.key.generation)

    async def read_pages(self, range_id: str, *, first_page: int) -> PagesSeen:
        """Read pages from the disk."""
        return await self._files.read_pages(range_id, lambda: self.key, first_page=first_page)

    async def is_sound(self, range_id: str) -> bool:
        """Read the whole file."""
        return await self._files.is_sound(range_id, lambda: self.key)

    async def renew(self, range_id: str, *, promised_epoch: int) -> None:
        """Put an empty file in its place."""
        after = replace(self.key, generation=self.key.generation + 1)

        async def record() -> None:
            self._made.write_text(str(after.generation))

        await self._files.rewrite(
            range_id, before=self.key, after=after, record=record, promised_epoch=promised_epoch
        )

    async def note_scrub(self, range_id: str, at_us: int) -> None:
        """Remember nothing."""

    def found_damaged(self, range_id: str, error: Corrupt) -> None:
        """Tell the test."""
        self.on_damage(range_id, error)

    def condemned(self, range_id: str, node: str) -> None:
        """Tell the test."""
        self.on_condemned(range_id, node)

    def fell_short(self, _node: str) -> None:
        """Tell nobody: the trace has the log's line."""

    def begins_anew(self, _range_id: str) -> None:
        """Tell the test."""
        self.on_anew()
