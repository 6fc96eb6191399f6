"""A sync that fails ends the process, after those who wait have been told what is not known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from dstore.base.ending import EXIT_FATAL
from tests.support.offline import assert_sound
from tests.support.server import ROOT, prepared
from tests.support.table_churn import path

if TYPE_CHECKING:
    from pathlib import Path

# Python runs this before the server: its syncs fail as soon as the file `broken` exists.
_BROKEN_DISK: Final = """
import errno, os
_real = os.fdatasync
def fdatasync(descriptor):
    if os.path.exists({broken!r}):
        raise OSError(errno.EIO, "Input/output error")
    _real(descriptor)
os.fdatasync = fdatasync
"""


def test_a_failed_sync_is_told_and_ends_the_process(tmp_path: Path) -> None:
    """The answer `outcome-unknown` leaves before the process does; the start after it is sound."""
    broken, site = tmp_path / "broken", tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_BROKEN_DISK.format(broken=str(broken)))
    with prepared(tmp_path, environment={"PYTHONPATH": f"{site}:{ROOT}"}) as server:
        server.start()
        with server.client() as client:
            assert client.put(path("disk"), {"idType": "String"}).status == 201
            assert client.put(f"{path('disk')}/id/a", {"x": 1}).status == 201
            broken.touch()
            answer = client.put(f"{path('disk')}/id/b", {"x": 2})
            assert answer.status == 500
            assert answer.problem == "outcome-unknown", json.loads(answer.body)
        assert server.wait(timeout_s=10) == EXIT_FATAL
        assert len(server.events("fatal")) == 1
        broken.unlink()
        server.start()
        with server.client() as client:
            assert client.get(f"{path('disk')}/id/a").json() == {"x": 1}
            assert client.get(f"{path('disk')}/id/b").status in {200, 404}
        assert server.stop() == 0
        assert_sound(server.data)
