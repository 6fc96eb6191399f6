"""What happens on a full disk: scenarios that run in a mount namespace of their own.

`python tests/support/full_disk.py SCENARIO DIRECTORY`, started by `unshare --mount`, so that the
small tmpfs of the data directory needs no privilege beyond that and vanishes with the process.
`tests/cluster/test_full_disk.py` says why each scenario exists.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.offline import assert_sound
from tests.support.server import Server, ServerEnded, prepared
from tests.support.table_churn import path

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.http_client import Answer

MIB: Final = 1 << 20
DISK_BYTES: Final = 40 * MIB
BALLAST_BYTES: Final = 16 * MIB
RESERVE_BYTES: Final = 12 * MIB
WAIT_S: Final = 15.0
SAID_LINES_MAX: Final = 3  # by a start that is refused
QUANTITIES_S: Final = 32.0  # just longer than between two notes of the tables' counts
TABLE: Final = path("filled")
ROWS_CHARS: Final = 20_000
ASYNC: Final = {"Prefer": "respond-async"}


class SmallDisk:
    """A server whose data directory is a tmpfs of DISK_BYTES, part of it taken by ballast."""

    def __init__(self, server: Server) -> None:
        """Mount it and start the server."""
        self.server = server
        self.acknowledged: list[int] = []
        server.data.mkdir()
        options = f"size={DISK_BYTES},mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", server.data], check=True)
        self._ballast = server.data / "ballast"
        self._ballast.write_bytes(bytes(BALLAST_BYTES))
        server.start()
        self.client = server.client()
        self.admin = server.admin()
        # The same ports at every start, so that a start has nothing to write.
        server.settings["port"] = server.env()["DSTORE_URL"].rpartition(":")[2]
        server.settings["admin-port"] = server.env()["DSTORE_ADMIN_URL"].rpartition(":")[2]
        assert self.client.put(TABLE, {"idType": "Integer"}).status == 201

    def connect(self) -> None:
        """Talk to the server as it runs now."""
        self.close()
        self.client, self.admin = self.server.client(), self.server.admin()

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self.admin.close()

    def put(self, number: int, **options: dict[str, str]) -> Answer:
        """Write the entry of that number."""
        return self.client.put(f"{TABLE}/id/{number}", document(number), **options)

    def fill(self) -> None:
        """Write until writes are refused; the refusal is 507, told as a problem."""
        for number in range(len(self.acknowledged), 10_000):
            answer = self.put(number)
            if answer.status != 201:
                expect(answer, 507)
                assert answer.problem == "no-space", answer.body
                return
            self.acknowledged.append(number)
        raise AssertionError("the disk does not get full")

    def fill_to_the_last_byte(self) -> None:
        """Leave no block free, whatever holds it."""
        with (self.server.data / "rest").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4_096))
            except OSError:
                return

    def spare(self, size: int) -> None:
        """Give back so many bytes of the ballast."""
        with self._ballast.open("r+b") as file:
            file.truncate(BALLAST_BYTES - size)

    def free(self) -> None:
        """Make room, and wait until a write is taken; until then each is refused by 507."""
        self._ballast.unlink(missing_ok=True)
        (self.server.data / "rest").unlink(missing_ok=True)
        deadline = time.monotonic() + WAIT_S
        number = len(self.acknowledged)
        while (answer := self.put(number)).status != 201:
            expect(answer, 507)
            assert time.monotonic() < deadline, "writes are still refused"
            time.sleep(0.1)
        self.acknowledged.append(number)

    def check(self) -> None:
        """Read back everything that was acknowledged."""
        assert self.server.is_running, self.server.said()
        for number in self.acknowledged:
            answer = self.client.get(f"{TABLE}/id/{number}")
            expect(answer, 200)
            assert answer.json() == document(number)

    def finish(self) -> None:
        """Stop, look at the files, start again, read again; nothing was called a server's error."""
        self.check()
        self.close()
        assert self.server.stop() == 0
        assert_sound(self.server.data)
        self.server.start()
        self.connect()
        self.check()
        self.close()
        assert self.server.stop() == 0
        for event in ("fatal", "request_failed", "storage_damaged", "task_failed"):
            assert self.server.events(event) == [], self.server.events(event)
        assert "Traceback" not in self.server.stderr.read_text()


