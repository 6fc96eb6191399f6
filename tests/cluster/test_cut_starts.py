"""The very first start, cut short anywhere, does not stand in the way of the next one."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.cut_start import cut_start
from tests.support.http_client import Client

if TYPE_CHECKING:
    from pathlib import Path

STRIDE: Final = 29  # of some 400 steps; each life of the test tries others


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", [0, 11, 20])
def test_a_first_start_that_is_cut_short_is_made_up_for(tmp_path: Path, first: int) -> None:
    """Killed before any of its steps on the disk, it starts again, whole and without a word."""
    steps = first
    while True:
        data = tmp_path / "data"
        with cut_start(data, tmp_path / "log", steps=steps) as start:
            if start.is_ready():
                break
            assert start.ended() == -signal.SIGKILL, start.said()
        _assert_starts(data, tmp_path / f"log-{steps}")
        shutil.rmtree(data)
        steps += STRIDE
    assert steps > 5 * STRIDE


def _assert_starts(data: Path, log: Path) -> None:
    with cut_start(data, log) as again:
        assert again.is_ready(), again.said()
        lines = (data / "client.env").read_text().splitlines()
        env = dict(line.split("=", 1) for line in lines)
        with Client(env["DSTORE_URL"], token=env["DSTORE_TOKEN"]) as client:
            assert client.get("/v1/tenant/default").status == 200
            table = "/v1/tenant/default/table/first"
            assert client.put(table, {"idType": "String"}).status == 201
            assert client.put(f"{table}/id/a", {"x": 1}).status == 201
        assert not list(data.glob("*.new*"))
        assert again.ended(number=signal.SIGTERM) == 0, again.said()
        assert "Traceback" not in again.said()
        assert '"level":"error"' not in again.said()
