"""Says what dominates a running Python process, by py-spy's samples."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_RATE_HZ: Final = 200
_SHOWN: Final = 25
# Every stack begins so.
_ENTRANCE: Final = re.compile(r"\(dstore/(__main__|daemon|cli/\w+|storage/threads)\.py")
_STARTS_S: Final = 30.0  # how much longer than the recording py-spy may take to attach and write


@contextmanager
def recording(pid: int, path: Path, *, seconds: int) -> Iterator[None]:
    """Record a process while the body runs; afterwards `path` has its stacks.

    Only threads that hold the interpreter count: waiting is no work. py-spy must be allowed to
    trace (root, or the same user where kernel.yama.ptrace_scope is 0).

    Args:
        pid: the process.
        path: gets one line a stack, `thread;outermost;…;innermost count` (flame graph tools and
            speedscope.app read it).
        seconds: how long; the body should take as long.

    Raises: subprocess.CalledProcessError: py-spy can't attach; it says why on stderr.
    """
    command = ["py-spy", "record", "--pid", str(pid), "--duration", str(seconds)]
    options = ["--rate", str(_RATE_HZ), "--format", "raw", "--threads", "--gil"]
    with subprocess.Popen(
        [*command, *options, "--output", str(path)], stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield
            code = process.wait(seconds + _STARTS_S)
        finally:
            process.kill()
    if code != 0:
        raise subprocess.CalledProcessError(code, command)


def summary(path: Path, *, seconds: int) -> Iterator[str]:
    """Write the functions with the most samples of their own, then those with the most in all.

    Args:
        path: from `recording`, as are the seconds.
        seconds: for the share of the time in which the interpreter was held at all.
    """
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    samples = 0
    for line in path.read_text().splitlines():
        stack, _, count_text = line.rpartition(" ")
        count = int(count_text)
        frames = [_function(frame) for frame in stack.split(";")[1:]]  # without the thread
        if not frames:
            continue
        samples += count
        own[frames[-1]] += count
        for frame in set(frames):
            if "(dstore/" in frame and not _ENTRANCE.search(frame):
                within[frame] += count
    held = 100 * samples / (_RATE_HZ * seconds)
    yield f"the interpreter was held {held:.0f} % of the time ({samples} samples)"
    for title, counts in (("own time", own), ("dStore's, with all they call", within)):
        yield f"  {title}:"
        for name, count in counts.most_common(_SHOWN):
            yield f"    {100 * count / max(samples, 1):5.1f} %  {name}"


def _function(frame: str) -> str:
    # "name (path/file.py:123)": lines of one function count together.
    return frame.rpartition(":")[0] + ")" if ":" in frame else frame
