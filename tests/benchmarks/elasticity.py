"""A fourth node joins three that hold data, and one of the four goes again, under load.

Three nodes, a proxy, a control, etcd, all on this machine. The table has three replicas a range; in
the background clients put and get at a fixed rate, each request at its own time, and its latency
counts from when it was due. Printed: how long the data moved, how even it lies then, the
percentiles during the move beside those before it, and the requests that failed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final

from tests.support.cluster import DEFAULT_TENANT, eventually
from tests.support.cluster_plan import Shape
from tests.support.http_client import NoAnswer
from tests.support.replicated_cluster import FACTOR, ReplicatedCluster, replicated_cluster

if TYPE_CHECKING:
    from tests.support.cluster_parts import Component
    from tests.support.http_client import Client

GB: Final = 5.0
RANGES: Final = 24
ITEM_BYTES: Final = 32_768
SMALL_BYTES: Final = 1_024
RATE: Final = 150
BEFORE_S: Final = 20
TABLE: Final = "elastic"
_KEYS: Final = 2_000  # that the load puts and gets
_CLIENTS: Final = 12
_LOADERS: Final = 8
_POLL_S: Final = 0.5
_QUIET: Final = 4  # looks in a row that find nothing to move
_GIVEN_UP_S: Final = 3_600.0
_NODES: Final = 3
_ZONE: Final = "one"  # with a zone each, the fourth could only take from the one of its own
_BYTES_A_GB: Final = 1_000_000_000
_PUT_SHARE: Final = 0.5


def main() -> None:
    """Load, measure, let a node join, and one go."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it takes long
    options = _options()
    shape = Shape(nodes=_NODES, proxies=1)
    with replicated_cluster(shape, ranges=options.ranges, zone=_ZONE) as replicated:
        _fill(replicated, options)
        nodes = list(replicated.cluster.of_role("node"))
        held = _held_bytes(replicated, nodes)
        print(
            f"{_NODES} nodes hold {_listed_gb(held)} GB in {options.ranges} ranges with {FACTOR} "
            f"replicas; {options.rate} requests/s, half of them puts of {SMALL_BYTES} bytes"
        )
        with _load(replicated, rate=options.rate) as load:
            time.sleep(options.before_s)
            before = load.taken()
            print(f"before          {before}")
            with replicated.cluster.guest("node") as fourth:
                _join(replicated, fourth, [*nodes, fourth], load, before)
                leaving = nodes.pop()
                _leave(replicated, leaving, [*nodes, fourth], load, before)


def _join(
    replicated: ReplicatedCluster,
    fourth: Component,
    nodes: Sequence[Component],
    load: _Load,
    before: _Figures,
) -> None:
    cluster = replicated.cluster
    fourth.settings["zone"] = _ZONE
    fourth.give_token(cluster.join_token("node"))
    began_s = time.monotonic()
    fourth.start()
    url = f"https://{fourth.place.host}:{fourth.place.peer_port}"
    eventually(lambda: _id_at(replicated, url) is not None, what="the node is listed")
    replicated.names({_id_at(replicated, url) or "": fourth.place.name})
    _await_rest(replicated, nodes=len(nodes))
    _report("a node joined", began_s, replicated, nodes, (load.taken(), before))


def _leave(
    replicated: ReplicatedCluster,
    leaving: Component,
    nodes: Sequence[Component],
    load: _Load,
    before: _Figures,
) -> None:
    node, began_s = replicated.node_id(leaving.place.name), time.monotonic()
    with replicated.cluster.admin() as admin:
        answer = admin.put(f"/admin/v1/node/{node}/intent", {"intent": "decommission"})
        assert answer.status == 200, answer
        task = answer.json()["task"]

        def is_done() -> bool:
            return bool(admin.get(f"/admin/v1/task/{task}").json()["state"] == "done")

        eventually(is_done, what="the node is empty", within_s=_GIVEN_UP_S)
    _await_rest(replicated, nodes=len(nodes))
    _report("a node went", began_s, replicated, nodes, (load.taken(), before))


