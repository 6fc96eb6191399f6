"""What a request costs the proxies and the nodes, in CPU, with 1, 2, 4 and 8 node processes.

Scaling linearly means, on one machine, that a request costs the same however many nodes there are.
Each cluster has a proxy for each node and the same number of connections per node, each with one
request under way; the CPU time that the kernel charges each process is divided by the requests
answered. Requests a second here say nothing, since wrk, etcd and everything else share the cores.

What the few cores do to the figures is kept apart from what the number of nodes does:

- As many pairs of a proxy and a node are at work in every measurement: one node is eight clusters
  of one, all at once, and two nodes are four clusters of two. Else the figure of eight nodes would
  also be that of sixteen processes that share caches, and of cores that two leave half idle.
- Every process runs under SCHED_BATCH: whoever is woken waits until the one at work has nothing to
  do or its slice is over. Otherwise each request would interrupt the process that it comes from,
  and none would ever find several to share a frame or a commit, as it does at full load on a core
  of its own. How many do is printed: calls of one frame that a node receives, writes of one commit,
  and the calls at work at one node on the average.
- What a process does without any request (leases, watches, signs of life) costs the same each
  second on a machine of its own, however busy; here sixteen processes do it beside the work of two
  cores. It is measured on the idle cluster, printed, and subtracted.
- The machine's speed changes with whatever else it does. The largest cluster and as many pairs in
  clusters of another size run beside each other and are measured in turn, round by round; then the
  next size. What is compared is each size with the largest, in each round by itself; of these
  ratios the median counts.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks import machine
from tests.benchmarks.dynamodb_endpoint import Endpoint
from tests.benchmarks.dynamodb_workloads import ITEM_BYTES, KEYS, WORKLOADS, Workload, seed
from tests.benchmarks.peers import measure_peers
from tests.benchmarks.wrk import replay, write_requests
from tests.support.cluster import Cluster, running_cluster
from tests.support.cluster_parts import Component
from tests.support.cluster_plan import Shape
from tests.support.http_client import Client

NODES: Final = (1, 2, 4, 8)
CONNECTIONS_A_NODE: Final = 64
SECONDS: Final = 8
ROUNDS: Final = 3
WARM_UP_S: Final = 5
IDLE_S: Final = 5
SETTLES_S: Final = 3
ANSWER_TIMEOUT_S: Final = 10  # hundreds of requests are under way on few cores
FLAT: Final = 0.15
# Else one node would have one replica of each range, and eight nodes three, which cost more.
_SETTINGS: Final = {"replication-factor": "1"}
_OPERATIONS: Final = ("put", "get")
_TICKS_A_S: Final = os.sysconf("SC_CLK_TCK")
_US: Final = 1e6
_MS: Final = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What has been counted up to a moment, over all processes of a role."""

    proxies_s: float = 0.0
    nodes_s: float = 0.0
    writes: float = 0.0
    commits: float = 0.0
    calls: float = 0.0
    frames: float = 0.0
    at_work_s: float = 0.0

    def since(self, before: Reading) -> Reading:
        """Return what has been counted since another reading."""
        return Reading(
            **{
                field.name: getattr(self, field.name) - getattr(before, field.name)
                for field in fields(self)
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One round of one workload on one cluster; CPU in microseconds a request, without idling."""

    requests_per_s: float
    proxy_us: float
    nodes_us: float
    idle_us: float
    calls_a_frame: float
    writes_a_commit: float
    at_work: float
    """At one node on the average, of calls that are not answered at once."""

    @property
    def sum_us(self) -> float:
        """Return what both sides pay."""
        return self.proxy_us + self.nodes_us


def main() -> None:
    """Measure each size beside the largest, then the peers alone."""
    options = _options()
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # and everything started from here
    largest = max(options.nodes)
    for nodes in sorted(set(options.nodes) - {largest}):
        costs = _measured_beside(options, (nodes, largest), pairs=largest)
        print(
            f"\n{options.connections} connections a node, {KEYS:,} keys a cluster, "
            f"items of {ITEM_BYTES} bytes, medians of {options.rounds} rounds of "
            f"{options.seconds} s; CPU µs a request, beside an idle cluster's; {_machine()}"
        )
        for workload in _workloads():
            _print_table(workload.name, (nodes, largest), costs)
    print("\nCalls between two processes alone:", flush=True)
    measure_peers(options.seconds / 2)


def _measured_beside(
    options: argparse.Namespace, sizes: Sequence[int], *, pairs: int
) -> dict[tuple[str, int], list[Cost]]:
    """Measure clusters of some sizes in turn; of each size as many as make up all pairs."""
    costs: dict[tuple[str, int], list[Cost]] = {}
    with ExitStack() as ending:
        measured = []
        for nodes in sizes:
            print(f"{pairs // nodes} cluster(s) of {nodes}: starting; {_machine()}", flush=True)
            shape = Shape(nodes=nodes, proxies=nodes)
            clusters = [
                ending.enter_context(running_cluster(shape, control_settings=_SETTINGS))
                for _ in range(pairs // nodes)
            ]
            measured.append(_Measured(clusters))
        for one in measured:
            one.measure_idle()
        for workload in _workloads():
            for number, seconds in enumerate([WARM_UP_S] + [options.seconds] * options.rounds):
                run = Run(seconds=seconds, number=number, connections=options.connections)
                for one in measured:
                    cost = one.measure(workload, run)
                    print(
                        f"{workload.name} {one.name}, round {number}: {cost.sum_us:.0f} µs",
                        flush=True,
                    )
                    if number:  # the first one warms up
                        costs.setdefault((workload.name, one.nodes), []).append(cost)
    return costs


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench cluster", description=__doc__)
    parser.add_argument("--nodes", type=_counts, default=NODES, metavar="1,2,4,8")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--connections", type=int, default=CONNECTIONS_A_NODE, help="to each proxy")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How one round is to be measured; `connections` are to each proxy."""

    seconds: int
    number: int
    connections: int


class _Measured:
    """Clusters of one size with items in their tables, which are loaded all at once."""

    def __init__(self, clusters: Sequence[Cluster]) -> None:
        """Load them with items."""
        self._clusters = clusters
        self._idle = Reading()  # a second of it
        self._endpoints = [each for cluster in clusters for each in _endpoints(cluster)]
        self.nodes = len(self._endpoints) // len(clusters)
        self.name = f"{len(clusters)} x {self.nodes} node(s)"
        for cluster in clusters:
            seed(_endpoints(cluster)[0])

    def measure_idle(self) -> None:
        """Measure what it does while nobody asks anything."""
        time.sleep(SETTLES_S)
        before = _reading(self._clusters)
        time.sleep(IDLE_S)
        used = _reading(self._clusters).since(before)
        self._idle = Reading(proxies_s=used.proxies_s / IDLE_S, nodes_s=used.nodes_s / IDLE_S)
        print(
            f"{self.name} idle: {self._idle.proxies_s / self._pairs * _MS:.1f} ms a second a "
            f"proxy, {self._idle.nodes_s / self._pairs * _MS:.1f} ms a node",
            flush=True,
        )

    @property
    def _pairs(self) -> int:
        return len(self._endpoints)

    def measure(self, workload: Workload, run: Run) -> Cost:
        """Measure one round."""
        with tempfile.TemporaryDirectory(prefix="dstore-bench-") as name:
            paths = [Path(name) / str(number) for number in range(self._pairs)]
            for endpoint, path in zip(self._endpoints, paths, strict=True):
                rng = random.Random(f"{path.name} {run.number}")
                members = (workload.members(rng) for _ in range(workload.requests // self._pairs))
                write_requests(path, (endpoint.request(workload.operation, one) for one in members))
            before, began_s = _reading(self._clusters), time.monotonic()
            requests_per_s = self._replayed(paths, workload, run)
            took_s = time.monotonic() - began_s
            used = _reading(self._clusters).since(before)
        requests = requests_per_s * run.seconds
        idle = self._idle
        return Cost(
            requests_per_s=requests_per_s,
            proxy_us=(used.proxies_s - idle.proxies_s * took_s) / requests * _US,
            nodes_us=(used.nodes_s - idle.nodes_s * took_s) / requests * _US,
            idle_us=(idle.proxies_s + idle.nodes_s) * took_s / requests * _US,
            calls_a_frame=used.calls / used.frames,
            writes_a_commit=used.writes / used.commits if used.commits else 0.0,
            at_work=used.at_work_s / took_s / self._pairs,
        )

    def _replayed(self, paths: Sequence[Path], workload: Workload, run: Run) -> float:
        """Have every proxy answer its requests. Returns: requests a second of all of them."""
        with ThreadPoolExecutor(self._pairs) as pool:
            figures = pool.map(
                lambda endpoint, path: replay(
                    endpoint.url,
                    path,
                    seconds=run.seconds,
                    pattern=workload.pattern,
                    connections=run.connections,
                    timeout_s=ANSWER_TIMEOUT_S,
                ),
                self._endpoints,
                paths,
            )
            return sum(figure.requests_per_s for figure in figures)


def _reading(clusters: Sequence[Cluster]) -> Reading:
    nodes = [node for cluster in clusters for node in cluster.of_role("node")]
    proxies = [proxy for cluster in clusters for proxy in cluster.of_role("proxy")]
    pages = [_metrics(node) for node in nodes]
    return Reading(
        proxies_s=_cpu_s([proxy.pid for proxy in proxies]),
        nodes_s=_cpu_s([node.pid for node in nodes]),
        writes=_sum(pages, "dstore_write_batch_sum"),
        commits=_sum(pages, "dstore_write_batch_count"),
        calls=_sum(pages, "dstore_peer_calls_total"),
        frames=_sum(pages, 'dstore_peer_frames_total{way="received"}'),
        at_work_s=_sum(pages, "dstore_peer_call_seconds_total"),
    )


def _cpu_s(pids: Sequence[int]) -> float:
    """Sum up the CPU time of processes with all their threads, user's and system's."""
    return sum(_ticks(pid) for pid in pids) / _TICKS_A_S


def _ticks(pid: int) -> int:
    # The name of a process may hold anything; what follows it is numbers.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _sum(pages: Sequence[dict[str, float]], name: str) -> float:
    return sum(page[name] for page in pages)


def _metrics(component: Component) -> dict[str, float]:
    with Client(component.place.admin_url, token=None) as client:
        lines = client.get("/metrics").body.decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


_COLUMNS: Final = (
    ("requests/s", "requests_per_s", 10, ",.0f"),
    ("proxy µs", "proxy_us", 8, ".0f"),
    ("nodes µs", "nodes_us", 8, ".0f"),
    ("sum µs", "sum_us", 6, ".0f"),
    ("idle µs", "idle_us", 7, ".0f"),
    ("calls a frame", "calls_a_frame", 13, ".1f"),
    ("writes a commit", "writes_a_commit", 15, ".1f"),
    ("at work a node", "at_work", 14, ".1f"),
)


def _print_table(
    name: str, counts: Sequence[int], costs: dict[tuple[str, int], list[Cost]]
) -> None:
    print(f"\n{name:8} nodes  " + "  ".join(f"{title:>{wide}}" for title, _, wide, _ in _COLUMNS))
    for nodes in counts:
        shown = (
            f"{_median(costs[name, nodes], field):{wide}{form}}"
            for _, field, wide, form in _COLUMNS
        )
        print(f"{'':8} {nodes:5}  " + "  ".join(shown))
    # Of each round by itself, since the machine's speed is another one in the next.
    smaller, larger = (costs[name, nodes] for nodes in (counts[0], counts[-1]))
    growths = [b.sum_us / a.sum_us - 1 for a, b in zip(smaller, larger, strict=True)]
    growth = median(growths)
    said = "flat" if growth <= FLAT else "NOT flat"
    print(
        f"{'':8} {said}: a request costs {growth:+.0%} in a cluster of {counts[-1]} beside one of "
        f"{counts[0]} (rounds {min(growths):+.0%} to {max(growths):+.0%}; at most {FLAT:+.0%})"
    )


def _median(rounds: Sequence[Cost], field: str) -> float:
    return float(median(getattr(cost, field) for cost in rounds))


def _machine() -> str:
    """Say how fast and how busy this machine is at the moment."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{machine.interpreter()}, {machine.hashing()}, load average {load}"


if __name__ == "__main__":
    main()
