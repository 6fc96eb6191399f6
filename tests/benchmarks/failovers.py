"""`scripts/failovers`: nodes die, stand still and are cut off under load, and what came of it.

Real processes: etcd, a control, two proxies, three nodes, a table with three replicas of a range.
A node that is muted still reaches the others, but nothing of it reaches etcd, control and proxies.
A failover is one range whose primary was on the node that was struck; its time runs from that
moment to the first acknowledgement of a write that began later. The node comes back when all of
its ranges are written to again, and the next one is struck when every replica is in sync.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from dstore.base.limits import LEASE_TTL_S
from tests.simulation.history import Fate
from tests.support.cluster import Cluster
from tests.support.cluster_plan import Shape
from tests.support.histories import Recorded, recorded
from tests.support.namespaces import Namespaces, any_network, is_possible, namespaces
from tests.support.replicated_cluster import TABLE, ReplicatedCluster
from tests.support.server import TIED

BOUND_S: Final = LEASE_TTL_S + 3.0
RANGES: Final = 6
LANES_A_RANGE: Final = 2
MINUTES: Final = 10.0
_GIVEN_UP_S: Final = 60.0
_BRIEFLY: Final = 0.2  # of all strikes end before anybody may have taken over
_BRIEFLY_S: Final = (0.5, 4.0)


@dataclass(slots=True)
class Score:
    """What has been seen so far, in seconds, by what was done to nodes."""

    strikes: Counter[str] = field(default_factory=Counter)
    failovers_s: dict[str, list[float]] = field(default_factory=dict)
    healed_s: list[float] = field(default_factory=list)


def main() -> int:
    """Strike for so many minutes, then judge. Returns: 1 if something was wrong."""
    options = _options()
    chance = random.Random(options.seed)
    kinds = ["kill", "stop"] + (["cut", "mute"] if is_possible() else [])
    if len(kinds) == 2:
        print("Only root can make network namespaces: nodes are not cut off.")
    with _cluster() as (replicated, machines):
        ranges = replicated.ranges()
        clients = replicated.clients()
        score = Score()
        lanes = LANES_A_RANGE
        with recorded(
            clients, [each.hashes for each in ranges], table=TABLE, lanes_a_range=lanes
        ) as running:
            ends_s = time.monotonic() + 60 * options.minutes
            while time.monotonic() < ends_s:
                _strike(replicated, running, machines, score, (chance.choice(kinds), chance))
        running.read_back(clients[0])
        problems = running.problems()
        _print_score(score, running)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} keys are not linearizable." if problems else "All is linearizable.")
    return 1 if problems else 0


def _strike(
    replicated: ReplicatedCluster,
    running: Recorded,
    machines: Namespaces | None,
    score: Score,
    by: tuple[str, random.Random],
) -> None:
    """Strike one node, wait until its ranges are served, and until it is back."""
    kind, chance = by
    ranges = replicated.ranges()
    node = chance.choice(sorted({each.primary for each in ranges}))
    led = [n for n, each in enumerate(ranges) if each.primary == node]
    is_brief = chance.random() < _BRIEFLY and kind != "kill"
    since_s = time.monotonic()
    with _struck(replicated, machines, kind, node):
        if is_brief:
            time.sleep(chance.uniform(*_BRIEFLY_S))
        else:
            took = [running.awaited_s(at, since_s, within_s=_GIVEN_UP_S) for at in led]
            score.failovers_s.setdefault(kind, []).extend(took)
            print(f"{kind} {node}: {' '.join(f'{each:.2f}' for each in took)} s", flush=True)
    score.strikes[f"{kind} briefly" if is_brief else kind] += 1
    for at in led:
        running.awaited_s(at, time.monotonic(), within_s=_GIVEN_UP_S)
    score.healed_s.append(replicated.await_whole())


@contextmanager
def _struck(
    replicated: ReplicatedCluster, machines: Namespaces | None, kind: str, node: str
) -> Iterator[None]:
    with ExitStack() as ending:
        match kind:
            case "kill":
                replicated.component(node).kill()
                ending.callback(replicated.component(node).start)
            case "stop":
                ending.enter_context(replicated.stopped(node))
            case "cut":
                assert machines is not None
                ending.enter_context(machines.cut(node))
            case _:
                assert machines is not None
                ending.enter_context(machines.muted(node))
        yield


@contextmanager
def _cluster() -> Iterator[tuple[ReplicatedCluster, Namespaces | None]]:
    """Run the cluster, its nodes in namespaces if that is possible; a failed run is kept."""
    directory = Path(tempfile.mkdtemp(prefix="dstore-failovers-"))
    network = any_network() if is_possible() else ""
    cluster = Cluster(directory, Shape(nodes=3, proxies=2, network=network), say=print)
    cluster.component("control-1").settings["ranges-per-table"] = str(RANGES)
    nodes = cluster.of_role("node")
    with ExitStack() as ending:
        machines = None
        if network:
            hosts = [(node.place.name, node.place.host) for node in nodes]
            machines = ending.enter_context(namespaces(hosts, network=network))
            for node in nodes:
                node.prefix = (*machines.prefix(node.place.name), *TIED)
        ending.callback(cluster.kill)
        replicated = ReplicatedCluster(cluster)
        try:
            replicated.start()
            yield replicated, machines
        except BaseException:
            print(f"What the processes said is in {directory}.")
            raise
        cluster.stop()
    shutil.rmtree(directory, ignore_errors=True)


def _print_score(score: Score, running: Recorded) -> None:
    done = ", ".join(f"{count} {kind}" for kind, count in sorted(score.strikes.items()))
    fates = ", ".join(f"{running.history.count(fate)} {fate}" for fate in Fate)
    print(f"\n{sum(score.strikes.values())} strikes: {done}. {len(running.history)} operations: ")
    print(f"{fates}, on {len(running.history.by_key())} keys.")
    every = [each for some in score.failovers_s.values() for each in some]
    for kind, some in (*sorted(score.failovers_s.items()), ("all", every)):
        if some:
            late = sum(each > BOUND_S for each in some)
            print(
                f"{len(some):>4} failovers by {kind:<5} median {median(some):.2f} s, "
                f"worst {max(some):.2f} s, {late} beyond {BOUND_S:.0f} s"
            )
    if score.healed_s:
        print(
            f"in sync again after it was back: median {median(score.healed_s):.2f} s, "
            f"worst {max(score.healed_s):.2f} s"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/failovers", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"[default: {MINUTES:.0f}]")
    parser.add_argument("--seed", type=int, default=1, help="draws the strikes [default: 1]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
