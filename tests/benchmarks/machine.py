"""What the machine and its interpreter are, and do at the moment, to read a figure by."""

from __future__ import annotations

import hashlib
import os
import platform
import random
import sys
import tempfile
import threading
import time
import timeit
from statistics import median, quantiles
from typing import Final

_HASHES: Final = 20_000
_SYNCS_S: Final = 3
_LOG_BYTES: Final = 128 << 10  # about a batch of 32 puts
_PAGE_BYTES: Final = 4_096
_PAGES: Final = 16_000
_PIECE_PAGES: Final = 64
_US: Final = 1e6
_MS: Final = 1e3


def interpreter() -> str:
    """Say which Python runs this and the servers beside it."""
    return f"Python {platform.python_version()} of {sys.base_prefix}"


def hashing() -> str:
    """Say how fast one core is: SHA-256 of 1 KB."""
    block = bytes(1_024)
    times = timeit.repeat(
        lambda: hashlib.sha256(block).digest(), timer=time.thread_time, number=_HASHES, repeat=5
    )
    return f"sha256 of 1 KB {median(times) / _HASHES * _US:.2f} µs"


def syncing() -> str:
    """Say how long a disk takes to sync a log while pages of another file are written and synced.

    No write is acknowledged before its sync, so where the disk stalls, all of them wait.
    """
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as pages:
        pages.truncate(_PAGES * _PAGE_BYTES)
        ended = threading.Event()
        beside = threading.Thread(target=_write_pages, args=(pages.fileno(), ended))
        beside.start()
        block, until = os.urandom(_LOG_BYTES), time.monotonic() + _SYNCS_S
        times_ms: list[float] = []
        while time.monotonic() < until:
            os.pwrite(log.fileno(), block, len(times_ms) % 256 * _LOG_BYTES)
            began = time.monotonic()
            os.fdatasync(log.fileno())
            times_ms.append((time.monotonic() - began) * _MS)
        ended.set()
        beside.join()
    of_100 = quantiles(times_ms, n=100)
    return (
        f"sync of {_LOG_BYTES >> 10} KiB beside others: p50 {of_100[49]:.2f} ms, "
        f"p99 {of_100[98]:.2f} ms, worst {max(times_ms):.1f} ms of {len(times_ms):,}"
    )


def _write_pages(file: int, ended: threading.Event) -> None:
    page = os.urandom(_PAGE_BYTES)
    while not ended.is_set():
        for _ in range(_PIECE_PAGES):
            os.pwrite(file, page, random.randrange(_PAGES) * _PAGE_BYTES)
        os.fdatasync(file)
