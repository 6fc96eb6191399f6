"""The lines that README tells a newcomer to type work as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT, running

_SESSION = re.compile(r"<!-- session: [^\n]*-->\n```sh\n(.*?)```", re.DOTALL)


@pytest.mark.xdist_group("readme")
def test_first_session_of_the_readme(tmp_path: Path) -> None:
    """A first session that fails is the last one."""
    sessions = _SESSION.findall((ROOT / "README.md").read_text())
    assert len(sessions) == 2
    with running(tmp_path, data=tmp_path / "dstore-data"):
        script = "set -eu\n" + "\n".join(sessions)
        done = subprocess.run(
            ["bash", "-c", script],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": str(tmp_path)},
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert "problem" not in done.stdout, done.stdout
    assert '{"born":1815,"name":"Ada"}' in done.stdout
    assert "grace" in done.stdout
    assert "HEALTH_OK" in done.stdout
