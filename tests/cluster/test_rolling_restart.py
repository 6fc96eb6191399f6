"""A rolling restart: each node is stopped and started under load, and no request fails.

Real processes, real etcd. Clients repeat nothing by themselves, and half of what they write has no
name under which a proxy could repeat what may have been done. The operator types what OPERATIONS.md
says.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from dstore.base.limits import DRAIN_TIMEOUT_S, LEASE_TTL_S
from tests.simulation.history import Fate
from tests.support.cluster import DEFAULT_TENANT, eventually
from tests.support.cluster_plan import Shape
from tests.support.histories import Client as Lane
from tests.support.histories import Recorded, recorded
from tests.support.http_client import Client, NoAnswer
from tests.support.replicated_cluster import TABLE, ReplicatedCluster, replicated_cluster
from tests.support.server import ROOT

if TYPE_CHECKING:
    from tests.support.cluster_parts import Component

_PLAIN: Final = "plain"
_LANES: Final = 4  # of requests without names
_PAUSE_S: Final = 0.05
_EVEN_S: Final = 30.0
_RESTART: Final = re.compile(r"<!-- rolling restart: [^\n]*-->\n```sh\n(.*?)```", re.DOTALL)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("rolling_restart"),
    pytest.mark.timeout(150),
]


class _Plain:
    """One who writes the next number and reads it back, again and again, over the REST API."""

    def __init__(self, url: str, token: str, key: str) -> None:
        self._client = Client(url, token=token, timeout_s=20.0)
        self._path = f"/v1/tenant/{DEFAULT_TENANT}/table/{_PLAIN}/id/{key}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.written = 0
        self.longest_s = 0.0
        self.problems: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            number = self.written + 1
            if self._ask("POST" if self.written else "PUT", {"n": number}) is not None:
                self.written = number
                found = self._ask("GET")
                if found is not None and found != {"n": number}:
                    self.problems.append(f"{number} was written, and read is {found}")
            time.sleep(_PAUSE_S)

    def _ask(self, method: str, body: object = None) -> object:
        began_s = time.monotonic()
        try:
            answer = self._client.request(method, self._path, body)
        except NoAnswer as error:
            self.problems.append(str(error))
            return None
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)
        if answer.status not in {200, 201, 204}:
            self.problems.append(f"{method}: {answer.status} {answer.body.decode()}")
            return None
        return answer.json() if method == "GET" else answer.status


@pytest.fixture(scope="module")
def replicated() -> Iterator[ReplicatedCluster]:
    """Run a cluster with two tables of three replicas, through two proxies."""
    with replicated_cluster(Shape(nodes=3, proxies=2)) as started:
        with started.cluster.client() as client:
            path = f"/v1/tenant/{DEFAULT_TENANT}/table/{_PLAIN}"
            assert client.put(path, {"idType": "String"}).status == 201
        started.await_whole(_PLAIN)
        yield started
        started.cluster.stop()


@contextmanager
def _plain_load(replicated: ReplicatedCluster) -> Iterator[Sequence[_Plain]]:
    cluster = replicated.cluster
    urls = [proxy.url for proxy in cluster.of_role("proxy")]
    lanes = [
        _Plain(urls[number % len(urls)], cluster.operator_token, f"lane-{number}")
        for number in range(_LANES)
    ]
    for lane in lanes:
        lane.start()
    try:
        yield lanes
    finally:
        for lane in lanes:
            lane.stop()


def _restart(replicated: ReplicatedCluster, node: Component) -> float:
    """Type what OPERATIONS.md says, for one node. Returns: how long it took to stop, in seconds."""
    (lines,) = _RESTART.findall((ROOT / "docs" / "OPERATIONS.md").read_text())
    done = subprocess.run(
        ["bash", "-c", 'set -eu\nssh() { kill -TERM "$NODE_PID"; }\n' + lines],
        check=False,
        capture_output=True,
        text=True,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
            "HOME": str(node.directory),
            "PYTHONPATH": str(ROOT),
            "DSTORE_ADMIN_URL": replicated.cluster.component("control-1").place.admin_url,
            "DSTORE_TOKEN": replicated.cluster.operator_token,
            "NODE": replicated.node_id(node.place.name),
            "MACHINE": node.place.host,
            "NODE_PID": str(node.pid),
        },
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    began_s = time.monotonic()
    assert node.wait(timeout_s=DRAIN_TIMEOUT_S) == 0
    stopped_s = time.monotonic() - began_s
    node.start()
    return stopped_s


def _written(running: Recorded, ranges: int) -> list[int]:
    counts = Counter(each.range for each in tuple(running.written))
    return [counts[at] for at in range(ranges)]


def _is_more(running: Recorded, before: Sequence[int]) -> bool:
    now = _written(running, len(before))
    return all(more > less for more, less in zip(now, before, strict=True))


def _is_even(replicated: ReplicatedCluster) -> bool:
    """Tell whether every node is primary of as many ranges as the others, but for one."""
    ranges = [*replicated.ranges(), *replicated.ranges(_PLAIN)]
    led = Counter(each.primary for each in ranges)
    nodes = len(replicated.cluster.of_role("node"))
    return len(led) == nodes and max(led.values()) - min(led.values()) <= 1


def test_no_request_fails(replicated: ReplicatedCluster) -> None:
    """Every request of every client is answered, nothing is lost, and nobody waits for long."""
    cluster = replicated.cluster
    clients = [
        Lane(sdk=cluster.sdk(proxy.url, attempts=1), repeats=False)
        for proxy in cluster.of_role("proxy")
    ]
    ranges = [each.hashes for each in replicated.ranges()]
    revision = replicated.revision()
    stopped_s = []
    with (
        recorded(clients, ranges, table=TABLE, lanes_a_range=2) as running,
        _plain_load(replicated) as lanes,
    ):
        for node in cluster.of_role("node"):
            before = _written(running, len(ranges))
            stopped_s.append(_restart(replicated, node))
            eventually(
                partial(_is_more, running, before), what="every range takes writes", within_s=10.0
            )
        eventually(
            partial(_is_even, replicated), what="all lead their part again", within_s=_EVEN_S
        )
    longest_s = max(
        *(lane.longest_s for lane in lanes),
        *(each.ended_s - each.began_s for each in running.written),
    )
    sys.stderr.write(
        f"\nrestarted 3 nodes, each stopped in {[round(each, 2) for each in stopped_s]} s; "
        f"{len(running.written)} named and {sum(lane.written for lane in lanes)} nameless writes, "
        f"longest request {longest_s:.2f} s\n"
    )
    assert [problem for lane in lanes for problem in lane.problems] == []
    assert running.history.count(Fate.FAILED) == 0
    assert running.history.count(Fate.UNKNOWN) == 0
    assert longest_s < LEASE_TTL_S, "somebody waited for a failover"
    running.read_back(clients[0])
    assert running.problems() == []
    for value in replicated.values_since(revision):
        assert len(value.in_sync) >= value.min_in_sync
