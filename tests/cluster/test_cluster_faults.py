"""A cluster of real processes while parts of it die: 3 nodes, 2 proxies, PostgreSQL, etcd, TLS.

Parts of the cluster stay away for OUTAGE_S each, longer than a lease; DSTORE_OUTAGE_S=60 makes it a
minute. All tests share one cluster, and each leaves it whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.balancer import balanced
from tests.support.cluster import Cluster, eventually, running_cluster
from tests.support.cluster_plan import Shape
from tests.support.sdk_load import load

OUTAGE_S: Final = float(os.environ.get("DSTORE_OUTAGE_S", "7"))
TABLE: Final = "orders"
ITEMS: Final = 60
_REFUSED_S: Final = 30.0  # control is waited for, but not for ever
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster_faults"),
    pytest.mark.timeout(120 + 2 * OUTAGE_S),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Run a cluster with a table that is spread over its nodes."""
    with running_cluster(Shape(nodes=3, proxies=2, has_postgresql=True)) as started:
        _make_table(started, TABLE)
        yield started
        started.stop()


def _make_table(cluster: Cluster, name: str) -> None:
    client = cluster.sdk(cluster.component("proxy-1").url)
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(
        TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    for proxy in cluster.of_role("proxy"):
        other = cluster.sdk(proxy.url)
        eventually(partial(_is_active, other, name), what=f"{name} is active at {proxy.url}")


def _is_active(client: Any, name: str) -> bool:
    try:
        status: str = client.describe_table(TableName=name)["Table"]["TableStatus"]
    except ClientError:
        return False
    return status == "ACTIVE"


def _urls(cluster: Cluster) -> list[str]:
    return [proxy.url for proxy in cluster.of_role("proxy")]


@contextmanager
def _balanced(cluster: Cluster) -> Iterator[str]:
    with balanced(
        [("127.0.0.1", proxy.place.public_port) for proxy in cluster.of_role("proxy")]
    ) as url:
        yield url


def test_what_one_proxy_wrote_another_reads(cluster: Cluster) -> None:
    """A client may use any proxy: entries of v1 and items, spread over all nodes, are the same."""
    with cluster.client("proxy-1") as a, cluster.client("proxy-2") as b:
        table = "/v1/tenant/default/table/things"
        assert a.put(table, {"idType": "String"}).status == 201
        eventually(lambda: b.get(table).status == 200, what="the other proxy knows the table")
        for number in range(ITEMS):
            assert a.put(f"{table}/id/e{number}", {"number": number}).status == 201
        for number in range(ITEMS):
            assert b.get(f"{table}/id/e{number}").json() == {"number": number}
        listed = b.get(f"{table}/id?limit={ITEMS * 2}").json()["entries"]
        assert {entry["id"] for entry in listed} == {f"e{number}" for number in range(ITEMS)}
    first, second = (cluster.sdk(url) for url in _urls(cluster))
    items = [{"p": {"S": f"i{number}"}, "n": {"N": str(number)}} for number in range(ITEMS)]
    for item in items:
        first.put_item(TableName=TABLE, Item=item)
    found = [second.get_item(TableName=TABLE, Key={"p": item["p"]})["Item"] for item in items]
    assert found == items
    scanned = second.scan(TableName=TABLE)["Items"]
    assert sorted(item["p"]["S"] for item in scanned) == sorted(item["p"]["S"] for item in items)
    assert all(node["ranges"] >= 2 for node in cluster.listed("node")), cluster.listed("node")


def test_a_proxy_dies_under_load(cluster: Cluster) -> None:
    """Clients that may use both see no failed request: the SDK tries again, at the other one."""
    victim = cluster.component("proxy-2")
    with _balanced(cluster) as url:
        with load([url], cluster.access_key, table=TABLE) as running:
            eventually(lambda: running.requests > 0, what="clients are answered")
            time.sleep(2)
            victim.kill()
            before = running.requests
            time.sleep(3)
            eventually(lambda: running.requests > before, what="clients go on")
            victim.start()
            time.sleep(2)
        assert running.failures == []
        running.check()


def test_etcd_is_away(cluster: Cluster) -> None:
    """I10: without etcd nothing new is decided, and every read and write goes on."""
    with load(_urls(cluster), cluster.access_key, table=TABLE, attempts=1) as running:
        time.sleep(1)
        cluster.etcd.stop()
        time.sleep(OUTAGE_S)
        during = running.requests
        cluster.etcd.start()
        time.sleep(1)
    assert running.failures == []
    assert during > 0
    running.check()
    _make_table(cluster, "after-etcd")


def test_control_is_away(cluster: Cluster) -> None:
    """I10: without control no table is made, and every read and write goes on."""
    control = cluster.component("control-1")
    with load(_urls(cluster), cluster.access_key, table=TABLE, attempts=1) as running:
        time.sleep(1)
        control.kill()
        began = time.monotonic()
        if OUTAGE_S > _REFUSED_S:
            with pytest.raises((ClientError, BotoCoreError)):
                _create(cluster, "without-control")
            assert time.monotonic() - began < _REFUSED_S, "it is refused, not held for ever"
        time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - began)))
        control.start()
        time.sleep(1)
    assert running.failures == []
    running.check()
    _make_table(cluster, "after-control")


def _create(cluster: Cluster, name: str) -> None:
    client = cluster.sdk(cluster.component("proxy-1").url, attempts=1)
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def test_a_node_is_killed_and_comes_back(cluster: Cluster) -> None:
    """I1: what it acknowledged is there again; meanwhile the other nodes' keys are served."""
    victim = cluster.component("node-2")
    with load(_urls(cluster), cluster.access_key, table=TABLE, attempts=1) as running:
        time.sleep(1)
        victim.kill()
        time.sleep(2)
    assert running.requests > 0
    victim.start()
    reader = cluster.sdk(_urls(cluster)[0])
    running.check(reader)


def test_everything_is_started_again(cluster: Cluster) -> None:
    """All of it is there: tenants, tables, items, credentials, and new ones can be made."""
    client = cluster.sdk(_urls(cluster)[0])
    before = client.scan(TableName=TABLE, ConsistentRead=True)["Items"]
    assert before
    cluster.restart()
    client = cluster.sdk(_urls(cluster)[1])
    after = client.scan(TableName=TABLE, ConsistentRead=True)["Items"]
    assert sorted(map(str, after)) == sorted(map(str, before))
    with cluster.client("proxy-2") as operator:
        answer = operator.get("/v1/tenant/default/table/things/id/e7")
        assert (answer.status, answer.json()) == (200, {"number": 7})
    _make_table(cluster, "after-all")
