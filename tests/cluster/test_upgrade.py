"""A cluster of real processes whose nodes are of before indexes, upgraded one after another.

What is played is the part that control looks at: a node of before says nothing of what it knows.
The operator restarts node by node, and clients may use what is new once the last one is back.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.exceptions import ClientError

from tests.support.cluster import eventually, running_cluster
from tests.support.cluster_plan import Shape
from tests.support.server import ROOT

if TYPE_CHECKING:
    from tests.support.cluster import Cluster
    from tests.support.cluster_parts import Component

_FORMER: Final = "import dstore.model.features as features\nfeatures.KNOWN_HERE = ()\n"
_INDEX: Final = {
    "IndexName": "by-state",
    "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "ALL"},
}
_PATHS: Final = "PYTHONPATH"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("upgrade"),
    pytest.mark.timeout(200),
]


def _restart(cluster: Cluster, node: Component, *, former: Path | None) -> None:
    node.stop()
    node.environment.pop(_PATHS, None)
    if former is not None:
        node.environment[_PATHS] = os.pathsep.join((str(former), str(ROOT)))
    node.start()
    eventually(
        lambda: all(each["health"] == "okay" for each in cluster.listed("node")),
        what="all nodes are well",
    )


def _create(client: Any, name: str, *, is_indexed: bool) -> None:
    attributes = ["p", "state"] if is_indexed else ["p"]
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in attributes],
        BillingMode="PAY_PER_REQUEST",
        **({"GlobalSecondaryIndexes": [_INDEX]} if is_indexed else {}),
    )


def _expire(client: Any) -> None:
    client.update_time_to_live(
        TableName="plain",
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"},
    )


def _found(client: Any) -> list[str]:
    values = {":s": {"S": "open"}}
    answer = client.query(
        TableName="orders",
        IndexName="by-state",
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues=values,
    )
    return [each["p"]["S"] for each in answer["Items"]]


def test_new_uses_wait_for_the_last_node(tmp_path: Path) -> None:
    """SDKs see a 503 that names the nodes to upgrade; nothing else is refused, or broken."""
    (tmp_path / "sitecustomize.py").write_text(_FORMER)
    with running_cluster(Shape(nodes=2, proxies=1)) as cluster:
        client = cluster.sdk(cluster.component("proxy-1").url, attempts=1)
        nodes = cluster.of_role("node")
        for node in nodes:
            _restart(cluster, node, former=tmp_path)
        _create(client, "plain", is_indexed=False)
        for node in nodes:
            for use in (partial(_create, client, "orders", is_indexed=True),
                        partial(_expire, client)):  # fmt: skip
                with pytest.raises(ClientError) as refused:
                    use()
                error = refused.value.response
                assert error["Error"]["Code"] == "ServiceUnavailable"
                assert error["ResponseMetadata"]["HTTPStatusCode"] == 503
                assert "Upgrade them" in error["Error"]["Message"]
            _restart(cluster, node, former=None)
        assert client.list_tables()["TableNames"] == ["plain"]
        _create(client, "orders", is_indexed=True)
        _expire(client)
        client.put_item(TableName="orders", Item={"p": {"S": "1"}, "state": {"S": "open"}})
        eventually(lambda: _found(client) == ["1"], what="the index has the item")
        cluster.stop()
