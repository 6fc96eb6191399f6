"""Replicas move by themselves where they should be: real processes, real etcd, clients at work."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.cluster import Cluster, eventually
from tests.support.cluster_plan import Shape
from tests.support.histories import recorded
from tests.support.replicated_cluster import (
    FACTOR,
    TABLE,
    Range,
    ReplicatedCluster,
)

if TYPE_CHECKING:
    from tests.support.cluster_parts import Component

_ITEMS: Final = 400
_ITEM_BYTES: Final = 8_192
_ZONE: Final = "one"
_MOVED_S: Final = 90.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("elasticity"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicatedCluster]:
    """Run a cluster of three nodes, all in one zone, with a table."""
    cluster = Cluster(tmp_path_factory.mktemp("elastic"), Shape(nodes=3, proxies=1))
    for node in cluster.of_role("node"):
        node.settings["zone"] = _ZONE
    made = ReplicatedCluster(cluster)
    try:
        made.start()
        yield made
        cluster.stop()
    finally:
        cluster.kill()


def _load(ranges: Sequence[Range]) -> Counter[str]:
    return Counter(node for each in ranges for node in each.replicas)


def _is_even(ranges: Sequence[Range], nodes: int) -> bool:
    load, led = _load(ranges), Counter(each.primary for each in ranges)
    is_whole = all(each.is_whole for each in ranges)
    return (
        is_whole
        and len(load) == nodes
        and max(load.values()) - min(load.values()) <= 1
        and max(led.values()) - min(led.values() if len(led) == nodes else [0]) <= 1
    )


def _fill(replicated: ReplicatedCluster) -> dict[str, bytes]:
    sdk = replicated.cluster.sdk(replicated.cluster.of_role("proxy")[0].url)
    items = {f"item-{number}": secrets.token_bytes(_ITEM_BYTES) for number in range(_ITEMS)}
    for key, content in items.items():
        sdk.put_item(TableName=TABLE, Item={"p": {"S": key}, "b": {"B": content}})
    return items


def _check(replicated: ReplicatedCluster, items: dict[str, bytes]) -> None:
    sdk = replicated.cluster.sdk(replicated.cluster.of_role("proxy")[0].url)
    for key, content in items.items():
        for is_strong in (True, False):
            found = sdk.get_item(TableName=TABLE, Key={"p": {"S": key}}, ConsistentRead=is_strong)
            assert found["Item"]["b"]["B"] == content


def test_a_fourth_node_takes_its_part_and_goes_again(replicated: ReplicatedCluster) -> None:
    """Data moves while clients work: none of them sees it, and no range is ever weaker."""
    cluster = replicated.cluster
    items = _fill(replicated)
    replicated.await_ranges(lambda ranges: _is_even(ranges, 3), what="three are even")
    revision = replicated.revision()
    clients = replicated.clients()
    hashes = [each.hashes for each in replicated.ranges()]
    with cluster.guest("node") as fourth:
        fourth.settings["zone"] = _ZONE
        fourth.give_token(cluster.join_token("node"))
        with recorded(clients, hashes, table=TABLE) as running:
            fourth.start()
            node = _listed(cluster, fourth)
            replicated.names({node: fourth.place.name})
            replicated.await_ranges(
                lambda ranges: _is_even(ranges, 4), what="four are even", within_s=_MOVED_S
            )
            _check(replicated, items)
            assert _files(fourth)
            _decommission(cluster, node)
            replicated.await_ranges(
                lambda ranges: _is_even(ranges, 3), what="three have it all", within_s=_MOVED_S
            )
            eventually(lambda: not _files(fourth), what="its files are gone", within_s=_MOVED_S)
            eventually(lambda: _is_removed(cluster, node), what="it is removed", within_s=_MOVED_S)
        running.read_back(clients[0])
        problems = running.problems()
        assert not problems, "\n".join(problems)
    _check(replicated, items)
    for value in replicated.values_since(revision):
        assert len(value.in_sync) >= FACTOR
        assert value.factor == FACTOR


def _listed(cluster: Cluster, component: Component) -> str:
    """Wait until control shows a node. Returns: its UUID."""
    url = f"https://{component.place.host}:{component.place.peer_port}"
    found: list[str] = []

    def is_listed() -> bool:
        found[:] = [one["id"] for one in cluster.listed("node") if one["url"] == url]
        return bool(found)

    eventually(is_listed, what="the node is listed")
    return found[0]


def _decommission(cluster: Cluster, node: str) -> None:
    with cluster.admin() as admin:
        answer = admin.put(f"/admin/v1/node/{node}/intent", {"intent": "decommission"})
    assert answer.status == 200, answer


def _is_removed(cluster: Cluster, node: str) -> bool:
    with cluster.admin() as admin:
        return admin.delete(f"/admin/v1/node/{node}").status == 200


def _files(component: Component) -> list[Path]:
    """List the files of a node's ranges."""
    return list(component.data.glob("ranges/**/*.db"))
