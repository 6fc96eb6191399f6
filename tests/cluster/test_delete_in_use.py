"""A table that is deleted while it is read, written, scanned and folded takes nothing else down."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support.server import Server, running
from tests.support.table_churn import path

ROUNDS: Final = 15
TABLE: Final = path("doomed")
DOCUMENT: Final = {"text": "x" * 30_000}


@pytest.mark.slow
def test_deleted_while_in_use(tmp_path: Path) -> None:
    """Each answer is a success or tells that the table is gone; the process and its files live."""
    statuses: set[tuple[str, int]] = set()
    stop = threading.Event()

    def use(server: Server, number: int) -> None:
        with server.client() as client:
            while not stop.is_set():
                entry = f"{TABLE}/id/{number}"
                for method, target, body in (
                    ("PUT", entry, DOCUMENT),
                    ("GET", entry, None),
                    ("GET", f"{TABLE}/id?limit=1000", None),
                    ("DELETE", entry, None),
                ):
                    statuses.add((method, client.request(method, target, body).status))

    with running(tmp_path, settings={"wal-pages-checkpoint": "100"}) as server:
        threads = [threading.Thread(target=use, args=(server, n)) for n in range(5)]
        for thread in threads:
            thread.start()
        try:
            with server.client() as client:
                for _ in range(ROUNDS):
                    assert client.put(TABLE, {"idType": "Integer"}).status == 201
                    for number in range(100, 130):
                        assert client.put(f"{TABLE}/id/{number}", DOCUMENT).status == 201
                    assert client.delete(TABLE).status == 204
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        for event in ("fatal", "request_failed", "storage_damaged", "fold_failed", "close_failed"):
            assert server.events(event) == []
        assert {status for _, status in statuses} <= {200, 201, 204, 404}, statuses
        assert not list((server.data / "ranges").rglob("*.db*"))
        assert not [file for file in _open_files(server.pid) if "(deleted)" in file]
        assert server.stop() == 0


def _open_files(pid: int) -> list[str]:
    """List what a process has open; a descriptor may be closed while we look."""
    names = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            names.append(str(descriptor.readlink()))
    return names
