"""What a crash between two steps of creating or deleting leaves behind is gone after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cluster import eventually
from tests.support.offline import range_files
from tests.support.server import ServerEnded, running
from tests.support.table_churn import path

if TYPE_CHECKING:
    from pathlib import Path


def test_files_that_no_table_names_are_set_aside(tmp_path: Path) -> None:
    """A kill while a table is created or deleted leaves any part of its files; status says so."""
    names = ("aa.db", "bb.db-wal", "cc.db-shm", "dd.db", "dd.db-wal", "dd.db-shm")
    with running(tmp_path) as server:
        with server.client() as client:
            assert client.put(path("kept"), {"idType": "String"}).status == 201
        assert server.stop() == 0
        kept = range_files(server.data)
        for name in names:
            folder = server.data / "ranges" / name[:2]
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"left over")
        server.start()
        left = range_files(server.data)
        assert set(kept) < set(left)
        moved = {file.name.partition("-")[2] for file in left if file.parent.name == "orphans"}
        assert moved == set(names)
        opened = {f"{file.name}{end}" for file in kept for end in ("", "-wal", "-shm")}
        assert {file.name for file in left if file.parent.name != "orphans"} <= opened
        with server.admin() as admin:

            def only_orphans() -> bool:
                status = admin.get("/admin/v1/status").json()
                assert status["orphans"] == 4
                return [check["code"] for check in status["checks"]] == ["ORPHANS"]

            eventually(only_orphans, what="the range is served, and only the orphans are told of")


def test_half_made_node_database_is_made_again(tmp_path: Path) -> None:
    """A kill during the very first start leaves keys and a scratch file, and no data."""
    with running(tmp_path) as server:
        server.kill()
        for name in ("node.db*", "control.*", "topology.*"):  # the node's comes first
            for file in server.data.glob(name):
                file.unlink()
        (server.data / "node.db.new").write_bytes(b"half")
        (server.data / "node.db.new-wal").write_bytes(b"half")
        server.start()
        with server.client() as client:
            assert client.get("/v1/tenant").json()["tenants"][0]["tenant"] == "default"
        assert not list(server.data.glob("*.new*"))


def test_lost_node_database_costs_no_data(tmp_path: Path) -> None:
    """Without it no file has a name, so all would look left over: refuse instead of deleting."""
    with running(tmp_path) as server:
        with server.client() as client:
            assert client.put(path("kept"), {"idType": "String"}).status == 201
            assert client.put(f"{path('kept')}/id/a", {"x": 1}).status == 201
        assert server.stop() == 0
        kept = range_files(server.data)
        saved = (server.data / "node.db").read_bytes()
        (server.data / "node.db").unlink()
        with pytest.raises(ServerEnded) as ended:
            server.start()
        assert ended.value.code == 1
        assert "node.db is missing" in ended.value.stderr
        assert range_files(server.data) == kept
        (server.data / "node.db").write_bytes(saved)
        server.start()
        with server.client() as client:
            assert client.get(f"{path('kept')}/id/a").json() == {"x": 1}
