"""The lines that the documents tell people to type work as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT, running

_SESSION = re.compile(r"<!-- session: [^\n]*-->\n```sh\n(.*?)```", re.DOTALL)


@pytest.mark.xdist_group("typed_sessions")
@pytest.mark.parametrize(
    ("document", "blocks", "expected"),
    [
        (
            "README.md",
            4,
            [
                '"S": "Tago Mago"',
                "'plays': Decimal('1')",
                '{"born":1815,"name":"Ada"}',
                "grace",
                "HEALTH_OK",
            ],
        ),
        ("docs/COMPATIBILITY.md", 1, ["['Venus', 'Earth']"]),
        ("docs/OPERATIONS.md", 1, ["dst_", "AWS_ACCESS_KEY_ID=DSAK"]),
    ],
)
def test_session_of_a_document(
    tmp_path: Path, document: str, blocks: int, expected: list[str]
) -> None:
    """A first session that fails is the last one."""
    sessions = _SESSION.findall((ROOT / document).read_text())
    assert len(sessions) == blocks
    with running(tmp_path, data=tmp_path / "dstore-data"):
        done = subprocess.run(
            ["bash", "-c", "set -eu\n" + "\n".join(sessions)],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": str(tmp_path)},
            timeout=110,
        )
    assert done.returncode == 0, done.stderr
    assert "problem" not in done.stdout, done.stdout
    for text in expected:
        assert text in done.stdout
