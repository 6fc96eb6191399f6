"""`scripts/devcluster`, as a newcomer uses it: start, paste what it prints, Ctrl-C, start again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
READY: Final = "The cluster is ready."
START_S: Final = 60.0
STOP_S: Final = 60.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@contextmanager
def _devcluster(output: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start the script and wait until it says that the cluster is ready."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            [ROOT / "scripts/devcluster", *options], stdout=file, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_S
        while READY not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_S)


def _belonging_to(directory: Path) -> list[str]:
    """Find the processes whose command line names a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in words and str(os.getpid()) != path.parent.name:
            found.append(words)
    return [words for words in found if "scripts/devcluster" not in words]


def _printed(output: Path) -> list[str]:
    """Give the lines that are meant to be pasted."""
    how = output.read_text().partition(READY)[2]
    return [line.strip() for line in how.splitlines() if line.startswith("  ")][:5]


def test_from_nothing_and_again(tmp_path: Path) -> None:
    """The printed lines work, Ctrl-C leaves no process behind, and --dir goes on where it was."""
    directory, output = tmp_path / "kept", tmp_path / "output"
    options = ("--nodes", "1", "--proxies", "1", "--dir", str(directory))
    with _devcluster(output, *options) as process:
        script = "\n".join(["set -e", *_printed(output)])
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert '"tenant":"default"' in done.stdout
        assert json.dumps({"TableNames": []}, indent=4) in done.stdout
        assert "HEALTH_OK" in done.stdout
        assert len(_belonging_to(directory)) >= 4
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_S) == 0
    assert _belonging_to(directory) == []
    with _devcluster(output, "--dir", str(directory), "--nodes", "2") as process:
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "node-2 is ready" in output.read_text()
        process.terminate()
        assert process.wait(STOP_S) == 0
    assert _belonging_to(directory) == []