def document(number: int) -> dict[str, str]:
    """Make the entry of a number."""
    return {"number": str(number), "pad": f"{number:08}" * (ROWS_CHARS // 8)}


def expect(answer: Answer, *statuses: int) -> None:
    """Fail with what the answer says."""
    assert answer.status in statuses, (answer.status, answer.body)


def every_write(disk: SmallDisk) -> None:
    """Try every kind of write on a disk without a free block: 507, or it still fits; no 500."""
    entry = f"{TABLE}/id/0"
    expect(disk.client.post(entry, document(0)), 200, 507)
    expect(disk.client.merge(entry, {"pad": document(0)["pad"]}), 200, 507)
    for number in range(20):
        expect(disk.put(9_000 + number, headers=ASYNC), 202, 507)
    for number in range(3):
        expect(disk.client.put(path(f"more-{number}"), {"idType": "String"}), 201, 507)
        expect(disk.client.put(f"/v1/tenant/more-{number}"), 201, 507)
        expect(disk.admin.post("/admin/v1/token"), 201, 507)
        expect(disk.client.delete(path(f"more-{number}")), 204, 404, 507)
        expect(disk.client.delete(f"/v1/tenant/more-{number}?force=true"), 204, 404, 507)
    expect(disk.client.get("/v1/tenant"), 200)
    expect(disk.admin.get("/admin/v1/status"), 200)


def no_reserve(disk: SmallDisk) -> None:
    """Fill to the last byte, go on for longer than any background job rests, make room."""
    disk.fill()
    disk.fill_to_the_last_byte()
    every_write(disk)
    disk.check()
    time.sleep(QUANTITIES_S)
    disk.fill_to_the_last_byte()
    every_write(disk)
    disk.check()
    disk.free()
    deadline = time.monotonic() + WAIT_S
    while disk.admin.get("/admin/v1/status").json()["queue"]["deferred"]:
        assert time.monotonic() < deadline, "accepted writes are not getting done"
        time.sleep(0.05)
    disk.finish()


def reserve(disk: SmallDisk) -> None:
    """Refuse writes while the reserve is still free, and say so."""
    deadline = time.monotonic() + WAIT_S
    while disk.server.events("disk_space_low") == []:
        disk.fill()
        assert time.monotonic() < deadline
    assert disk.admin.get("/admin/v1/status").json()["health"] == "HEALTH_WARN"
    expect(disk.put(9_000, headers=ASYNC), 507)
    expect(disk.client.delete(f"{TABLE}/id/0"), 507)
    disk.check()
    disk.free()
    deadline = time.monotonic() + WAIT_S  # the node says how it is every few seconds
    while disk.admin.get("/admin/v1/status").json()["health"] != "HEALTH_OK":
        assert time.monotonic() < deadline, disk.admin.get("/admin/v1/status").body
        time.sleep(0.1)
    disk.finish()


def killed(disk: SmallDisk) -> None:
    """Kill the server on a disk without a free block: it wants little room to start there again."""
    disk.fill()
    disk.fill_to_the_last_byte()
    disk.server.kill()
    with pytest.raises(ServerEnded) as ended:  # a start is counted, durably
        disk.server.start()
    assert ended.value.code == 1
    assert ended.value.stderr.endswith("disk is full; free space.\n")
    assert ended.value.stderr.count("\n") <= SAID_LINES_MAX
    disk.spare(MIB)
    disk.server.start()
    disk.connect()
    disk.check()
    disk.free()
    disk.finish()


def stopped(disk: SmallDisk) -> None:
    """Stop the server on a disk without a free block: exit 0, and nothing is lost."""
    disk.fill()
    disk.fill_to_the_last_byte()
    disk.close()
    assert disk.server.stop() == 0
    disk.fill_to_the_last_byte()
    with pytest.raises(ServerEnded) as ended:  # a database needs 32 KiB for the index of its log
        disk.server.start()
    assert ended.value.code == 1
    assert ended.value.stderr == "dstore: The disk is full; free space, then retry.\n"
    disk.spare(MIB)
    disk.server.start()
    disk.connect()
    disk.check()
    disk.free()
    disk.finish()


SCENARIOS: Final[dict[str, tuple[Callable[[SmallDisk], None], dict[str, str]]]] = {
    "no_reserve": (no_reserve, {"free-disk-bytes-min": "0"}),
    "folding": (no_reserve, {"free-disk-bytes-min": "0", "wal-pages-checkpoint": "100"}),
    "reserve": (reserve, {"free-disk-bytes-min": str(RESERVE_BYTES)}),
    "killed": (killed, {"free-disk-bytes-min": "0"}),
    "stopped": (stopped, {"free-disk-bytes-min": "0"}),
}


def main(name: str, directory: Path) -> None:
    """Run one scenario."""
    scenario, settings = SCENARIOS[name]
    with prepared(directory, settings=settings) as server:
        disk = SmallDisk(server)
        try:
            scenario(disk)
        finally:
            disk.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
