"""A cluster of real processes on days when something outside it is wrong: clocks, etcd, copies.

All tests share one cluster, whose etcd may have 16 MiB, and each leaves it whole.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import pytest
from aetcd import rpc
from botocore.exceptions import BotoCoreError, ClientError

from dstore.base.limits import MIB
from dstore.topology import keyspace as keys
from dstore.topology.coordinator import CoordinatorFull
from tests.support.cluster import Cluster, eventually
from tests.support.cluster_plan import Shape
from tests.support.etcd import coordinator_of
from tests.support.sdk_load import load, sdk_client
from tests.support.server import ServerEnded
from tests.support.shifted_clock import HERE

if TYPE_CHECKING:
    from dstore.topology.etcd import EtcdCoordinator
    from tests.support.cluster_parts import Component

TABLE: Final = "orders"
HOUR_S: Final = 3_600
_QUOTA_BYTES: Final = 16 * MIB
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster_bad_days"),
    pytest.mark.timeout(90),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Run a cluster with a table, on an etcd that is soon full."""
    directory = Path(tempfile.mkdtemp(prefix="dstore-cluster-"))
    made = Cluster(directory, Shape(nodes=1, proxies=2))
    made.etcd.options = (*made.etcd.options, f"--quota-backend-bytes={_QUOTA_BYTES}")
    try:
        made.start()
        _create(made, TABLE)
        eventually(lambda: _is_active(made, "proxy-1", TABLE), what="the table is active")
        eventually(lambda: _is_active(made, "proxy-2", TABLE), what="the other proxy knows it")
        yield made
        made.stop()
    finally:
        made.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _client(cluster: Cluster, proxy: str) -> Any:
    return sdk_client(cluster.component(proxy).url, cluster.access_key, attempts=1)


def _create(cluster: Cluster, name: str, *, proxy: str = "proxy-1") -> None:
    _client(cluster, proxy).create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def _is_active(cluster: Cluster, proxy: str, name: str) -> bool:
    try:
        described = _client(cluster, proxy).describe_table(TableName=name)
    except (ClientError, BotoCoreError):
        return False
    return bool(described["Table"]["TableStatus"] == "ACTIVE")


def _status(cluster: Cluster) -> dict[str, Any]:
    with cluster.admin() as admin:
        found: dict[str, Any] = admin.get("/admin/v1/status").json()
    return found


def _etcd(cluster: Cluster) -> EtcdCoordinator:
    return coordinator_of(cluster.etcd, tls=cluster.etcd_tls)


def _off_by(component: Component, seconds: int) -> None:
    """Let its next start find its machine's clock off."""
    component.prefix = (*component.prefix, *HERE, str(seconds))


def _refused(component: Component) -> str:
    """Wait until what was launched has refused to start. Returns: the line for its operator."""
    with pytest.raises(ServerEnded) as ended:
        component.wait_ready()
    assert "Traceback" not in ended.value.stderr
    (said,) = (line for line in ended.value.stderr.splitlines() if line.startswith("dstore: "))
    return said


def test_clocks_that_are_off_by_an_hour(cluster: Cluster) -> None:
    """Nobody is let in; each side says by how much, and the cluster goes on."""
    proxy = cluster.component("proxy-2")
    settings = proxy.prefix
    assert proxy.stop() == 0
    with (
        cluster.guest("node") as newcomer,
        load([cluster.component("proxy-1").url], cluster.access_key, table=TABLE) as running,
    ):
        newcomer.give_token(cluster.join_token("node"))
        _off_by(newcomer, HOUR_S)
        newcomer.launch()
        _off_by(proxy, -HOUR_S)
        proxy.launch()
        assert "clock is 3600 s ahead" in _refused(newcomer)
        assert "clock, which must be behind" in _refused(proxy)
        proxy.prefix = settings
        _off_by(proxy, HOUR_S)
        proxy.launch()
        # Its certificate is good by its clock; control does not talk to it.
        eventually(
            lambda: any("clock is" in one["reason"] for one in proxy.events("control_is_away")),
            what="the proxy says what is wrong",
        )
        assert any(
            "3600 s" in one["reason"]
            for one in cluster.component("control-1").events("peer_refused")
        )
        eventually(lambda: proxy.health()[0] == 503, what="the proxy is not ready")
        with pytest.raises((ClientError, BotoCoreError)):
            _client(cluster, "proxy-2").list_tables()
        proxy.kill()
    assert running.failures == []
    running.check()
    proxy.prefix = settings
    proxy.start()
    assert len(cluster.listed("node")) == 1


def test_a_value_that_a_hand_has_spoilt(cluster: Cluster) -> None:
    """It is kept out of every view and told of; what was known last stands, and serves."""

    async def placements(spoilt: dict[str, bytes] | None) -> dict[str, bytes]:
        """Read a table's keys, then write others in their place."""
        coordinator = _etcd(cluster)
        try:
            listing = await coordinator.list(keys.ranges_prefix("default", TABLE))
            found = {kv.key: kv.value for kv in listing.kvs}
            table = (await coordinator.get(keys.TablePath("default", TABLE).path)).kv
            assert table is not None
            found[table.key] = table.value
            for key, value in (spoilt or dict.fromkeys(found, b'{"node": "?"')).items():
                await coordinator.put(key, value)
        finally:
            await coordinator.close()
        return found

    names = ("control-1", "node-1", "proxy-1", "proxy-2")
    urls = [cluster.component(name).url for name in ("proxy-1", "proxy-2")]
    with load(urls, cluster.access_key, table=TABLE, attempts=1) as running:
        good = asyncio.run(placements(None))
        for name in names:
            refused = cluster.component(name).events
            eventually(
                lambda refused=refused: (  # type: ignore[misc]
                    {one["path"] for one in refused("topology_value_refused")} >= good.keys()
                ),
                what=f"{name} tells of it",
            )
        status = _status(cluster)
        topology = status["cluster"]["topology"]
        assert (topology["state"], topology["problemCount"]) == ("live", len(good))
        assert any(key in problem for key in good for problem in topology["problems"])
        assert "TOPOLOGY_VALUES" in {check["code"] for check in status["checks"]}
        before = running.requests
        eventually(lambda: running.requests > before + 20, what="clients go on")
        asyncio.run(placements(good))
        eventually(
            lambda: _status(cluster)["cluster"]["topology"]["problemCount"] == 0,
            what="the right values are taken again",
        )
    assert running.failures == []
    running.check()


