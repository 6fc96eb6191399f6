"""Indexes in a cluster of real processes: etcd, TLS, 3 nodes.

A global one comes and goes under load; local ones are read by way of a proxy.

Control is killed (SIGKILL) as soon as it has taken the index on, in the middle of its being filled:
the nodes go on by themselves, and the control that is started then ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Final

import pytest

from tests.api import test_query_index as queries
from tests.support.cluster import Cluster, eventually, running_cluster
from tests.support.cluster_plan import Shape
from tests.support.dynamodb import DynamoDB, Endpoint
from tests.support.dynamodb_cases import LOCALS, Case, Tables, copies, filled, normal
from tests.support.sdk_load import load

TABLE: Final = "orders"
ITEMS: Final = 2_000
STATES: Final = 7
INDEX: Final = "by-state"
WITHIN_S: Final = 90.0
PARTITIONS: Final = tuple(f"of-{number}" for number in range(9))
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


def _cases(*, is_strong: bool) -> Iterator[Case]:
    """Give the queries that the tests of one process make, each strong or each eventual."""
    for case in queries.CASES:
        assert not isinstance(case.request, str)
        if "ReturnConsumedCapacity" not in case.request:
            yield replace(case, request=copies(case.request, ConsistentRead=is_strong))
        elif ("ConsistentRead" in case.request) == is_strong:
            yield case


def _differs(tables: Tables, case: Case, name: str) -> bool:
    """Ask a case's query of the items that are there."""
    names = {"LOCAL": name, "ID": PARTITIONS[0]}
    request, expected = filled([case.request, case.answer], names)
    answer = tables.dynamodb.call(queries.OP, request)
    return bool(answer.status != 200 or normal(answer.body) != normal(expected))


def _scanned(tables: Tables, name: str, **members: Any) -> list[dict[str, Any]]:
    """Scan in pages of a few items, through all ranges; partition by partition."""
    request, found = {"TableName": name, "Limit": 4, **members}, []
    while True:
        page = tables.dynamodb.do("Scan", request)
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            return sorted(found, key=lambda item: item["p"]["S"])  # the index's order stays
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _wrong(tables: Tables, name: str, *, is_strong: bool) -> list[str]:
    """Name the queries and scans that are not answered as they should be."""
    wrong = [each.name for each in _cases(is_strong=is_strong) if _differs(tables, each, name)]
    for index in queries.INDEXES:
        items = {
            "ALL_PROJECTED_ATTRIBUTES": queries.items(index, *queries.ORDERS[index]),
            "ALL_ATTRIBUTES": [queries.ITEMS[number - 1] for number in queries.ORDERS[index]],
        }
        for select, held in items.items():
            asked = {"IndexName": index, "Select": select, "ConsistentRead": is_strong}
            expected = [item | {"p": {"S": each}} for each in PARTITIONS for item in held]
            if _scanned(tables, name, **asked) != expected:
                wrong.append(f"scan of {index}, {select}")
    return wrong


def test_local_indexes_by_a_proxy(cluster: Cluster) -> None:
    """Through a proxy, from each of three replicas, an index answers as one process does."""
    key = cluster.access_key
    endpoint = Endpoint(url=cluster.component("proxy-1").url, key_id=key.id, secret=key.secret)
    with closing(DynamoDB(endpoint)) as dynamodb:
        tables = Tables(dynamodb, prefix="local")
        name = tables.new({"p": "S", "c": "S"}, **LOCALS)
        for partition in PARTITIONS:
            for item in queries.ITEMS:
                put = {"TableName": name, "Item": item | {"p": {"S": partition}}}
                dynamodb.do("PutItem", put)
        assert _wrong(tables, name, is_strong=True) == []
        eventually(
            lambda: _wrong(tables, name, is_strong=False) == [],
            what="every replica answers alike",
            within_s=30.0,
        )
