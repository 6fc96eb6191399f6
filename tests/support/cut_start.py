"""A server in a forked process, killed before its n-th step that changes what lies on the disk.

Steps are files that are made, named, removed or synced, pages that are written, and statements of
the coordinator's file. The server is imported once; each start is a fork of that.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiosqlite

from dstore.daemon import run
from dstore.settings import load
from dstore.storage.vault.main_file import MainFile
from dstore.storage.vault.wal_file import WalFile

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

READY_S: Final = 60.0  # a machine that runs other tests beside us is slow
_POLL_S: Final = 0.005
_STEPS: Final[tuple[tuple[Any, str], ...]] = (
    *((os, name) for name in ("fsync", "rename", "replace", "unlink", "mkdir")),
    *((kind, name) for kind in (MainFile, WalFile) for name in ("xWrite", "xSync")),
    (aiosqlite.Connection, "_execute"),
)


class CutStart:
    """One start of a server on `data`; `said` is all that it wrote."""

    def __init__(self, data: Path, log: Path, *, steps: int | None) -> None:
        """Begin; the process is killed after so many steps, or not at all."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._log = log
        self._process: ForkServerProcess = context.Process(target=_serve, args=(data, log, steps))
        self._process.start()

    def is_ready(self) -> bool:
        """Wait. Returns: whether it got ready; False: it ended before. Raises: TimeoutError."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if "is ready" in self.said():
                return True
            if not self._process.is_alive():
                return False
            time.sleep(_POLL_S)
        raise TimeoutError(self.said())

    def said(self) -> str:
        """Return what it wrote to both of its outputs."""
        return self._log.read_text() if self._log.exists() else ""

    def ended(self, *, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is given, and wait. Returns: the exit code, -9 once killed."""
        if number is not None:
            assert self._process.pid is not None
            os.kill(self._process.pid, number)
        self._process.join(READY_S)
        code = self._process.exitcode
        assert code is not None, "it does not end"
        return code

    def kill(self) -> None:
        """Kill it; harmless if it has ended."""
        self._process.kill()
        self._process.join()
        self._process.close()


@contextmanager
def cut_start(data: Path, log: Path, *, steps: int | None = None) -> Iterator[CutStart]:
    """Start a server; at the end kill it if it still runs."""
    start = CutStart(data, log, steps=steps)
    try:
        yield start
    finally:
        start.kill()


def _serve(data: Path, log: Path, steps: int | None) -> None:
    with log.open("wb", buffering=0) as out:
        for stream in (1, 2):
            os.dup2(out.fileno(), stream)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if steps is not None:
        _cut_after(steps)
    sys.exit(run(load(flags={"data": data, "port": 0})))


def _cut_after(steps: int) -> None:
    left, lock = steps, threading.Lock()

    def counted(step: Any) -> Any:
        def take(*args: Any, **named: Any) -> Any:
            nonlocal left
            with lock:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return step(*args, **named)

        return take

    for owner, name in _STEPS:
        setattr(owner, name, counted(getattr(owner, name)))
