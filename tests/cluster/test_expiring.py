"""Items that expire on three nodes of which one is killed: real processes, real etcd."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest

from tests.support.cluster import eventually
from tests.support.cluster_plan import Shape
from tests.support.replicated_cluster import TABLE, ReplicatedCluster, replicated_cluster

WITHIN_S: Final = 60.0
LONG_S: Final = 3_600
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("expiring"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def replicated() -> Iterator[ReplicatedCluster]:
    """Run a cluster whose table has a replica on each of three nodes."""
    with replicated_cluster(Shape(nodes=3, proxies=2)) as started:
        yield started
        started.cluster.stop()


def sdk_of(replicated: ReplicatedCluster) -> Any:
    """Speak to the first proxy."""
    return replicated.cluster.sdk(replicated.cluster.of_role("proxy")[0].url, attempts=4)


def status(sdk: Any) -> str:
    """Ask how far it is."""
    told = sdk.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]
    return str(told["TimeToLiveStatus"])


def put(sdk: Any, key: str, at_s: int) -> None:
    """Put an item that expires then."""
    sdk.put_item(TableName=TABLE, Item={"p": {"S": key}, "expires": {"N": str(at_s)}})


def keys_in(sdk: Any) -> set[str]:
    """Read all keys there are."""
    found: set[str] = set()
    for page in sdk.get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True):
        found |= {item["p"]["S"] for item in page["Items"]}
    return found


def saved(sdk: Any, key: str) -> bool:
    """Put off when an item expires, if it is still there. Returns: whether it was."""
    try:
        sdk.update_item(
            TableName=TABLE,
            Key={"p": {"S": key}},
            UpdateExpression="SET expires = :later",
            ConditionExpression="attribute_exists(p)",
            ExpressionAttributeValues={":later": {"N": str(int(time.time()) + LONG_S)}},
        )
    except sdk.exceptions.ConditionalCheckFailedException:
        return False
    return True


def test_what_is_due_goes_while_a_node_is_killed(replicated: ReplicatedCluster) -> None:
    """Who takes over goes on: all that is over goes, and nothing that a client has put off."""
    sdk, past_s = sdk_of(replicated), int(time.time()) - 60
    for number in range(60):
        put(sdk, f"old-{number}", past_s)
    sdk.update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"AttributeName": "expires", "Enabled": True}
    )
    eventually(lambda: status(sdk) == "ENABLED", what="it is enabled", within_s=WITHIN_S)
    eventually(lambda: not keys_in(sdk), what="what was there before is gone", within_s=WITHIN_S)

    expected = {f"kept-{number}" for number in range(40)}
    for key in expected:
        put(sdk, key, past_s + LONG_S)
    victim = replicated.ranges()[0].primary
    for number in range(120):  # the sweepers and this client are after the same items
        put(sdk, f"due-{number}", past_s)
        if number == 40:
            replicated.component(victim).kill()
        if number % 2 and saved(sdk, f"due-{number}"):
            expected.add(f"due-{number}")
    eventually(partial(_are, sdk, expected), what="what is over is gone", within_s=WITHIN_S)
    replicated.component(victim).start()
    replicated.await_whole()

    # Whoever came back has the rows too: it takes its part when another one goes.
    other = next(each.primary for each in replicated.ranges() if each.primary != victim)
    replicated.component(other).kill()
    for number in range(60):
        put(sdk, f"soon-{number}", past_s)
    eventually(partial(_are, sdk, expected), what="it goes on with who came", within_s=WITHIN_S)
    replicated.component(other).start()
    replicated.await_whole()
    assert keys_in(sdk) == expected


def _are(sdk: Any, expected: set[str]) -> bool:
    return keys_in(sdk) == expected
