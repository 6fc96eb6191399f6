"""Ranges split by themselves under load: real processes, real etcd, and some of them killed."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from dstore.model.hashing import HASH_MAX
from tests.simulation.history import Fate
from tests.support.cluster import Cluster, eventually
from tests.support.cluster_plan import Shape
from tests.support.histories import Client, HashRange, recorded
from tests.support.replicated_cluster import FACTOR, ReplicatedCluster

if TYPE_CHECKING:
    from pathlib import Path

_TABLE: Final = "kept"
_EVENTS: Final = "events"  # with a sort key
_PARTITIONS: Final = 40
_SORTS: Final = 9
_ITEM_BYTES: Final = 8_192
_PAGE: Final = 50
_LARGE: Final = "1MiB"
_SPLIT_S: Final = 150.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("splits"),
    pytest.mark.timeout(300),
]


@contextmanager
def _cluster(directory: Path, **node_settings: str) -> Iterator[ReplicatedCluster]:
    """Run a cluster whose tables begin with one range each, and split soon."""
    made = ReplicatedCluster(Cluster(directory, Shape(nodes=3, proxies=1)))
    try:
        for control in made.cluster.of_role("control"):
            control.settings |= {"ranges-per-table": "1", "split-size-bytes": _LARGE}
        for node in made.cluster.of_role("node"):
            node.settings |= node_settings
        made.start()
        _make_events(made)
        yield made
        made.cluster.stop()
    finally:
        made.cluster.kill()


def _sdk(replicated: ReplicatedCluster) -> Any:
    return replicated.cluster.sdk(replicated.cluster.of_role("proxy")[0].url, attempts=1)


def _make_events(replicated: ReplicatedCluster) -> None:
    _sdk(replicated).create_table(
        TableName=_EVENTS,
        KeySchema=[
            {"AttributeName": "p", "KeyType": "HASH"},
            {"AttributeName": "s", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "p", "AttributeType": "S"},
            {"AttributeName": "s", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    replicated.await_whole(_EVENTS)


class _Filler(threading.Thread):
    """Writes all events, in one order, and reads some of them meanwhile; `failed` has its end."""

    def __init__(self, sdk: Any) -> None:
        super().__init__(daemon=True)
        self._sdk = sdk
        self.items = {
            (f"device-{partition}", sort): secrets.token_bytes(_ITEM_BYTES)
            for sort in range(_SORTS)
            for partition in range(_PARTITIONS)
        }
        self.longest_s = 0.0
        self.failed: BaseException | None = None

    def run(self) -> None:
        """Stop at the first request that is refused."""
        try:
            for number, (key, content) in enumerate(self.items.items()):
                self._timed(partial(self._put, key, content))
                if number % 10 == 0:
                    self._timed(partial(_check_one, self._sdk, key, content))
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.failed = error

    def _put(self, key: tuple[str, int], content: bytes) -> None:
        self._sdk.put_item(TableName=_EVENTS, Item={**_key(key), "b": {"B": content}})

    def _timed(self, ask: Any) -> None:
        began_s = time.monotonic()
        ask()
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)

    def end(self) -> None:
        """Wait until all is written. Raises: what has failed."""
        self.join(_SPLIT_S)
        assert not self.is_alive(), "it is still writing"
        if self.failed is not None:
            raise self.failed


def _key(key: tuple[str, int]) -> dict[str, Any]:
    return {"p": {"S": key[0]}, "s": {"N": str(key[1])}}


def _check_one(sdk: Any, key: tuple[str, int], content: bytes) -> None:
    found = sdk.get_item(TableName=_EVENTS, Key=_key(key), ConsistentRead=True)
    assert found["Item"]["b"]["B"] == content, key


def _check(replicated: ReplicatedCluster, items: dict[tuple[str, int], bytes]) -> None:
    """Find every item, once, by get, by query page by page, and by scan page by page."""
    sdk = _sdk(replicated)
    for key, content in items.items():
        _check_one(sdk, key, content)
    scanned = _paged(partial(sdk.scan, TableName=_EVENTS, Limit=_PAGE, ConsistentRead=True))
    assert len(scanned) == len(items)
    assert {_key_of(each) for each in scanned} == set(items)
    for partition in range(_PARTITIONS):
        asked = partial(
            sdk.query,
            TableName=_EVENTS,
            KeyConditionExpression="p = :p",
            ExpressionAttributeValues={":p": {"S": f"device-{partition}"}},
            Limit=5,
        )
        found = [_key_of(each)[1] for each in _paged(asked)]
        assert found == list(range(_SORTS)), partition


def _paged(ask: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, Any] = {}
    while True:
        page = ask(**after)
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            return found
        after = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _key_of(item: dict[str, Any]) -> tuple[str, int]:
    return item["p"]["S"], int(item["s"]["N"])


def _splits(replicated: ReplicatedCluster) -> list[dict[str, Any]]:
    """Ask control which splits of the table are under way."""
    with replicated.cluster.admin() as admin:
        answer = admin.get("/admin/v1/placement/plan")
    assert answer.status == 200, answer
    return [each for each in answer.json()["splits"] if each["table"] == _EVENTS]


def _under_way(replicated: ReplicatedCluster) -> tuple[HashRange, str]:
    """Wait for a split. Returns: the hashes of the range, and its primary."""
    found: list[dict[str, Any]] = []

    def is_any() -> bool:
        found[:] = _splits(replicated)
        return bool(found)

    eventually(is_any, what="a split is under way", within_s=_SPLIT_S)
    hashes = (found[0]["lowHash"], found[0]["highHash"])
    primary = next(each.primary for each in replicated.ranges(_EVENTS) if each.hashes == hashes)
    return hashes, primary


def _share_out(replicated: ReplicatedCluster) -> None:
    """The ranges share the hashes out, and every replica is in sync."""
    ranges = replicated.ranges(_EVENTS)
    lows = [each.hashes[0] for each in ranges]
    assert lows == [0, *(each.hashes[1] + 1 for each in ranges[:-1])]
    assert ranges[-1].hashes[1] == HASH_MAX
    assert all(len(each.in_sync) == FACTOR for each in ranges)


def test_a_table_that_grows_is_split_and_spread(tmp_path: Path) -> None:
    """No request fails meanwhile, and every item is found afterwards, whichever way it is asked."""
    with _cluster(tmp_path) as replicated:
        sdk = _sdk(replicated)
        lanes = (Client(sdk=sdk, repeats=False),)
        filler = _Filler(sdk)
        with recorded(lanes, [(0, HASH_MAX)], table=_TABLE) as running:
            filler.start()
            filler.end()
            replicated.await_ranges(
                lambda ranges: len(ranges) >= 3 and all(each.is_whole for each in ranges),
                table=_EVENTS,
                what="the table has been split, and again",
                within_s=_SPLIT_S,
            )
            replicated.await_ranges(
                lambda ranges: len({each.primary for each in ranges}) == 3,
                table=_EVENTS,
                what="every node has some of its primaries",
                within_s=_SPLIT_S,
            )
        assert not running.problems()
        fates = {each.fate for each in running.history.operations}
        assert fates == {Fate.OK}
        eventually(lambda: not _splits(replicated), what="no split is under way", within_s=_SPLIT_S)
        _share_out(replicated)
        _check(replicated, filler.items)
        with replicated.cluster.admin() as admin:
            kinds = {each["kind"] for each in admin.get("/admin/v1/notice").json()["notices"]}
            states = {
                each["state"]
                for each in admin.get("/admin/v1/task").json()["tasks"]
                if each["kind"] == "split_range"
            }
        assert "range_split" in kinds
        assert "done" in states


@pytest.mark.parametrize("killed", ["control", "primary"])
def test_somebody_is_killed_while_a_range_is_split(tmp_path: Path, killed: str) -> None:
    """The split comes to its end, or another does; nothing acknowledged is lost."""
    with _cluster(tmp_path, **{"copy-bytes-per-s": "512KiB"}) as replicated:
        sdk = replicated.cluster.sdk(replicated.cluster.of_role("proxy")[0].url)
        filler = _Filler(sdk)
        filler.start()
        filler.end()
        with recorded(replicated.clients(), [(0, HASH_MAX)], table=_TABLE) as running:
            hashes, primary = _under_way(replicated)
            victim = replicated.component("control-1" if killed == "control" else primary)
            victim.kill()
            time.sleep(2.0)
            victim.start()
            eventually(
                lambda: all(each.hashes != hashes for each in replicated.ranges(_EVENTS)),
                what="the range is split after all",
                within_s=_SPLIT_S,
            )
            replicated.await_whole(_EVENTS, within_s=_SPLIT_S)
        running.read_back(replicated.clients()[0])
        problems = running.problems()
        assert not problems, "\n".join(problems)
        _check(replicated, filler.items)
        _share_out(replicated)
