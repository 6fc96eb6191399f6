"""Several processes that serve one port: started, kept alive and ended together.

The process that was started serves nothing: it holds the data directory's lock, and its children
are the workers. The kernel deals new connections out to them (SO_REUSEPORT). A worker that dies is
started again; one that cannot even start ends them all, since the next would not start either.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Final

from dstore.base.clock import NS_PER_S, Clock
from dstore.base.limits import WORKER_PAUSE_S, WORKER_STEADY_S
from dstore.base.logging import get_logger

Work = Callable[[int], int]
"""Serves as the worker of this number, from 0 on, in a process of its own. Returns: exit code."""

_log: Final = get_logger(__name__)

_PR_SET_PDEATHSIG: Final = 1
_CRASHED: Final = 70  # EX_SOFTWARE
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def supervise(count: int, work: Work, *, clock: Clock) -> int:
    """Run workers until SIGTERM or SIGINT, which they are sent too, and all have ended.

    Call it in a process that has no thread and no event loop: it forks.

    Args:
        count: how many, >= 1.
        work: what each does.
        clock: tells how long one has lasted.
    Returns: the exit code of the first that could not start or end well; 0 if all could.
    """
    return _Supervisor(count, work, clock).run()


class _Supervisor:
    def __init__(self, count: int, work: Work, clock: Clock) -> None:
        assert count >= 1
        self._count = count
        self._work = work
        self._clock = clock
        self._workers: dict[int, tuple[int, int]] = {}  # pid → number, when it began
        self._stopping = threading.Event()
        self._code = 0

    def run(self) -> int:
        for one in _SIGNALS:
            signal.signal(one, self._on_signal)
        for number in range(self._count):
            self._start(number)
        while self._workers:
            pid, status = os.wait()  # goes on by itself after a signal
            self._ended(pid, os.waitstatus_to_exitcode(status))
        return self._code

    def _start(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os._exit(self._serve(number))
        self._workers[pid] = (number, self._clock.monotonic_ns())
        if self._stopping.is_set():  # told between the fork and here, when it was not among them
            _tell(pid, signal.SIGTERM)

    def _serve(self, number: int) -> int:
        """Be a worker; it ends with its supervisor, however that ends."""
        try:
            for one in _SIGNALS:
                signal.signal(one, signal.SIG_DFL)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            code = self._work(number)
        except BaseException as error:  # noqa: BLE001 - nothing of the supervisor's runs here
            _log.error("worker_failed", worker=number, exc_info=error)
            code = _CRASHED
        sys.stdout.flush()
        sys.stderr.flush()
        return code

    def _ended(self, pid: int, code: int) -> None:
        number, began_ns = self._workers.pop(pid)
        if self._stopping.is_set():
            self._code = self._code or abs(code)
            return
        lasted_ns = self._clock.monotonic_ns() - began_ns
        _log.error("worker_ended", worker=number, code=code, lasted_s=lasted_ns // NS_PER_S)
        if code > 0 and lasted_ns < WORKER_STEADY_S * NS_PER_S:
            self._code = code
            self._stop(signal.SIGTERM)
            return
        self._stopping.wait(WORKER_PAUSE_S)
        if not self._stopping.is_set():
            self._start(number)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._stop(number)

    def _stop(self, number: int) -> None:
        """Have all workers drain, or, told a second time, end at once."""
        self._stopping.set()
        for pid in tuple(self._workers):
            _tell(pid, number)


def _tell(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it has ended, and is waited for
        return