def test_etcd_is_full(cluster: Cluster) -> None:
    """Nothing new is decided, and control says why; reads and writes go on, and nothing is lost."""
    urls = [cluster.component(name).url for name in ("proxy-1", "proxy-2")]
    with load(urls, cluster.access_key, table=TABLE, attempts=1) as running:
        asyncio.run(_fill(cluster))
        asking = Thread(target=_is_made, args=(cluster, "when-full"))
        asking.start()
        eventually(
            lambda: any("etcd is full" in check["message"] for check in _status(cluster)["checks"]),
            what="control's status says why",
        )
        assert cluster.component("control-1").events("not_published")
        assert not _is_active(cluster, "proxy-1", "when-full")
        before = running.requests
        eventually(lambda: running.requests > before + 20, what="clients go on")
        asyncio.run(_clear(cluster))
        # What was recorded while it was full is done now, however long its caller has waited.
        eventually(lambda: _is_active(cluster, "proxy-1", "when-full"), what="the table is made")
        asking.join()
    assert running.failures == []
    running.check()
    _create(cluster, "after-full")


async def _fill(cluster: Cluster) -> None:
    coordinator = _etcd(cluster)
    try:
        with suppress(CoordinatorFull):
            for number in range(2 * _QUOTA_BYTES // MIB):
                await coordinator.put(f"junk/{number}", bytes(MIB - 100), timeout_s=10)
        with pytest.raises(CoordinatorFull):
            await coordinator.put("junk/last", b"")
    finally:
        await coordinator.close()


async def _clear(cluster: Cluster) -> None:
    """Do what an operator does: delete, compact, defragment, disarm."""
    coordinator = _etcd(cluster)
    try:
        for kv in (await coordinator.list("junk/")).kvs:
            await coordinator.delete(kv.key)
        await coordinator.compact((await coordinator.get("junk/0")).revision)
        (endpoint,) = coordinator._calls._endpoints
        operator = rpc.MaintenanceStub(endpoint._channel)
        await operator.Defragment(rpc.DefragmentRequest())
        alarms = await operator.Alarm(rpc.AlarmRequest(action=rpc.AlarmRequest.GET))
        for each in alarms.alarms:
            await operator.Alarm(
                rpc.AlarmRequest(
                    action=rpc.AlarmRequest.DEACTIVATE, memberID=each.memberID, alarm=each.alarm
                )
            )
    finally:
        await coordinator.close()


def test_etcd_forgets_what_a_proxy_has_missed(cluster: Cluster) -> None:
    """A proxy whose watch broke off before a compaction reads everything anew."""
    proxy = cluster.component("proxy-2")
    os.kill(proxy.pid, signal.SIGSTOP)
    try:
        cluster.etcd.stop()
        cluster.etcd.start()
        eventually(lambda: _is_made(cluster, "missed"), what="control leads and makes a table")
        asyncio.run(_compact(cluster))
    finally:
        os.kill(proxy.pid, signal.SIGCONT)
    eventually(lambda: _is_active(cluster, "proxy-2", "missed"), what="the proxy has caught up")
    assert proxy.events("etcd_watch_compacted")
    assert _status(cluster)["cluster"]["topology"]["state"] == "live"


def _is_made(cluster: Cluster, name: str) -> bool:
    with suppress(ClientError, BotoCoreError):
        _create(cluster, name)
    return _is_active(cluster, "proxy-1", name)


async def _compact(cluster: Cluster) -> None:
    coordinator = _etcd(cluster)
    try:
        await coordinator.compact((await coordinator.get("nothing")).revision)
    finally:
        await coordinator.close()


def test_two_proxies_of_one_directory(cluster: Cluster) -> None:
    """Both say so, once each finds the other; clients of either are served, and the copy goes."""
    proxy = cluster.component("proxy-2")
    with cluster.guest("proxy") as copy:
        shutil.copytree(proxy.data, copy.data)
        copy.launch()
        for one in (proxy, copy):
            eventually(
                lambda one=one: bool(one.events("component_has_twin")),  # type: ignore[misc]
                what=f"{one.place.name} says that there are two",
                within_s=30,
            )
        reason = copy.events("component_has_twin")[0]["reason"]
        assert "copy of the data directory" in reason
        assert len(cluster.listed("proxy")) == 2
    eventually(
        lambda: {one["health"] for one in cluster.listed("proxy")} == {"okay"},
        what="the one that stays is seen",
        within_s=30,
    )
    client = _client(cluster, "proxy-2")
    client.put_item(TableName=TABLE, Item={"p": {"S": "after"}})
