"""`scripts/soak`: a server with more data than memory is written to and killed as long as asked.

Clients put, replace, delete and get entries of 50 bytes to 90 KB, each its own, while logs fold and
most pages lie on the disk. The server is killed in every second round. Every answer is held
against what was acknowledged before, every entry is read after each round, and in the end the
files are looked at row by row. What was found wrong ends the run with 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from tests.support.http_client import NoAnswer
from tests.support.ledger import Ledger
from tests.support.offline import assert_sound
from tests.support.server import running
from tests.support.table_churn import path
from tests.support.writers import read_table

if TYPE_CHECKING:
    from tests.support.http_client import Client
    from tests.support.server import Server

TABLE: Final = "soak"
CLIENTS: Final = 32
IDS_EACH: Final = 100
SIZES: Final = (50, 800, 3_000, 9_000, 30_000, 90_000)  # characters
GET_SHARE: Final = 0.4
DELETE_SHARE: Final = 0.05
ROUND_S: Final = 20.0
READY_S: Final = 60.0
SETTINGS: Final = {
    "page-cache-bytes": str(1 << 20),
    "entry-cache-bytes": str(1 << 20),
    "wal-pages-checkpoint": "2000",
}


class Writer:
    """A client with entries of its own."""

    def __init__(self, name: str, *, seed: int) -> None:
        """Know of no entry yet."""
        self.name = name
        self.ledger = Ledger()
        self.gets = 0
        self.deletes = False
        self._random = Random(seed)
        self._count = 0

    def work(self, server: Server, *, until_s: float) -> None:
        """Write and read until a moment of the monotonic clock, or until the server is killed."""
        with server.client() as client:
            try:
                while time.monotonic() < until_s:
                    self._do_one(client)
            except NoAnswer:
                return

    def settle(self, found: dict[str, Any]) -> None:
        """Hold a whole table against what was acknowledged."""
        prefix = f"{self.name}-"
        self.ledger.settle({at: entry for at, entry in found.items() if at.startswith(prefix)})

    def _do_one(self, client: Client) -> None:
        random = self._random
        entry_id = f"{self.name}-{random.randrange(IDS_EACH)}"
        where = f"{path(TABLE)}/id/{entry_id}"
        before = self.ledger.now(entry_id)
        if random.random() < GET_SHARE:
            answer = client.get(where)
            assert answer.status == (404 if before is None else 200), (entry_id, answer)
            assert before is None or answer.json() == before, f"{entry_id} is not as acknowledged"
            self.gets += 1
            return
        if self.deletes and before is not None and random.random() < DELETE_SHARE:
            self._write(client, "DELETE", where, entry_id, after=None)
            return
        self._count += 1
        after = {"mark": f"{self.name}:{self._count}", "pad": "x" * random.choice(SIZES)}
        self._write(client, "PUT" if before is None else "POST", where, entry_id, after=after)

    def _write(self, client: Client, method: str, where: str, entry_id: str, *, after: Any) -> None:
        try:
            answer = client.request(method, where, after)
        except NoAnswer:
            self.ledger.doubt(entry_id, after)
            raise
        assert answer.status in {200, 201, 204}, (entry_id, answer)
        self.ledger.acknowledge(entry_id, after)


def main() -> None:
    """Write, kill, look."""
    options = _options()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it takes long
    until_s = time.monotonic() + 60 * options.minutes
    random = Random(options.seed)
    writers = [Writer(f"w{n}", seed=options.seed * 1_000 + n) for n in range(CLIENTS)]
    with tempfile.TemporaryDirectory(prefix="dstore-soak-") as directory:
        with running(Path(directory), settings=SETTINGS) as server:
            with server.client() as client:
                assert client.put(path(TABLE), {"idType": "String"}).status == 201
            number = 0
            while time.monotonic() < until_s:
                number += 1
                kill_s = random.uniform(0.5, 1.0) * ROUND_S if number % 2 == 0 else None
                for writer in writers:
                    writer.deletes = number % 4 == 0  # else files grow, another matter
                _round(server, writers, kill_s=kill_s)
                print(f"round {number}: {_told(writers)}")
            server.kill()
        assert_sound(server.data)
        wrong = [*server.events("fatal"), *server.events("request_failed")]
        assert not wrong, wrong[:3]
    print("All is as it was acknowledged, and the files are sound.")


def _round(server: Server, writers: list[Writer], *, kill_s: float | None) -> None:
    """Let all write for a while, and hold what is there then against what was acknowledged."""
    until_s = time.monotonic() + ROUND_S
    with ThreadPoolExecutor(len(writers)) as pool:
        working = [pool.submit(partial(each.work, server, until_s=until_s)) for each in writers]
        if kill_s is not None:
            time.sleep(kill_s)
            server.kill()
        for each in working:
            each.result()
    if kill_s is not None:
        server.start(timeout_s=READY_S)
    with server.client() as client:
        found = read_table(client, TABLE)
    for writer in writers:
        writer.settle(found)


def _told(writers: list[Writer]) -> str:
    written = sum(each.ledger.acknowledged for each in writers)
    unknown = sum(each.ledger.unknown for each in writers)
    entries = sum(state != [None] for each in writers for state in each.ledger.states.values())
    gets = sum(each.gets for each in writers)
    return f"{written:,} writes, {unknown} unknown, {gets:,} gets, {entries:,} entries"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="[default: 10]")
    parser.add_argument("--seed", type=int, default=1, help="of what is written [default: 1]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