def _report(
    what: str,
    began_s: float,
    replicated: ReplicatedCluster,
    nodes: Sequence[Component],
    figures: tuple[_Figures, _Figures],
) -> None:
    """Print what came of a move."""
    during, before = figures
    took_s = time.monotonic() - began_s - _QUIET * _POLL_S
    held = _held_bytes(replicated, nodes)
    even = sum(held.values()) / len(held)
    off = max(abs(each - even) for each in held.values()) / even if even else 0.0
    print(f"{what}: data moved for {took_s:.0f} s; nodes hold {_listed_gb(held)} GB,")
    print(f"  {100 * off:.1f} % off even at the most")
    print(f"during the move {during}")
    print(f"  p99 {during.p99_ms / max(before.p99_ms, 0.001):.1f} times that of before")


# -------------------------------------------------------------------------------------- the load


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """Latencies of a time."""

    count: int
    failed: int
    p50_ms: float
    p99_ms: float
    why: str = ""

    def __str__(self) -> str:
        return (
            f"{self.count:>7,} requests   p50 {self.p50_ms:>7.2f} ms   "
            f"p99 {self.p99_ms:>7.2f} ms   {self.failed} failed{': ' if self.why else ''}{self.why}"
        )


@dataclass(slots=True)
class _Load:
    """Requests that are due at fixed times, and what came of them."""

    rate: int
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _took_ms: list[float] = field(default_factory=list)
    _failed: list[str] = field(default_factory=list)

    def run(self, client: Client, number: int) -> None:
        """Send every `_CLIENTS`th request until the end."""
        rng = random.Random(number)
        due_s = time.monotonic() + number / self.rate
        with client:
            while not self.ended.wait(max(due_s - time.monotonic(), 0)):
                failure = _request(client, rng)
                took_ms = 1_000 * (time.monotonic() - due_s)
                with self._lock:
                    self._took_ms.append(took_ms)
                    if failure:
                        self._failed.append(failure)
                due_s += _CLIENTS / self.rate

    def taken(self) -> _Figures:
        """Give what came of the requests since this was asked last."""
        with self._lock:
            took_ms, self._took_ms = self._took_ms, []
            failed, self._failed = self._failed, []
        return _Figures(
            count=len(took_ms),
            failed=len(failed),
            p50_ms=median(took_ms),
            p99_ms=quantiles(took_ms, n=100)[-1],
            why=failed[0] if failed else "",
        )


def _request(client: Client, rng: random.Random) -> str:
    """Put or get an entry. Returns: what was wrong; "" if nothing."""
    path = _path(f"small-{rng.randrange(_KEYS)}")
    try:
        if rng.random() < _PUT_SHARE:
            answer = client.post(path, _entry(rng, SMALL_BYTES))
        else:
            answer = client.get(path)
    except NoAnswer as error:
        return str(error)
    return "" if answer.status in {200, 201, 204} else str(answer)


@contextmanager
def _load(replicated: ReplicatedCluster, *, rate: int) -> Iterator[_Load]:
    load = _Load(rate)
    with ThreadPoolExecutor(_CLIENTS) as pool:
        running = [
            pool.submit(load.run, replicated.cluster.client(), number) for number in range(_CLIENTS)
        ]
        try:
            yield load
        finally:
            load.ended.set()
    for each in running:
        each.result()


# ----------------------------------------------------------------------------------- the tables


