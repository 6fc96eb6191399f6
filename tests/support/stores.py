"""Real storage in a scratch directory, for tests below the service layer."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.index_rows import IndexShape
from dstore.model.keys import KeyKind, encode_key
from dstore.model.values import Item
from dstore.storage.entries import Entry
from dstore.storage.node_keys import new_file_key
from dstore.storage.range_file import RangeFile
from dstore.storage.range_files import RangeFiles
from dstore.storage.range_writer import Apply, Put, Write
from dstore.storage.replication_port import Replication
from dstore.storage.requests import RequestName
from dstore.storage.surroundings import Surroundings
from dstore.storage.vault.layout import FileKey
from dstore.storage.vault.vault import Vault

PAGE_CACHE_BYTES = 4 << 20


@dataclass(kw_only=True)
class Store:
    """Range files over a vault, and what was reported as fatal."""

    around: Surroundings
    files: RangeFiles
    fatal: list[BaseException] = field(default_factory=list)
    keys: dict[str, FileKey] = field(default_factory=dict)

    async def new_range(self) -> str:
        """Create an empty range. Returns: its id."""
        range_id, key = SystemEntropy().uuid(), new_file_key(SystemEntropy())
        await self.files.create(range_id, key)
        self.keys[range_id] = key
        return range_id

    def keep_indexes(self, shapes: Sequence[IndexShape]) -> None:
        """Have every range keep local indexes, from when it is opened next."""
        self.files.indexes_of = lambda _range_id: shapes

    async def open(self, range_id: str) -> RangeFile:
        """Open a range that `new_range` made."""
        return await self.files.open(range_id, lambda: self.keys[range_id])


@asynccontextmanager
async def store(
    directory: Path,
    *,
    open_files_max: int = 8,
    wal_pages_checkpoint: int = 8_000,
    fdatasync: Callable[[int], None] = os.fdatasync,
    replication: Replication | None = None,
) -> AsyncIterator[Store]:
    """Open storage, and close it with all its files at the end.

    `replication` is every file's.
    """
    fatal: list[BaseException] = []
    with ThreadPoolExecutor(4) as executor:
        around = Surroundings(
            vault=Vault(
                entropy=SystemEntropy(), page_cache_bytes=PAGE_CACHE_BYTES, fdatasync=fdatasync
            ),
            executor=executor,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            on_fatal=fatal.append,
            wal_pages_checkpoint=wal_pages_checkpoint,
            replication_of=lambda _range_id: replication,
        )
        files = RangeFiles(directory, around, open_files_max=open_files_max)
        try:
            yield Store(around=around, files=files, fatal=fatal)
        finally:
            await files.close()


@asynccontextmanager
async def two_files(
    directory: Path, *, epoch: int = 1
) -> AsyncIterator[tuple[RangeFile, RangeFile]]:
    """Open two empty replicas of one range, on two disks; `epoch` is when the second was made."""
    (directory / "one").mkdir()
    (directory / "two").mkdir()
    async with store(directory / "one") as one, store(directory / "two") as two:
        range_id = await one.new_range()
        await two.files.create(range_id, one.keys[range_id], epoch=epoch)
        two.keys[range_id] = one.keys[range_id]
        files = await one.open(range_id), await two.open(range_id)
        for file in files:  # as if there were another replica that has read nothing yet
            file._writer.keep_log(0)
        yield files


def rid(name: str) -> bytes:
    """Encode a string key."""
    return encode_key((KeyKind.STRING, name))


def write(name: str, apply: Apply, *, request: RequestName | None = None) -> Write:
    """Make a write of the entry `name`."""
    rid_id = rid(name)
    entry_hash = int.from_bytes(rid_id[:4], "big")
    return Write(rid_id=rid_id, entry_hash=entry_hash, apply=apply, request=request)


def put(name: str, item: Item, *, request: RequestName | None = None) -> Write:
    """Make a write that stores `item`, whatever was there."""

    def apply(_previous: Entry | None) -> Put:
        return Put(item)

    return write(name, apply, request=request)
