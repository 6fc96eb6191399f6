"""Two of three nodes lose their directories for good: what is left serves if the operator says so.

Real processes, real etcd; each test has a cluster of its own and leaves it in ruins.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.cluster import DEFAULT_TENANT, eventually
from tests.support.replicated_cluster import TABLE, ReplicatedCluster, replicated_cluster

if TYPE_CHECKING:
    from tests.support.cluster_parts import Component

_ZONE: Final = "one"
_ITEMS: Final = 40
_SOON_S: Final = 30.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


@pytest.fixture
def replicated() -> Iterator[ReplicatedCluster]:
    """Run a cluster with a table of one range, three replicas of it."""
    with replicated_cluster(ranges=1, zone=_ZONE) as started:
        yield started


def _sdk(replicated: ReplicatedCluster) -> Any:
    return replicated.cluster.sdk(replicated.cluster.of_role("proxy")[0].url)


def _fill(replicated: ReplicatedCluster, first: int = 0) -> None:
    sdk = _sdk(replicated)
    for number in range(first, first + _ITEMS):
        item = {"p": {"S": f"item-{number}"}, "n": {"N": str(number)}}
        sdk.put_item(TableName=TABLE, Item=item)


def _found(replicated: ReplicatedCluster, first: int = 0) -> int:
    """Count the items that are there, read strongly; each is what it was. Waits for the range."""
    sdk, count = _sdk(replicated), 0
    for number in range(first, first + _ITEMS):
        key = {"p": {"S": f"item-{number}"}}
        item = sdk.get_item(TableName=TABLE, Key=key, ConsistentRead=True).get("Item")
        assert item is None or item["n"] == {"N": str(number)}
        count += item is not None
    return count


def _destroy(replicated: ReplicatedCluster, *names: str) -> list[str]:
    """End nodes at once and remove all they have. Returns: their ids, known to be dead."""
    for name in names:
        node = replicated.component(name)
        node.kill()
        shutil.rmtree(node.data)
    lost = sorted(replicated.node_id(name) for name in names)

    def are_dead() -> bool:
        listed = {one["id"]: one["health"] for one in replicated.cluster.listed("node")}
        return all(listed[each] == "dead" for each in lost)

    eventually(are_dead, what="they are known to be dead", within_s=_SOON_S)
    return lost


def _asked(
    replicated: ReplicatedCluster, method: str, path: str, body: object = None
) -> tuple[int, Any]:
    with replicated.cluster.admin() as admin:
        answer = admin.get(path) if method == "GET" else admin.post(path, body)
    return answer.status, answer.json()


def _accept(replicated: ReplicatedCluster, path: str, gone: list[str]) -> None:
    said = {"gone": gone, "reason": "both disks burnt"}
    status, answer = _asked(replicated, "POST", f"{path}/accept-loss", said)
    assert status == 200, answer
    _await_task(replicated, answer["task"])


def _await_task(replicated: ReplicatedCluster, task: str) -> None:
    def is_done() -> bool:
        _, found = _asked(replicated, "GET", f"/admin/v1/task/{task}")
        assert found["state"] not in {"failed", "cancelled"}, found
        return bool(found["state"] == "done")

    eventually(is_done, what="the task is done", within_s=_SOON_S)


def _range(replicated: ReplicatedCluster) -> dict[str, Any]:
    query = f"tenant={DEFAULT_TENANT}&table={TABLE}"
    _, found = _asked(replicated, "GET", f"/admin/v1/placement?{query}")
    [only] = found["ranges"]
    row: dict[str, Any] = only
    return row


def _path(replicated: ReplicatedCluster) -> str:
    return f"/admin/v1/placement/range/{_range(replicated)['rangeId']}"


def _notices(replicated: ReplicatedCluster) -> list[str]:
    return [one["kind"] for one in _asked(replicated, "GET", "/admin/v1/notice")[1]["notices"]]


@contextmanager
def _new_nodes(replicated: ReplicatedCluster, count: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(count):
            node = stack.enter_context(replicated.cluster.guest("node"))
            node.settings["zone"] = _ZONE
            node.give_token(replicated.cluster.join_token("node"))
            node.start()
            replicated.names({_listed(replicated, node): node.place.name})
        yield


def _listed(replicated: ReplicatedCluster, component: Component) -> str:
    url = f"https://{component.place.host}:{component.place.peer_port}"
    found: list[str] = []

    def is_listed() -> bool:
        listed = replicated.cluster.listed("node")
        found[:] = [one["id"] for one in listed if one["url"] == url]
        return bool(found)

    eventually(is_listed, what="the node is listed")
    return found[0]


def test_a_survivor_has_everything(replicated: ReplicatedCluster) -> None:
    """Refused until both are named; then every item is read, and new nodes make it writable."""
    _fill(replicated)
    names = sorted(replicated.ranges()[0].replicas)
    left = next(name for name in names if name != replicated.ranges()[0].primary)
    path = _path(replicated)
    status, answer = _asked(replicated, "POST", f"{path}/accept-loss", {"gone": [], "reason": "x"})
    assert status == 409, answer
    lost = _destroy(replicated, *(name for name in names if name != left))
    _, report = _asked(replicated, "GET", f"{path}/loss")
    assert (report["best"], report["isLossless"]) == (replicated.node_id(left), True), report
    assert sorted(report["missing"]) == lost
    for gone in ([], lost[:1], [*lost, report["best"]]):
        said = {"gone": gone, "reason": "x"}
        status, answer = _asked(replicated, "POST", f"{path}/accept-loss", said)
        assert status == 409, answer
    _accept(replicated, path, lost)
    assert _found(replicated) == _ITEMS
    assert not _range(replicated)["possibleLoss"]
    assert "loss_accepted" in _notices(replicated)
    with _new_nodes(replicated, 2):
        for node in lost:
            intent = f"/admin/v1/node/{node}/intent"
            with replicated.cluster.admin() as admin:
                answered = admin.put(intent, {"intent": "decommission"})
            assert answered.status == 200, answered
        eventually(lambda: _takes_writes(replicated), what="it takes writes", within_s=60.0)
        assert _found(replicated) == _ITEMS


def test_a_learner_may_lack_something(replicated: ReplicatedCluster) -> None:
    """What was written without it is lost, what it had is there, and everybody can see that."""
    _fill(replicated)
    names = sorted(replicated.ranges()[0].replicas)
    left = next(name for name in names if name != replicated.ranges()[0].primary)
    with replicated.stopped(left):
        _fill(replicated, first=_ITEMS)  # the first of them wait until it has left the set
        replicated.await_ranges(
            lambda ranges: left not in ranges[0].in_sync, what="it is out of sync"
        )
        path = _path(replicated)
        lost = _destroy(replicated, *(name for name in names if name != left))

    def is_known() -> bool:
        _, report = _asked(replicated, "GET", f"{path}/loss")
        return bool(report["best"] == replicated.node_id(left))

    eventually(is_known, what="it answers", within_s=_SOON_S)
    _, report = _asked(replicated, "GET", f"{path}/loss")
    assert (report["isLossless"], report["whyNot"]) == (False, None), report
    _accept(replicated, path, lost)
    assert _found(replicated) == _ITEMS
    assert _found(replicated, first=_ITEMS) < _ITEMS
    row = _range(replicated)
    assert row["possibleLoss"], row
    status = _asked(replicated, "GET", "/admin/v1/status")[1]
    assert status["cluster"]["ranges"]["possibleLoss"] == 1
    _, answer = _asked(replicated, "POST", f"{path}/clear-loss", {"reason": "compared"})
    _await_task(replicated, answer["task"])
    assert not _range(replicated)["possibleLoss"]
    assert {"loss_accepted", "loss_cleared"} <= set(_notices(replicated))


def _takes_writes(replicated: ReplicatedCluster) -> bool:
    try:
        _sdk(replicated).put_item(TableName=TABLE, Item={"p": {"S": "new"}})
    except (ClientError, BotoCoreError):
        return False
    return True
