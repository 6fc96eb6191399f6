"""What replicas cost: puts and gets with one and with three, a failover, and the copy of a range.

Three nodes, a proxy, a control, etcd, all on this machine: what three replicas write, here one
machine writes three times, so the ratio is worse than with three machines. The two tables are
measured in turn, round by round. Values are 1 KB; puts replace, gets are strong.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

from dstore.base.limits import LOG_RECORDS_KEPT
from tests.benchmarks.wrk import Figure, replay, write_requests
from tests.support.cluster import DEFAULT_TENANT, eventually
from tests.support.cluster_parts import Component
from tests.support.cluster_plan import Shape
from tests.support.histories import recorded
from tests.support.replicated_cluster import FACTOR, TABLE, ReplicatedCluster, replicated_cluster

# More in each range than its log keeps, so that a replica without any is given a copy.
KEYS: Final = 4 * LOG_RECORDS_KEPT
ENTRY_BYTES: Final = 1_024
SECONDS: Final = 6
ROUNDS: Final = 3
CONNECTIONS: Final = 32
FACTORS: Final = (1, FACTOR)
ANSWER_TIMEOUT_S: Final = 10
_REQUESTS: Final = 6_000  # written ahead, and sent in turn
_METHODS: Final = {"put": "POST", "get": "GET"}
_LOADERS: Final = 8
_GIVEN_UP_S: Final = 60.0
_MB: Final = 1e6


def main() -> None:
    """Measure the three."""
    options = _options()
    with replicated_cluster(Shape(nodes=3, proxies=1)) as replicated:
        node = replicated.cluster.of_role("node")[-1]
        old = _old_copy(replicated, node)
        _load(replicated)
        _compare(replicated, seconds=options.seconds, rounds=options.rounds)
        _fail_over(replicated)
        _copy(replicated, node, old)


def _compare(replicated: ReplicatedCluster, *, seconds: int, rounds: int) -> None:
    """Measure puts and gets on both tables in turn."""
    figures: dict[tuple[str, int], list[Figure]] = {}
    with tempfile.TemporaryDirectory(prefix="dstore-bench-") as directory:
        path = Path(directory) / "requests"
        for number in range(1 + rounds):
            for name in _METHODS:
                for factor in FACTORS:
                    write_requests(path, _requests(replicated, name, factor, seed=number))
                    figure = replay(
                        replicated.cluster.component("proxy-1").url,
                        path,
                        seconds=seconds if number else 2,  # the first one warms up
                        connections=CONNECTIONS,
                        timeout_s=ANSWER_TIMEOUT_S,
                    )
                    if number:
                        figures.setdefault((name, factor), []).append(figure)
    print(
        f"{CONNECTIONS} connections, {KEYS:,} entries of {ENTRY_BYTES} bytes, "
        f"medians of {rounds} rounds of {seconds} s"
    )
    for name in _METHODS:
        rates = []
        for factor in FACTORS:
            some = figures[name, factor]
            rates.append(median(one.requests_per_s for one in some))
            p50, p99 = median(one.p50_ms for one in some), median(one.p99_ms for one in some)
            print(
                f"{name}, factor {factor} {rates[-1]:>8,.0f} requests/s   "
                f"p50 {p50:>6.2f} ms   p99 {p99:>6.2f} ms"
            )
        print(f"{name}, ratio    {rates[-1] / rates[0]:>8.2f}")


def _fail_over(replicated: ReplicatedCluster) -> None:
    """Kill a primary's node; time each of its ranges until a write is acknowledged again."""
    ranges = replicated.ranges()
    hashes = [each.hashes for each in ranges]
    victim = ranges[0].primary
    led = replicated.led_by(victim)
    with recorded(replicated.clients(), hashes, table=TABLE) as running:
        began_s = time.monotonic()
        for at in range(len(ranges)):
            _ = running.awaited_s(at, began_s, within_s=_GIVEN_UP_S)
        since_s = time.monotonic()
        replicated.component(victim).kill()
        took = [running.awaited_s(at, since_s, within_s=_GIVEN_UP_S) for at in led]
        started_s = replicated.component(victim).start()
        in_sync_s = replicated.await_whole()
    told = " ".join(f"{each:.2f}" for each in took)
    print(f"after kill -9 of a primary's node its ranges take writes again in {told} s;")
    print(f"it starts in {started_s:.1f} s, and is in sync {in_sync_s:.1f} s later")


