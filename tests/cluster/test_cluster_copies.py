"""Tables of several copies in a cluster of real processes: what makers and operators see."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest

from tests.support.cluster import Cluster, eventually, running_cluster
from tests.support.cluster_plan import Shape

TABLES: Final = "/v1/tenant/default/table"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster_copies"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Run a cluster of three nodes."""
    with running_cluster(Shape(nodes=3, proxies=1)) as started:
        yield started
        started.stop()


def _status(cluster: Cluster) -> dict[str, Any]:
    with cluster.admin() as admin:
        found: dict[str, Any] = admin.get("/admin/v1/status").json()["cluster"]
    return found


def _ranges(cluster: Cluster, table: str) -> list[dict[str, Any]]:
    with cluster.admin() as admin:
        path = f"/admin/v1/placement?tenant=default&table={table}"
        found: list[dict[str, Any]] = admin.get(path).json()["ranges"]
    return found


def _survives(cluster: Cluster, count: int) -> bool:
    status = _status(cluster)
    return bool(status["failuresSurvivable"] == count and not status["ranges"]["unavailable"])


def test_a_table_in_three_copies(cluster: Cluster) -> None:
    """Its maker hears what it is worth; the operator sees each copy, and a node that is missing."""
    with cluster.client() as client:
        made = client.put(
            f"{TABLES}/orders", {"idType": "String", "settings": {"replicationFactor": 3}}
        )
        assert made.status == 201, made.body
        assert (made.json()["copies"], made.json()["oneNodeDown"]) == (3, "none")
        for number in range(20):
            assert client.put(f"{TABLES}/orders/id/{number}", {"n": number}).status in {200, 201}
    eventually(partial(_survives, cluster, 1), what="a node failure is survivable")
    for each in _ranges(cluster, "orders"):
        assert (each["factor"], each["minInSync"], each["why"]) == (3, 2, "")
        assert {(one["state"], one["held"], one["isAlive"]) for one in each["replicas"]} == {
            ("in_sync", "okay", True)
        }
    nodes = cluster.listed("node")
    assert [node["ranges"] for node in nodes] == [3, 3, 3]
    assert sorted(node["primaries"] for node in nodes) == [1, 1, 1]
    node = cluster.component("node-3")
    node.kill()
    try:
        eventually(
            lambda: _status(cluster)["ranges"]["underReplicated"] == 3,
            what="its copies are missed",
        )
        eventually(partial(_survives, cluster, 0), what="the others have taken over")
        with cluster.client() as client:
            for number in range(20):
                assert client.get(f"{TABLES}/orders/id/{number}").json() == {"n": number}
                replaced = client.post(f"{TABLES}/orders/id/{number}", {"n": -number})
                assert replaced.status == 200, replaced.body
    finally:
        node.start()
    eventually(partial(_survives, cluster, 1), what="the node has caught up")


def test_a_table_goes_from_every_node(cluster: Cluster) -> None:
    """Each node lets go of its copy, whether it was the primary of it or not."""
    with cluster.client() as client:
        made = client.put(
            f"{TABLES}/gone", {"idType": "String", "settings": {"replicationFactor": 2}}
        )
        assert (made.status, made.json()["oneNodeDown"]) == (201, "readOnly")
        assert client.put(f"{TABLES}/gone/id/a", {"a": 1}).status == 201
        before = [node["ranges"] for node in cluster.listed("node")]
        assert client.delete(f"{TABLES}/gone").status == 204
        eventually(
            lambda: sum(node["ranges"] for node in cluster.listed("node")) == sum(before) - 6,
            what="its ranges are gone",
        )
        again = client.put(f"{TABLES}/gone", {"idType": "Integer"})
        assert again.status == 201, again.body
