"""A node that dies or freezes under load: clients of a table of three copies notice nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest

from tests.support.cluster import Cluster, eventually, running_cluster
from tests.support.cluster_parts import Component
from tests.support.cluster_plan import Shape
from tests.support.http_client import Client

TABLE: Final = "/v1/tenant/default/table/orders"
ENTRIES: Final = 30
ANSWERS: Final = 40  # of each kind of request behind the trouble
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster_hiding"),
    pytest.mark.timeout(180),
]


def _strong(client: Client, number: int) -> int:
    return client.get(f"{TABLE}/id/{number % ENTRIES}").status


def _eventual(client: Client, number: int) -> int:
    return client.get(f"{TABLE}/id/{number % ENTRIES}?consistency=eventual").status


def _named(client: Client, number: int) -> int:
    headers = {"Idempotency-Key": f"n{number}"}
    return client.post(f"{TABLE}/id/{number % ENTRIES}", {"n": number}, headers=headers).status


class Load:
    """Requests of one kind, one after the other, until `stop`; each answer counts."""

    def __init__(self, cluster: Cluster, ask: Callable[[Client, int], int]) -> None:
        self._cluster, self._ask = cluster, ask
        self._stopped = threading.Event()
        self.statuses: Counter[int] = Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._cluster.client() as client:
            number = 0
            while not self._stopped.wait(0.02):
                number += 1
                self.statuses[self._ask(client, number)] += 1

    def has(self, count: int) -> bool:
        return self.statuses.total() >= count

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def _killed(node: Component) -> None:
    node.kill()


def _frozen(node: Component) -> None:
    os.kill(node.pid, signal.SIGSTOP)


@pytest.mark.parametrize("trouble", [_killed, _frozen])
def test_a_failover_under_load(trouble: Callable[[Component], None]) -> None:
    """Reads, and writes that have a name, are answered as if nothing had happened, if later."""
    with running_cluster(Shape(nodes=3, proxies=1)) as cluster:
        with cluster.client() as client:
            table = {"idType": "String", "settings": {"replicationFactor": 3}}
            assert client.put(TABLE, table).status == 201
            for number in range(ENTRIES):
                assert client.put(f"{TABLE}/id/{number}", {"n": number}).status == 201
        loads = [Load(cluster, ask) for ask in (_strong, _eventual, _named)]
        node = cluster.component("node-2")
        try:
            for load in loads:
                eventually(partial(load.has, ANSWERS), what="there is load")
            trouble(node)
            before = [load.statuses.total() for load in loads]
            for load, count in zip(loads, before, strict=True):
                # Each kind meets ranges of all nodes, so it has met the one in trouble by then.
                eventually(partial(load.has, count + 2 * ENTRIES + ANSWERS), what="it goes on")
        finally:
            if trouble is _frozen:
                os.kill(node.pid, signal.SIGCONT)
            for load in loads:
                load.stop()
        assert [set(load.statuses) for load in loads] == [{200}] * 3
        cluster.stop()
