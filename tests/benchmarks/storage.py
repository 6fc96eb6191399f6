"""How fast one range file is: durable puts by batch size, and cached point reads, on one core.

A 1 KB item has 10 attributes of 100 bytes, name and value together. "insert" puts keys that are
new (rows land on random pages and pages split); "overwrite" puts new values under keys that
exist. Everything is on: encryption, log, request bookkeeping, fsync.
"""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final

import uvloop

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.keys import KeyKind, encode_key
from dstore.model.values import Item
from dstore.storage.node_keys import new_file_key
from dstore.storage.range_file import RangeFile
from dstore.storage.range_files import RangeFiles
from dstore.storage.range_writer import Put, RangeWriter, Write
from dstore.storage.surroundings import Surroundings
from dstore.storage.vault.vault import Vault

LOADED_ITEMS: Final = 20_000
ROUNDS: Final = 3
PAGE_CACHE_BYTES: Final = 128 << 20


def main() -> None:
    """Print a line a figure; the median of ROUNDS."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="dstore-bench-") as directory:
        uvloop.run(_measure(Path(directory)))


async def _measure(directory: Path) -> None:
    entropy = SystemEntropy()
    executor = ThreadPoolExecutor(4)
    around = Surroundings(
        vault=Vault(entropy=entropy, page_cache_bytes=PAGE_CACHE_BYTES),
        executor=executor,
        clock=SystemClock(),
        entropy=entropy,
        on_fatal=_fail,
    )
    files = RangeFiles(directory, around, open_files_max=8)
    range_id, key = entropy.uuid(), new_file_key(entropy)
    await files.create(range_id, key)
    file = await files.open(range_id, lambda: key)
    writer = file._writer
    numbers = iter(range(10**9))
    _put(writer, (next(numbers) for _ in range(LOADED_ITEMS)), batch=64)
    await file.fold()
    random.seed(1)
    print(f"one core, 1 KB items of 10 attributes, {LOADED_ITEMS} loaded, fsync on")
    for batch, count in ((1, 500), (16, 3_200), (64, 6_400)):
        for name, choose in (
            ("insert", lambda: next(numbers)),
            ("overwrite", lambda: random.randrange(LOADED_ITEMS)),
        ):
            figure = median(_rate(writer, choose, batch, count=count) for _ in range(ROUNDS))
            print(f"put {name:<10} batch {batch:>2}   {figure:>8,.0f} items/s")
    cached_us = await _cached_reads(file)
    print(f"point read, cached      {cached_us:>8.1f} us")
    await files.close()
    executor.shutdown()


def _rate(writer: RangeWriter, choose: Callable[[], int], batch: int, *, count: int) -> float:
    started = time.perf_counter()
    _put(writer, (choose() for _ in range(count)), batch=batch)
    rate = count / (time.perf_counter() - started)
    writer.checkpoint()
    return rate


def _put(writer: RangeWriter, numbers: Iterator[int], *, batch: int) -> None:
    writes: list[Write] = []
    for number in numbers:
        rid_id = encode_key((KeyKind.STRING, f"key-{number:08d}"))
        item = one_kilobyte(number)
        writes.append(Write(rid_id=rid_id, entry_hash=_hash(rid_id), apply=_putting(item)))
        if len(writes) == batch:
            writer.commit(writes)
            writes = []
    if writes:
        writer.commit(writes)


async def _cached_reads(file: RangeFile) -> float:
    keys = [encode_key((KeyKind.STRING, f"key-{number:08d}")) for number in range(1_000)]
    for rid_id in keys:
        await file.read(rid_id)
    rounds: list[float] = []
    for _ in range(2 * ROUNDS + 1):
        started = time.perf_counter()
        for rid_id in keys:
            await file.read(rid_id)
        rounds.append((time.perf_counter() - started) / len(keys) * 1e6)
    return median(rounds)


def one_kilobyte(number: int) -> Item:
    """Make an item of 10 attributes, 100 bytes each with its name."""
    return {f"attribute{i}": {"S": f"{number * 10 + i:090d}"} for i in range(10)}


def _putting(item: Item) -> Callable[[object], Put]:
    return lambda _previous: Put(item)


def _hash(rid_id: bytes) -> int:
    return int.from_bytes(rid_id[:4], "big")


def _fail(error: BaseException) -> None:
    raise error


if __name__ == "__main__":
    main()
