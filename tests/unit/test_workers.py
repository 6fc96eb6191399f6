"""Workers: all are there as long as they should be, and they end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from dstore.base.clock import SystemClock
from dstore.workers import supervise

place = Path(sys.argv[1])

def work(number):
    def stop(*_):
        (place / f"stopped{number}").touch()
        os._exit(0)
    signal.signal(signal.SIGTERM, stop)
    if (place / f"broken{number}").exists():
        return 3
    (place / f"pid{number}.{os.getpid()}").touch()
    while True:
        time.sleep(1)

sys.exit(supervise(3, work, clock=SystemClock()))
"""


def started(place: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(place)])


def until(holds: Callable[[], object]) -> None:
    ends = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def pids(place: Path, number: int) -> list[int]:
    return [int(path.suffix[1:]) for path in place.glob(f"pid{number}.*")]


def test_all_are_told_to_end(tmp_path: Path) -> None:
    """One signal to the supervisor drains every worker, and its own end is a good one."""
    program = started(tmp_path)
    until(lambda: all(pids(tmp_path, number) for number in range(3)))
    program.terminate()
    assert program.wait(20) == 0
    assert len(list(tmp_path.glob("stopped*"))) == 3


def test_one_that_dies_is_started_again(tmp_path: Path) -> None:
    """A worker that was killed is there again, under its number; the others stay."""
    program = started(tmp_path)
    until(lambda: all(pids(tmp_path, number) for number in range(3)))
    [killed] = pids(tmp_path, 1)
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(pids(tmp_path, 1)) == 2)
    assert len(pids(tmp_path, 0)) == len(pids(tmp_path, 2)) == 1
    program.terminate()
    assert program.wait(20) == 0


def test_one_that_cannot_start_ends_all(tmp_path: Path) -> None:
    """What keeps a worker from starting is told by the exit code, and nobody stays behind."""
    (tmp_path / "broken2").touch()
    program = started(tmp_path)
    assert program.wait(20) == 3


@pytest.mark.parametrize("number", [signal.SIGKILL])
def test_workers_end_with_their_supervisor(tmp_path: Path, number: int) -> None:
    """Even a supervisor that is killed leaves no worker behind."""
    program = started(tmp_path)
    until(lambda: all(pids(tmp_path, one) for one in range(3)))
    program.send_signal(number)
    program.wait(20)
    until(lambda: len(list(tmp_path.glob("stopped*"))) == 3)
