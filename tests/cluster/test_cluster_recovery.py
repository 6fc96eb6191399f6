"""etcd loses everything under a running cluster, and is filled again from control's store."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.cluster import Cluster, eventually, running_cluster
from tests.support.cluster_plan import Shape
from tests.support.etcd import coordinator_of, running
from tests.support.ports import lasting_ports
from tests.support.sdk_load import load

if TYPE_CHECKING:
    from dstore.topology.etcd_wire import EtcdTls
    from tests.support.etcd import EtcdServer

TABLE: Final = "orders"
ITEMS: Final = 40
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster_recovery"),
    pytest.mark.timeout(150),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Run a cluster whose control keeps its store in SQLite."""
    with running_cluster(Shape(nodes=2, proxies=2)) as started:
        yield started
        started.stop()


def _make_table(cluster: Cluster, name: str, *, proxy: str = "proxy-1") -> None:
    client = cluster.sdk(cluster.component(proxy).url)
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(
        TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )


def _recover(cluster: Cluster, *args: str) -> subprocess.CompletedProcess[str]:
    control = cluster.component("control-1")
    environment = {
        "DSTORE_ADMIN_URL": control.place.admin_url,
        "DSTORE_TOKEN": cluster.operator_token,
        "HOME": str(cluster.directory),
    }
    return subprocess.run(
        [sys.executable, "-m", "dstore", "control", "recover-topology", "-o", "json", *args],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _lose_etcd(cluster: Cluster, *, writes: int = 0) -> None:
    """Let etcd come back empty, or written to by somebody meanwhile."""
    etcd = cluster.etcd
    etcd.stop()
    shutil.rmtree(etcd.directory / "data")
    if writes:
        aside = replace(etcd, client_port=lasting_ports(1)[0])
        with running(aside):
            asyncio.run(_write(aside, cluster.etcd_tls, writes))
    etcd.start()


async def _write(etcd: EtcdServer, tls: EtcdTls, count: int) -> None:
    coordinator = coordinator_of(etcd, tls=tls)
    try:
        for number in range(count):
            await coordinator.put("somebody/else", str(number).encode())
    finally:
        await coordinator.close()


def _topology(cluster: Cluster) -> dict[str, Any]:
    with cluster.admin() as admin:
        found: dict[str, Any] = admin.get("/admin/v1/status").json()["cluster"]["topology"]
    return found


def _range_files(cluster: Cluster) -> set[str]:
    return {
        f"{node.place.name}/{path.name}"
        for node in cluster.of_role("node")
        for path in (node.data / "ranges").glob("??/*.db")
    }


def _is_well(cluster: Cluster) -> bool:
    with cluster.admin() as admin:
        status = admin.get("/admin/v1/status").json()
    components = status["cluster"]["components"]
    return status["health"] == "HEALTH_OK" and {one["health"] for one in components} == {"okay"}


def test_etcd_loses_everything_and_is_filled_again(cluster: Cluster) -> None:
    """Clients see nothing of it, nothing is lost, and afterwards new tables can be made."""
    _make_table(cluster, TABLE)
    urls = [proxy.url for proxy in cluster.of_role("proxy")]
    client = cluster.sdk(urls[0])
    items = [{"p": {"S": f"i{number}"}} for number in range(ITEMS)]
    for item in items:
        client.put_item(TableName=TABLE, Item=item)
    files = _range_files(cluster)
    assert len(files) >= 2
    refused = _recover(cluster, "--yes")
    assert (refused.returncode, "nothing to recover" in refused.stderr) == (1, True), refused
    with load(urls, cluster.access_key, table=TABLE) as running:
        seen = _topology(cluster)["revision"]
        _lose_etcd(cluster, writes=seen + 100)  # its revisions are higher than those that were seen
        eventually(lambda: _topology(cluster)["state"] == "frozen", what="control has noticed")
        tried = _recover(cluster, "--dry-run")
        assert json.loads(tried.stdout)["state"] == "needed", tried
        before = running.requests
        time.sleep(1)
        assert running.requests > before, "clients go on meanwhile"
        done = _recover(cluster, "--yes", "--follow")
        assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "not_needed"), done
        eventually(lambda: _is_well(cluster), what="everything is well", within_s=30)
        before = running.requests
        time.sleep(1)
        assert running.requests > before
    assert running.failures == []
    running.check()
    for url in urls:
        reader = cluster.sdk(url)
        found = {item["p"]["S"] for item in reader.scan(TableName=TABLE)["Items"]}
        assert {f"i{number}" for number in range(ITEMS)} <= found
    assert _range_files(cluster) == files
    _make_table(cluster, "later", proxy="proxy-2")
    cluster.component("control-1").kill()
    cluster.component("control-1").start()
    eventually(lambda: _is_well(cluster), what="control leads again", within_s=30)
    assert _recover(cluster, "--yes").returncode == 1, "once was enough"


def test_parts_that_were_down_meanwhile_come_back_whole(cluster: Cluster) -> None:
    """A node that starts while etcd is empty, and a proxy that starts after it was filled again."""
    client = cluster.sdk(cluster.component("proxy-1").url)
    before = {item["p"]["S"] for item in client.scan(TableName=TABLE)["Items"]}
    files = _range_files(cluster)
    for name in ("node-2", "proxy-2"):
        cluster.component(name).kill()
    _lose_etcd(cluster)
    # Control itself has forgotten what it had seen of etcd.
    cluster.component("control-1").kill()
    cluster.component("control-1").start()
    eventually(
        lambda: json.loads(_recover(cluster, "--dry-run").stdout)["state"] == "needed",
        what="control finds etcd empty",
    )
    cluster.component("node-2").start()
    assert _range_files(cluster) >= files, "nothing was given up to an empty etcd"
    done = _recover(cluster, "--yes", "--follow")
    assert done.returncode == 0, done
    cluster.component("proxy-2").start()
    eventually(lambda: _is_well(cluster), what="everything is well", within_s=30)
    assert _range_files(cluster) >= files
    for proxy in cluster.of_role("proxy"):
        reader = cluster.sdk(proxy.url)
        after = {item["p"]["S"] for item in reader.scan(TableName=TABLE)["Items"]}
        assert after == before
    _make_table(cluster, "after-all", proxy="proxy-2")
