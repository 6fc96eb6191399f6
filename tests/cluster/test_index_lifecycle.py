"""A global index comes and goes in a cluster of real processes: etcd, TLS, 3 nodes, under load.

Control is killed (SIGKILL) as soon as it has taken the index on, in the middle of its being filled:
the nodes go on by themselves, and the control that is started then ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest

from tests.support.cluster import Cluster, eventually, running_cluster
from tests.support.cluster_plan import Shape
from tests.support.sdk_load import load

TABLE: Final = "orders"
ITEMS: Final = 2_000
STATES: Final = 7
INDEX: Final = "by-state"
WITHIN_S: Final = 90.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("index_lifecycle"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Run a cluster."""
    with running_cluster(Shape(nodes=3, proxies=1)) as started:
        yield started
        started.stop()


def _filled(client: Any) -> None:
    """Make a table of ITEMS items; every second one has a state."""
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for start in range(0, ITEMS, 25):
        puts = [{"PutRequest": {"Item": _item(number)}} for number in range(start, start + 25)]
        while puts:
            left = client.batch_write_item(RequestItems={TABLE: puts})["UnprocessedItems"]
            puts = left.get(TABLE, [])


def _item(number: int) -> dict[str, Any]:
    item = {"p": {"S": f"item-{number}"}, "text": {"S": "x" * 100}}
    return item | ({"state": {"S": f"s{number % STATES}"}} if number % 2 else {})


def _index(client: Any) -> dict[str, Any] | None:
    found = client.describe_table(TableName=TABLE)["Table"].get("GlobalSecondaryIndexes", [])
    return next((each for each in found if each["IndexName"] == INDEX), None)


def _is(client: Any, status: str | None) -> bool:
    found = _index(client)
    return (None if found is None else found["IndexStatus"]) == status


def _add(client: Any) -> None:
    create = {
        "IndexName": INDEX,
        "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    client.update_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "state", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": create}],
    )


def _counts(client: Any, expected: int) -> bool:
    found = _index(client)
    return found is not None and found["ItemCount"] == expected


def test_an_index_survives_control(cluster: Cluster) -> None:
    """Added under load while control is killed; whole in the end; removed, and added again."""
    proxy, control = cluster.component("proxy-1"), cluster.component("control-1")
    client = cluster.sdk(proxy.url)
    _filled(client)
    with load([proxy.url], cluster.access_key, table=TABLE, lanes=2) as running:
        _add(client)
        control.kill()
        assert _is(client, "CREATING")
        control.start()
        eventually(partial(_is, client, "ACTIVE"), what="the index is active", within_s=WITHIN_S)
    assert running.failures == []
    running.check()
    half = ITEMS // 2
    eventually(partial(_counts, client, half), what=f"it has {half} items", within_s=WITHIN_S)
    for number in range(0, 100, 2):  # these come into the index,
        client.put_item(TableName=TABLE, Item={**_item(number), "state": {"S": "late"}})
    for number in range(1, 41, 2):  # and these go
        client.delete_item(TableName=TABLE, Key={"p": {"S": f"item-{number}"}})
    expected = half + 50 - 20
    eventually(partial(_counts, client, expected), what=f"it has {expected}", within_s=WITHIN_S)
    listed = client.list_tables()["TableNames"]
    assert [each for each in listed if ":" in each] == []

    client.update_table(
        TableName=TABLE, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": INDEX}}]
    )
    eventually(partial(_is, client, None), what="the index is gone", within_s=WITHIN_S)
    _add(client)
    eventually(partial(_is, client, "ACTIVE"), what="it is there again", within_s=WITHIN_S)
    client.delete_table(TableName=TABLE)
    with cluster.admin() as admin:
        eventually(
            lambda: admin.get("/admin/v1/placement").json()["tables"] == [],
            what="nothing is left of the table",
            within_s=WITHIN_S,
        )