def _fill(replicated: ReplicatedCluster, options: argparse.Namespace) -> None:
    with replicated.cluster.client() as client:
        made = client.put(
            f"/v1/tenant/{DEFAULT_TENANT}/table/{TABLE}",
            {"idType": "String", "settings": {"replicationFactor": FACTOR}},
        )
        assert made.status == 201, made
        rng = random.Random(0)
        eventually(
            lambda: client.put(_path("first"), _entry(rng, SMALL_BYTES)).status in {200, 201},
            what="the table is there",
        )
    names = [(f"small-{number}", SMALL_BYTES) for number in range(_KEYS)]
    large = int(options.gb * _BYTES_A_GB / options.item_bytes)
    names += [(f"large-{number}", options.item_bytes) for number in range(large)]
    with ThreadPoolExecutor(_LOADERS) as pool:
        list(
            pool.map(partial(_fill_some, replicated), [names[n::_LOADERS] for n in range(_LOADERS)])
        )
    replicated.await_whole(TABLE, within_s=_GIVEN_UP_S)
    os.sync()  # else the machine still writes the load back while what comes before is measured


def _fill_some(replicated: ReplicatedCluster, names: Sequence[tuple[str, int]]) -> None:
    rng = random.Random(len(names))
    with replicated.cluster.client() as client:
        for name, size_bytes in names:
            answer = client.put(_path(name), _entry(rng, size_bytes))
            while answer.status == 503:
                time.sleep(_POLL_S)
                answer = client.put(_path(name), _entry(rng, size_bytes))
            assert answer.status in {200, 201}, answer


def _path(name: str) -> str:
    return f"/v1/tenant/{DEFAULT_TENANT}/table/{TABLE}/id/{name}"


def _entry(rng: random.Random, size_bytes: int) -> dict[str, Any]:
    return {"text": rng.randbytes(size_bytes // 2).hex()}


# ---------------------------------------------------------------------------------- what is seen


def _await_rest(replicated: ReplicatedCluster, *, nodes: int) -> None:
    """Wait until nothing is moved, nor to be moved, for some looks."""
    quiet = 0

    def is_quiet() -> bool:
        nonlocal quiet
        with replicated.cluster.admin() as admin:
            answer = admin.get("/admin/v1/placement/plan")
        ranges = replicated.ranges(TABLE) if answer.status == 200 else ()
        on = {node for each in ranges for node in each.replicas}
        is_still = answer.status == 200 and not answer.json()["moves"]
        is_at_rest = is_still and len(on) == nodes and all(each.is_whole for each in ranges)
        quiet = quiet + 1 if is_at_rest else 0
        time.sleep(_POLL_S)
        return quiet >= _QUIET

    eventually(is_quiet, what="nothing is moved any more", within_s=_GIVEN_UP_S)


def _held_bytes(replicated: ReplicatedCluster, nodes: Sequence[Component]) -> dict[str, int]:
    """Add up what the replicas store that each node should have."""
    held = dict.fromkeys((node.place.name for node in nodes), 0)
    names = {replicated.node_id(name): name for name in held}
    with replicated.cluster.admin() as admin:
        where = f"tenant={DEFAULT_TENANT}&table={TABLE}"
        for row in admin.get(f"/admin/v1/placement?{where}").json()["ranges"]:
            for replica in row["replicas"]:
                if replica["node"] in names:
                    held[names[replica["node"]]] += row["storedBytes"] or 0
    return held


def _listed_gb(held: dict[str, int]) -> str:
    return ", ".join(f"{each / _BYTES_A_GB:.2f}" for each in held.values())


def _id_at(replicated: ReplicatedCluster, url: str) -> str | None:
    return next((one["id"] for one in replicated.cluster.listed("node") if one["url"] == url), None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench elasticity", description=__doc__)
    parser.add_argument("--gb", type=float, default=GB, help="what each of three nodes holds")
    parser.add_argument("--ranges", type=int, default=RANGES)
    parser.add_argument("--item-bytes", type=int, default=ITEM_BYTES, help="of what fills them")
    parser.add_argument("--rate", type=int, default=RATE, help="requests a second")
    parser.add_argument("--before-s", type=int, default=BEFORE_S, help="measured before the move")
    return parser.parse_args()


if __name__ == "__main__":
    main()
