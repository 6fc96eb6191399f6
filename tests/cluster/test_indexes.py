"""Indexes on real processes, some of them killed: each of either kind equals a recomputation."""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.cluster import Cluster, eventually
from tests.support.cluster_plan import Shape
from tests.support.http_client import Client
from tests.support.replicated_cluster import ReplicatedCluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TABLE: Final = "orders"
_PARTITIONS: Final = 60
_LINES: Final = 4  # of each
_PADDING: Final = "x" * 9_000
_SETTLED_S: Final = 120.0
_KEY_NAMES: Final = frozenset({"id", "line"})
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("indexes"),
    pytest.mark.timeout(400),
]


@contextmanager
def _cluster(directory: Path) -> Iterator[ReplicatedCluster]:
    """Run a cluster whose tables begin with one range each, and split soon."""
    made = ReplicatedCluster(Cluster(directory, Shape(nodes=3, proxies=1)))
    try:
        for control in made.cluster.of_role("control"):
            control.settings |= {"ranges-per-table": "1", "split-size-bytes": "1MiB"}
        made.start()
        yield made
        made.cluster.stop()
    finally:
        made.cluster.kill()


def _sdk(replicated: ReplicatedCluster) -> Any:
    return replicated.cluster.sdk(replicated.cluster.of_role("proxy")[0].url)


def _index(name: str, hash_key: str, range_key: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": [
            {"AttributeName": hash_key, "KeyType": "HASH"},
            {"AttributeName": range_key, "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": kind, **more},
    }


# Each is by another attribute and holds another part of the items.
_LOCAL: Final = (
    _index("lines-by-at", "id", "at", "ALL"),
    _index("lines-by-who", "id", "who", "KEYS_ONLY"),
    _index("lines-by-state", "id", "state", "INCLUDE", NonKeyAttributes=["who", "no-one-has-it"]),
)


def _attributes(**kinds: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()]


class _Writer(threading.Thread):
    """Puts, changes and deletes items until it is told to stop, whatever the answers are."""

    def __init__(self, sdk: Any, seed: int) -> None:
        super().__init__(daemon=True)
        self._sdk, self._random = sdk, random.Random(seed)
        self.is_over = threading.Event()
        self.done = self.failed = 0

    def run(self) -> None:
        """Go on until `is_over`."""
        while not self.is_over.is_set():
            try:
                self._write()
                self.done += 1
            except (ClientError, BotoCoreError):
                self.failed += 1

    def _write(self) -> None:
        draw = self._random.random()
        key = {
            "id": {"S": f"o{self._random.randrange(_PARTITIONS)}"},
            "line": {"N": str(self._random.randrange(_LINES))},
        }
        state, owner = self._random.choice("abcd"), self._random.choice("wxyz")
        at = {"N": str(self._random.randrange(50))}
        if draw < 0.15:
            self._sdk.delete_item(TableName=_TABLE, Key=key)
        elif draw < 0.4:
            self._sdk.update_item(
                TableName=_TABLE,
                Key=key,
                UpdateExpression="SET #s = :s, at = :a REMOVE who",
                ExpressionAttributeNames={"#s": "state"},
                ExpressionAttributeValues={":s": {"S": state}, ":a": at},
            )
        else:
            item = {**key, "who": {"S": owner}, "padding": {"S": _PADDING}}
            if draw < 0.9:
                item["state"] = {"S": state}
            if draw < 0.8 or draw > 0.95:
                item["at"] = at
            self._sdk.put_item(TableName=_TABLE, Item=item)


def _all(sdk: Any, **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, Any] = {}
    while True:
        page = sdk.scan(TableName=_TABLE, **asked, **after)
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            return found
        after = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _lag(replicated: ReplicatedCluster) -> int:
    """Sum up what nodes say of how far indexes are behind."""
    total = 0
    for node in replicated.cluster.of_role("node"):
        with Client(node.place.admin_url, token=None) as admin:
            page = admin.get("/metrics").body.decode()
        for line in page.splitlines():
            if line.startswith("dstore_index_lag_records "):
                total += int(float(line.split()[1]))
    return total


def _check(replicated: ReplicatedCluster, name: str, hash_key: str, *, has_all: bool) -> int:
    """Compare a global index with what the table makes of it. Returns: its entries."""
    sdk = _sdk(replicated)
    items = _all(sdk, ConsistentRead=True)
    names = {*_KEY_NAMES, hash_key, "at"}
    expected = {
        _key_of(item): item if has_all else {key: item[key] for key in names}
        for item in items
        if hash_key in item and "at" in item
    }
    rows = _all(sdk, IndexName=name)
    assert len(rows) == len(expected), name
    assert {_key_of(row): row for row in rows} == expected, name
    return len(rows)


