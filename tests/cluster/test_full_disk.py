"""A full disk refuses writes with 507, keeps serving reads, and loses nothing acknowledged."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import full_disk
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def _run(name: str, directory: Path) -> None:
    """Run a scenario where mounting is allowed: as root, or as root of a user namespace."""
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        ["unshare", *as_root, "--mount", sys.executable, full_disk.__file__, name, str(directory)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", ["no_reserve", "folding"])
def test_disk_without_a_free_block(tmp_path: Path, scenario: str) -> None:
    """With no reserve every kind of write, and each background job, meets ENOSPC itself."""
    _run(scenario, tmp_path)


def test_reserve_is_kept(tmp_path: Path) -> None:
    """Writes stop early, so that folding logs and the node's own records still find room."""
    _run("reserve", tmp_path)


@pytest.mark.parametrize("scenario", ["killed", "stopped"])
def test_restart_on_a_full_disk(tmp_path: Path, scenario: str) -> None:
    """What an operator tries first is a restart: it must not make things worse."""
    _run(scenario, tmp_path)
