"""A server killed at random moments, dozens of times, loses nothing it acknowledged (I1, I9).

DSTORE_KILLS=250 makes it a thousand times.
"""

from __future__ import annotations

import os
import time
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from dstore.storage.orphans import ORPHANS
from tests.support.offline import assert_sound, range_files
from tests.support.server import running
from tests.support.table_churn import TableChurn, path
from tests.support.writers import Writer, read_table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.http_client import Client
    from tests.support.server import Server

SEEDS: Final = (11, 12, 13, 14)
KILLS_EACH: Final = int(os.environ.get("DSTORE_KILLS", "8"))
ROUND_S: Final = (0.15, 0.9)  # how long writers write before the kill
DEFERRED_S: Final = 30.0
# Small, so that the log is being folded most of the time.
SETTINGS: Final = {"wal-pages-checkpoint": "200"}


def _writers(seed: int) -> list[Writer]:
    plain = [Writer(f"w{n}", table=f"table{n % 2}", seed=100 * seed + n) for n in range(5)]
    deferred = [
        Writer(f"d{n}", table=f"table{n}", seed=100 * seed + 50 + n, deferred=True)
        for n in range(2)
    ]
    return plain + deferred


@pytest.mark.slow
@pytest.mark.timeout(120 + 40 * KILLS_EACH)
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    """SIGKILL while entries, deferred writes and tables come and go, and while logs fold."""
    random = Random(seed)
    writers, churn = _writers(seed), TableChurn("churn", seed=seed)
    threads: list[Writer | TableChurn] = [*writers, churn]
    with running(tmp_path, settings=SETTINGS) as server:
        with server.client() as client:
            for table in ("table0", "table1"):
                assert client.put(path(table), {"idType": "String"}).status == 201
        for kill in range(KILLS_EACH):
            for thread in threads:
                thread.begin(server)
            time.sleep(random.uniform(*ROUND_S))
            churn.wait_change()  # on a busy machine one takes longer than that
            server.kill()
            for thread in threads:
                thread.end()
            if kill % 4 == 1:  # as it lies there: the restart has not repaired it
                assert_sound(server.data, tmp_path / "copy")
            server.start()
            _check(server, writers, churn)
        server.kill()
    assert_sound(server.data)
    assert sum(writer.ledger.acknowledged for writer in writers) > 20 * KILLS_EACH
    assert sum(writer.ledger.unknown for writer in writers) > KILLS_EACH
    assert churn.changes >= KILLS_EACH
    assert server.events("fatal") == server.events("request_failed") == []


def _check(server: Server, writers: list[Writer], churn: TableChurn) -> None:
    """Hold the restarted server to everything that was acknowledged before."""
    with server.client() as client, server.admin() as admin:
        _wait_deferred(admin)
        for writer in writers:
            _check_accepted(client, writer)
            writer.retry(client)
        for table in ("table0", "table1"):
            found = read_table(client, table)
            mine = [writer for writer in writers if writer.table == table]
            for writer in mine:
                prefix = f"{writer.name}-"
                writer.ledger.settle({i: d for i, d in found.items() if i.startswith(prefix)})
            assert client.get(path(table)).json()["entries"] == len(found)
        tables = churn.settle(client) + 2
    # What a kill cut short of a creation or deletion is set aside, and no table's any more.
    files = [file for file in range_files(server.data) if file.parent.name != ORPHANS]
    databases = [file for file in files if file.suffix == ".db"]
    assert len(databases) == tables
    others = {file.name.rpartition("-")[0] for file in files if file.suffix != ".db"}
    assert others <= {file.name for file in databases}, "a log without its database"
    assert not list(server.data.glob("*.new*"))


def _wait_deferred(admin: Client) -> None:
    """Wait until every write accepted with 202 has been done."""
    deadline = time.monotonic() + DEFERRED_S
    while admin.get("/admin/v1/status").json()["queue"]["deferred"]:
        assert time.monotonic() < deadline, "accepted writes are not getting done"
        time.sleep(0.02)


def _check_accepted(client: Client, writer: Writer) -> None:
    """Ask after each accepted write: it is done, once, with the status of its first time."""
    for request_id, status in writer.accepted.items():
        answer = client.get(f"/v1/tenant/default/request/{request_id}")
        assert answer.status == 200, answer.body
        assert (answer.json()["state"], answer.json().get("status")) == ("done", status)
    writer.accepted.clear()