def _key_of(item: dict[str, Any]) -> tuple[str, str]:
    return item["id"]["S"], item["line"]["N"]


def _check_local(replicated: ReplicatedCluster, index: dict[str, Any]) -> int:
    """Compare a local index with what the table makes of it, order included: its entries."""
    sdk, name = _sdk(replicated), index["IndexName"]
    sort = index["KeySchema"][1]["AttributeName"]
    projection = index["Projection"]
    held = {*_KEY_NAMES, sort, *projection.get("NonKeyAttributes", ())}
    is_whole = projection["ProjectionType"] == "ALL"
    items = [item for item in _all(sdk, ConsistentRead=True) if sort in item]
    items.sort(key=lambda item: (_value(item[sort]), _value(item["line"])))
    expected: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        row = {key: value for key, value in item.items() if is_whole or key in held}
        expected.setdefault(item["id"]["S"], []).append(row)
    scanned: dict[str, list[dict[str, Any]]] = {}
    for row in _all(sdk, IndexName=name, ConsistentRead=True):
        scanned.setdefault(row["id"]["S"], []).append(row)
    assert scanned == expected, name
    for partition in (f"o{number}" for number in range(_PARTITIONS)):
        answer = sdk.query(
            TableName=_TABLE,
            IndexName=name,
            ConsistentRead=True,
            KeyConditionExpression="id = :id",
            ExpressionAttributeValues={":id": {"S": partition}},
        )
        assert answer["Items"] == expected.get(partition, []), (name, partition)
    return len(items)


def _value(attribute: dict[str, str]) -> int | str:
    return int(attribute["N"]) if "N" in attribute else attribute["S"]


def _is_active(replicated: ReplicatedCluster, name: str) -> bool:
    table = _sdk(replicated).describe_table(TableName=_TABLE)["Table"]
    found = [each for each in table["GlobalSecondaryIndexes"] if each["IndexName"] == name]
    return bool(found) and found[0]["IndexStatus"] == "ACTIVE"


def _settle(replicated: ReplicatedCluster, name: str) -> None:
    """Wait until all replicas are there, and every index has all that was written."""
    replicated.await_whole(_TABLE, within_s=_SETTLED_S)
    eventually(lambda: _is_active(replicated, name), what=f"{name} is active", within_s=_SETTLED_S)
    eventually(lambda: _lag(replicated) == 0, what="indexes are level", within_s=_SETTLED_S)


def test_indexes_are_right_after_kills(tmp_path: Path) -> None:
    """Nodes are killed while a table with indexes is written to, split, and given another one."""
    with _cluster(tmp_path) as replicated:
        sdk = _sdk(replicated)
        sdk.create_table(
            TableName=_TABLE,
            KeySchema=[
                {"AttributeName": "id", "KeyType": "HASH"},
                {"AttributeName": "line", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=_attributes(id="S", line="N", state="S", at="N", who="S"),
            BillingMode="PAY_PER_REQUEST",
            LocalSecondaryIndexes=list(_LOCAL),
            GlobalSecondaryIndexes=[_index("by-state", "state", "at", "ALL")],
        )
        _settle(replicated, "by-state")
        writers = [_Writer(_sdk(replicated), seed) for seed in range(3)]
        for writer in writers:
            writer.start()
        for name in ("node-2", "node-3"):
            time.sleep(4.0)
            replicated.component(name).kill()
            time.sleep(1.0)
            replicated.component(name).start()
        sdk.update_table(
            TableName=_TABLE,
            AttributeDefinitions=_attributes(id="S", line="N", state="S", at="N", who="S"),
            GlobalSecondaryIndexUpdates=[{"Create": _index("by-who", "who", "at", "KEYS_ONLY")}],
        )
        time.sleep(1.0)
        replicated.component("node-1").kill()
        time.sleep(1.0)
        replicated.component("node-1").start()
        time.sleep(6.0)
        for writer in writers:
            writer.is_over.set()
        for writer in writers:
            writer.join(60.0)
        _settle(replicated, "by-who")
        assert _check(replicated, "by-state", "state", has_all=True)
        assert _check(replicated, "by-who", "who", has_all=False)
        for index in _LOCAL:
            assert _check_local(replicated, index)
        assert len(replicated.ranges(_TABLE)) > 1
        assert min(writer.done for writer in writers) > 20