def _old_copy(replicated: ReplicatedCluster, node: Component) -> Path:
    """Copy a node's directory as long as it has hardly anything."""
    old = node.directory / "old"
    node.stop()
    shutil.copytree(node.data, old)
    node.start()
    replicated.await_whole()
    return old


def _copy(replicated: ReplicatedCluster, node: Component, old: Path) -> None:
    """Have a node come back with next to nothing, and time the copies of its ranges."""
    primaries = [one for one in replicated.cluster.of_role("node") if one is not node]
    known = {one.place.name: len(one.events("copy_done")) for one in primaries}
    node.kill()
    shutil.rmtree(node.data)
    old.rename(node.data)
    node.start()
    replicated.await_whole(_table(FACTOR))
    replicated.await_whole()
    begun = [event for one in primaries for event in one.events("copy_begins")]
    rates = []
    for one in primaries:
        for done in one.events("copy_done")[known[one.place.name] :]:
            entries = _entries(replicated).get(done["range"])
            if entries is None:
                continue
            at_s = max(_at_s(each) for each in begun if each["range"] == done["range"])
            rates.append((entries * ENTRY_BYTES, at_s, _at_s(done)))
    if not rates:
        print("no range was copied: what its log had was enough")
        return
    size = sum(one for one, _, _ in rates)
    # From the first one's beginning to the last one's end: they go on side by side.
    took_s = max(end_s for _, _, end_s in rates) - min(begun_s for _, begun_s, _ in rates)
    print(
        f"{len(rates)} ranges copied to a new learner: {size / _MB:.1f} MB of entries at "
        f"{size / _MB / took_s:.1f} MB/s"
    )


# ----------------------------------------------------------------------------------- the tables


def _table(factor: int) -> str:
    return f"factor-{factor}"


def _load(replicated: ReplicatedCluster) -> None:
    with replicated.cluster.client() as client:
        for factor in FACTORS:
            made = client.put(
                f"/v1/tenant/{DEFAULT_TENANT}/table/{_table(factor)}",
                {"idType": "String", "settings": {"replicationFactor": factor}},
            )
            assert made.status == 201, made
            rng = random.Random(factor)
            eventually(
                lambda factor=factor, rng=rng: (  # type: ignore[misc]
                    client.put(_path(factor, 0), _entry(rng)).status == 201
                ),
                what="the table is there",
            )
            with ThreadPoolExecutor(_LOADERS) as pool:
                list(pool.map(partial(_load_some, replicated, factor), range(_LOADERS)))
    replicated.await_whole(_table(FACTOR))


def _load_some(replicated: ReplicatedCluster, factor: int, first: int) -> None:
    rng = random.Random(first)
    with replicated.cluster.client() as client:
        for number in range(first or _LOADERS, KEYS, _LOADERS):  # the very first one is there
            answer = client.put(_path(factor, number), _entry(rng))
            assert answer.status == 201, answer


def _requests(
    replicated: ReplicatedCluster, name: str, factor: int, *, seed: int
) -> Iterator[bytes]:
    rng = random.Random(f"{name} {seed}")
    method = _METHODS[name]
    host = urlsplit(replicated.cluster.component("proxy-1").url).netloc
    head = f"Host: {host}\r\nAuthorization: Bearer {replicated.cluster.operator_token}\r\n"
    for _ in range(_REQUESTS):
        body = json.dumps(_entry(rng)).encode() if method == "POST" else b""
        sized = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        path = _path(factor, rng.randrange(KEYS))
        yield f"{method} {path} HTTP/1.1\r\n{head}{sized}\r\n".encode() + body


def _path(factor: int, number: int) -> str:
    return f"/v1/tenant/{DEFAULT_TENANT}/table/{_table(factor)}/id/e{number}"


def _entry(rng: random.Random) -> Mapping[str, Any]:
    return {"text": rng.randbytes(ENTRY_BYTES // 2).hex()}


def _entries(replicated: ReplicatedCluster) -> dict[str, int]:
    """Say how many entries each range of the table has, about: their ids are spread evenly."""
    with replicated.cluster.admin() as admin:
        where = f"tenant={DEFAULT_TENANT}&table={_table(FACTOR)}"
        rows = admin.get(f"/admin/v1/placement?{where}").json()["ranges"]
    return {row["rangeId"]: KEYS // len(rows) for row in rows}


def _at_s(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench replication", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
