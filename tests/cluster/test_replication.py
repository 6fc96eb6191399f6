"""Tables of three replicas while nodes die, stand still, and come back: real processes, real etcd.

Clients share keys and all they are told is recorded; an order must explain it. All tests share one
cluster, and each leaves it whole.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from dstore.base.limits import LEASE_TTL_S
from dstore.topology.values import ReplicaState
from tests.support.cluster_plan import Shape
from tests.support.histories import Recorded, recorded
from tests.support.replicated_cluster import (
    TABLE,
    ReplicatedCluster,
    replicated_cluster,
)

LEARNER: Final = ReplicaState.LEARNER
IN_SYNC: Final = ReplicaState.IN_SYNC
FAILED_OVER_S: Final = LEASE_TTL_S + 3.0
_WAITED_S: Final = 60.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("replication"),
    pytest.mark.timeout(150),
]


@pytest.fixture(scope="module")
def replicated() -> Iterator[ReplicatedCluster]:
    """Run a cluster with a table, through two proxies, one of which may be left behind."""
    with replicated_cluster(Shape(nodes=3, proxies=2)) as started:
        yield started
        started.cluster.stop()


@contextmanager
def _judged(replicated: ReplicatedCluster) -> Iterator[Recorded]:
    """Have clients at work; behind the context all replicas are whole and the record is judged."""
    clients = replicated.clients()
    ranges = [each.hashes for each in replicated.ranges()]
    with recorded(clients, ranges, table=TABLE) as running:
        _await_writes(running, range(len(ranges)), time.monotonic())
        yield running
        replicated.await_whole()
        _await_writes(running, range(len(ranges)), time.monotonic())
    running.read_back(clients[0])
    problems = running.problems()
    assert not problems, "\n".join(problems)


def _await_writes(running: Recorded, ranges: Iterable[int], since_s: float) -> float:
    """Wait until each range has acknowledged a write that began since then. Returns: how long."""
    return max(running.awaited_s(at, since_s, within_s=_WAITED_S) for at in ranges)


def test_the_primary_is_killed_and_comes_back(replicated: ReplicatedCluster) -> None:
    """No acknowledged write is lost, others take over in time, and it is in sync again."""
    victim = replicated.ranges()[0].primary
    led = replicated.led_by(victim)
    with _judged(replicated) as running:
        killed_s = time.monotonic()
        replicated.component(victim).kill()
        assert _await_writes(running, led, killed_s) <= FAILED_OVER_S
        assert victim not in {each.primary for each in replicated.ranges()}
        replicated.component(victim).start()
    assert all(victim in each.in_sync for each in replicated.ranges())


def test_a_primary_stands_still_past_its_lease(replicated: ReplicatedCluster) -> None:
    """It serves nothing that is old when it goes on, not even to a proxy that stood still too."""
    victim = replicated.ranges()[0].primary
    led = replicated.led_by(victim)
    before = {n: replicated.ranges()[n].epoch for n in led}
    with _judged(replicated) as running:
        with replicated.stopped(victim):
            stopped_s = time.monotonic()
            with replicated.stopped("proxy-2"):
                _await_writes(running, led, stopped_s)
        assert all(replicated.ranges()[n].epoch > epoch for n, epoch in before.items())


@pytest.mark.parametrize("is_of_this_run", [False, True], ids=["of another run", "of the same"])
def test_a_node_whose_directory_is_an_old_copy(
    replicated: ReplicatedCluster, *, is_of_this_run: bool
) -> None:
    """It is told so, learns everything anew, and nobody ever sees what it had."""
    victim = replicated.component(replicated.ranges()[0].primary)
    node = replicated.node_id(victim.place.name)
    old = victim.directory / "old"
    before = len(victim.events("node_is_old_copy"))
    with _judged(replicated) as running:
        if is_of_this_run:
            with replicated.stopped(victim.place.name):
                shutil.copytree(victim.data, old)
        else:
            victim.kill()
            shutil.copytree(victim.data, old)
            victim.start()
        replicated.await_whole()
        since_s = time.monotonic()
        _await_writes(running, range(len(replicated.ranges())), since_s)
        if is_of_this_run:
            assert victim.stop() == 0
        else:
            victim.kill()
        shutil.rmtree(victim.data)
        old.rename(victim.data)
        revision = replicated.revision()
        victim.start()
        replicated.await_whole()
    (counted,) = victim.events("node_is_old_copy")[before:]
    states: dict[str, list[ReplicaState]] = {}
    for value in replicated.values_since(revision):
        for each in value.replicas:
            if (each.node, each.incarnation) == (node, counted["incarnation"]):
                states.setdefault(value.range_id, []).append(each.state)
    assert len(states) == len(replicated.ranges())
    assert all((each[0], each[-1]) == (LEARNER, IN_SYNC) for each in states.values()), states
