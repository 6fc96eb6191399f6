"""Files that rot on a node's disk, in real processes: they are found, told and repaired."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.cluster import DEFAULT_TENANT, Cluster, eventually
from tests.support.cluster_plan import Shape
from tests.support.http_client import Client, NoAnswer
from tests.support.replicated_cluster import ReplicatedCluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cluster_parts import Component

PAGE_BYTES: Final = 4_096
TABLE: Final = "/v1/tenant/default/table/rotting"
ITEMS: Final = 240
REPAIRED_S: Final = 30.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("scrub"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicatedCluster]:
    """Run a cluster of three nodes that fold their logs early, with a table of one range."""
    cluster = Cluster(tmp_path_factory.mktemp("scrub"), Shape(nodes=3, proxies=1))
    for node in cluster.of_role("node"):
        node.settings["wal-pages-checkpoint"] = "100"
    cluster.component("control-1").settings["ranges-per-table"] = "1"
    it = ReplicatedCluster(cluster)
    try:
        it.start()
        _fill(it)
        yield it
        cluster.stop()
    finally:
        cluster.kill()


def _fill(it: ReplicatedCluster) -> None:
    with it.cluster.client() as client:
        made = client.put(TABLE, {"idType": "String", "settings": {"replicationFactor": 3}})
        assert made.status == 201, made.body
        for number in range(ITEMS):
            item = {"n": number, "text": f"{number} " * 600}
            assert client.put(f"{TABLE}/id/{number}", item).status in {200, 201}
    it.await_whole("rotting")


def _node(it: ReplicatedCluster, uuid: str) -> Component:
    nodes = it.cluster.of_role("node")
    return next(node for node in nodes if it.node_id(node.place.name) == uuid)


def _ranges(it: ReplicatedCluster) -> list[dict[str, Any]]:
    with it.cluster.admin() as admin:
        path = f"/admin/v1/placement?tenant={DEFAULT_TENANT}&table=rotting"
        found: list[dict[str, Any]] = admin.get(path).json()["ranges"]
    return found


def _rot(node: Component, range_id: str) -> int:
    """Flip a bit of every fifth page of a file, but the first ones. Returns: how many."""
    path: Path = next((node.data / "ranges").rglob(f"{range_id}.db"))
    pages = range(4, path.stat().st_size // PAGE_BYTES, 5)
    with path.open("r+b") as stored:
        for page in pages:
            stored.seek(page * PAGE_BYTES + 777)
            byte = stored.read(1)[0]
            stored.seek(-1, 1)
            stored.write(bytes([byte ^ 4]))
    assert len(pages) > 10, path
    return len(pages)


def _scrub(it: ReplicatedCluster, *, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Ask for a scrub as an operator does, and wait for its end."""
    environment = {
        "HOME": str(it.cluster.directory),
        "DSTORE_ADMIN_URL": it.component("control-1").place.admin_url,
        "DSTORE_TOKEN": it.cluster.operator_token,
    }
    done = subprocess.run(
        [sys.executable, "-m", "dstore", "table", "scrub", "rotting", "-o", "json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode in codes, f"{done.returncode} {done.stdout} {done.stderr}"
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _notices(it: ReplicatedCluster) -> list[dict[str, Any]]:
    with it.cluster.admin() as admin:
        found: list[dict[str, Any]] = admin.get("/admin/v1/notice").json()["notices"]
    return found


def _has_notice(it: ReplicatedCluster, kind: str, *words: str) -> bool:
    told = [json.dumps(each) for each in _notices(it) if each["kind"] == kind]
    return any(all(word in each for word in words) for each in told)


def _sums(told: dict[str, Any]) -> tuple[int, int]:
    ranges = told["ranges"]
    return sum(each["damaged"] for each in ranges), sum(each["different"] for each in ranges)


def _counted(node: Component, name: str) -> float:
    with Client(node.place.admin_url, token=None) as admin:
        page = admin.get("/metrics").body.decode()
    return next(
        float(line.split()[-1]) for line in page.splitlines() if line.startswith(f"{name}_total ")
    )


class _Load(threading.Thread):
    """Writes items one after another and reads them back; what is told must never be wrong."""

    def __init__(self, it: ReplicatedCluster) -> None:
        super().__init__(name="load")
        self._it = it
        self._is_over = threading.Event()
        self.acknowledged: dict[str, int] = {}
        self.doubtful: dict[str, set[int]] = {}
        self.wrong: list[str] = []
        self.reads = self.failed = 0
        self.refusals = Counter[int]()

    def run(self) -> None:
        number = 0
        with self._it.cluster.client() as client:
            while not self._is_over.is_set():
                number += 1
                try:
                    self._write(client, f"{number % 60}", number)
                    self._read(client, f"{number * 7 % 60}")
                except NoAnswer:
                    self.failed += 1

    def _write(self, client: Client, key: str, number: int) -> None:
        doubtful = self.doubtful.setdefault(key, set())
        doubtful.add(number)
        answer = client.post(f"{TABLE}/id/{key}", {"n": number, "text": f"{number} " * 600})
        if answer.status == 200:
            self.acknowledged[key] = number
            doubtful.clear()
        else:
            self.failed += 1
            self.refusals[answer.status] += 1

    def _read(self, client: Client, key: str) -> None:
        answer = client.get(f"{TABLE}/id/{key}")
        if answer.status != 200:
            self.failed += 1
            self.refusals[answer.status] += 1
            return
        self.reads += 1
        self.check(key, answer.json())

    def check(self, key: str, item: dict[str, Any]) -> None:
        """Hold what is read against what was acknowledged."""
        possible = {self.acknowledged.get(key, int(key)), *self.doubtful.get(key, set())}
        if item["n"] not in possible or item["text"] != f"{item['n']} " * 600:
            self.wrong.append(f"{key}: {item['n']} is none of {possible}")

    def end(self) -> None:
        """Stop, and read everything once more."""
        self._is_over.set()
        self.join(timeout=60)
        with self._it.cluster.client() as client:
            for key in map(str, range(ITEMS)):
                answer = client.get(f"{TABLE}/id/{key}")
                assert answer.status == 200, (key, answer)
                self.check(key, answer.json())


def test_a_followers_file_rots(replicated: ReplicatedCluster) -> None:
    """Nobody has noticed; a scrub does, says so, and has the replica copied anew."""
    (shown, *_) = _ranges(replicated)
    primary = _node(replicated, shown["node"])
    follower = next(each["node"] for each in shown["replicas"] if each["node"] != shown["node"])
    node = _node(replicated, follower)
    assert _sums(_scrub(replicated)) == (0, 0)
    _rot(node, shown["rangeId"])
    told = _scrub(replicated)
    assert _sums(told) == (1, 0)
    assert not any(each["isOpen"] for each in told["ranges"])
    eventually(lambda: _has_notice(replicated, "damaged", follower), what="the damage is told")
    eventually(lambda: _has_notice(replicated, "repaired", follower), what="the repair is told")
    assert _counted(primary, "dstore_scrub_repairs") == 1
    assert _counted(primary, "dstore_scrub_bytes") > 0
    replicated.await_whole("rotting")
    assert _sums(_scrub(replicated)) == (0, 0)
    with replicated.cluster.client() as client:
        for number in range(ITEMS):
            assert client.get(f"{TABLE}/id/{number}").json()["n"] == number


def test_a_primarys_file_rots_under_load(replicated: ReplicatedCluster) -> None:
    """No wrong answer and no lost write: it hands over, and is copied anew by who comes next."""
    (shown, *_) = _ranges(replicated)
    node = _node(replicated, shown["node"])
    load = _Load(replicated)
    load.start()
    try:
        eventually(lambda: load.reads > 40, what="clients are at work", within_s=30)
        _rot(node, shown["rangeId"])
        _scrub(replicated, codes=(0, 1))  # 1: whoever is the primary next has it to repair
        eventually(
            lambda: _has_notice(replicated, "repaired", shown["node"]),
            what="the former primary is repaired",
            within_s=REPAIRED_S,
        )
        reads = load.reads
        eventually(lambda: load.reads > reads + 40, what="clients are at work", within_s=30)
    finally:
        load.end()
    assert load.wrong == []
    assert load.reads > 10 * load.failed, load.refusals
    replicated.await_whole("rotting")
    assert _sums(_scrub(replicated)) == (0, 0)
