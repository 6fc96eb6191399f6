"""What a request costs the proxies and the nodes, in CPU, with 1, 2, 4 and 8 node processes.

Scaling linearly means, on one machine, that a request costs the same however many nodes there are:
each cluster has a proxy for each node and the same number of requests under way per node, and the
CPU time that the kernel charges each process is divided by the requests answered. Batches are
writes that share one commit at a node; where they are smaller, each write pays more of its commit.
wrk, etcd and everything else share the same cores, so that the requests a second here say nothing;
the time a request costs does.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import tempfile
import timeit
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks.dynamodb_endpoint import Endpoint
from tests.benchmarks.dynamodb_workloads import ITEM_BYTES, KEYS, WORKLOADS, Workload, seed
from tests.benchmarks.peers import measure_peers
from tests.benchmarks.wrk import replay, write_requests
from tests.support.cluster import Cluster, running_cluster
from tests.support.cluster_parts import Component
from tests.support.cluster_plan import Shape
from tests.support.http_client import Client

NODES: Final = (1, 2, 4, 8)
IN_FLIGHT_A_NODE: Final = 16
SECONDS: Final = 6
ROUNDS: Final = 3
WARM_UP_S: Final = 3
FLAT: Final = 0.15
_OPERATIONS: Final = ("put", "get")
_TICKS_A_S: Final = os.sysconf("SC_CLK_TCK")
_US: Final = 1e6
_HASHES: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One round of one workload on one cluster; CPU in microseconds a request."""

    requests_per_s: float
    proxy_us: float
    nodes_us: float
    batch: float


def main() -> None:
    """Measure one cluster after the other, then the peers alone."""
    options = _options()
    costs: dict[tuple[str, int], list[Cost]] = {}
    for nodes in options.nodes:
        print(f"{nodes} node(s): starting; sha256 of 1 KB {_sha256_us():.2f} µs", flush=True)
        with running_cluster(Shape(nodes=nodes, proxies=nodes)) as cluster:
            endpoints = _endpoints(cluster)
            seed(endpoints[0])
            for workload in _workloads():
                rounds = [
                    _measured(cluster, endpoints, workload, seconds=seconds, number=number)
                    for number, seconds in enumerate(
                        [WARM_UP_S] + [options.seconds] * options.rounds
                    )
                ]
                costs[workload.name, nodes] = rounds[1:]
    print(
        f"\n{IN_FLIGHT_A_NODE} requests in flight a node, items of {ITEM_BYTES} bytes, {KEYS:,} "
        f"keys, medians of {options.rounds} rounds of {options.seconds} s; CPU µs a request"
    )
    for workload in _workloads():
        _print_table(workload.name, options.nodes, costs)
    print("\nCalls between two processes alone:", flush=True)
    measure_peers(options.seconds / 2)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench cluster", description=__doc__)
    parser.add_argument("--nodes", type=_counts, default=NODES, metavar="1,2,4,8")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    return parser.parse_args()


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _workloads() -> list[Workload]:
    return [workload for workload in WORKLOADS if workload.name in _OPERATIONS]


def _endpoints(cluster: Cluster) -> list[Endpoint]:
    return [
        Endpoint(name=proxy.place.name, url=proxy.url, key=cluster.access_key, pid=proxy.pid)
        for proxy in cluster.of_role("proxy")
    ]


def _measured(
    cluster: Cluster, endpoints: list[Endpoint], workload: Workload, *, seconds: int, number: int
) -> Cost:
    proxies = [endpoint.pid for endpoint in endpoints]
    nodes = [node.pid for node in cluster.of_role("node")]
    with tempfile.TemporaryDirectory(prefix="dstore-bench-") as name:
        paths = [Path(name) / endpoint.name for endpoint in endpoints]
        for endpoint, path in zip(endpoints, paths, strict=True):
            rng = random.Random(f"{endpoint.name} {number}")
            count = workload.requests // len(endpoints)
            members = (workload.members(rng) for _ in range(count))
            write_requests(path, (endpoint.request(workload.operation, one) for one in members))
        before = _cpu_s(proxies), _cpu_s(nodes), _batches(cluster)
        with ThreadPoolExecutor(len(endpoints)) as pool:
            figures = list(
                pool.map(
                    lambda url, path: replay(
                        url,
                        path,
                        seconds=seconds,
                        pattern=workload.pattern,
                        connections=IN_FLIGHT_A_NODE,
                    ),
                    [endpoint.url for endpoint in endpoints],
                    paths,
                )
            )
        after = _cpu_s(proxies), _cpu_s(nodes), _batches(cluster)
    return _cost(sum(figure.requests_per_s for figure in figures), seconds, before, after)


def _cost(
    requests_per_s: float,
    seconds: int,
    before: tuple[float, float, tuple[float, float]],
    after: tuple[float, float, tuple[float, float]],
) -> Cost:
    requests = requests_per_s * seconds
    commits = after[2][1] - before[2][1]
    return Cost(
        requests_per_s=requests_per_s,
        proxy_us=(after[0] - before[0]) / requests * _US,
        nodes_us=(after[1] - before[1]) / requests * _US,
        batch=(after[2][0] - before[2][0]) / commits if commits else 0.0,
    )


def _cpu_s(pids: Sequence[int]) -> float:
    """Sum up the CPU time of processes with all their threads, user's and system's."""
    return sum(_ticks(pid) for pid in pids) / _TICKS_A_S


def _ticks(pid: int) -> int:
    # The name of a process may hold anything; what follows it is numbers.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _batches(cluster: Cluster) -> tuple[float, float]:
    """Sum up over the nodes: writes committed, and commits."""
    pages = [_metrics(node) for node in cluster.of_role("node")]
    return (
        sum(page["dstore_write_batch_sum"] for page in pages),
        sum(page["dstore_write_batch_count"] for page in pages),
    )


def _metrics(component: Component) -> dict[str, float]:
    with Client(component.place.admin_url, token=None) as client:
        lines = client.get("/metrics").body.decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def _print_table(
    name: str, counts: Sequence[int], costs: dict[tuple[str, int], list[Cost]]
) -> None:
    print(f"\n{name:8} nodes  requests/s   proxy µs   nodes µs   sum µs   writes a commit")
    sums = []
    for nodes in counts:
        rounds = costs[name, nodes]
        rate, proxy, node, batch = (
            median(getattr(cost, field) for cost in rounds)
            for field in ("requests_per_s", "proxy_us", "nodes_us", "batch")
        )
        sums.append(proxy + node)
        print(
            f"{'':8} {nodes:5}  {rate:10,.0f} {proxy:10.0f} {node:10.0f} {proxy + node:8.0f}"
            f" {batch:17.1f}"
        )
    spread = max(sums) / min(sums) - 1
    said = "flat" if spread <= FLAT else "NOT flat"
    print(f"{'':8} {said}: the dearest is {spread:.0%} above the cheapest (at most {FLAT:.0%})")


def _sha256_us() -> float:
    """Say how fast this machine is at the moment."""
    block = bytes(1_024)
    times = timeit.repeat(lambda: hashlib.sha256(block).digest(), number=_HASHES, repeat=5)
    return median(times) / _HASHES * _US


if __name__ == "__main__":
    main()
