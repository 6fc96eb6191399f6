"""A cluster whose tables have three replicas, and what tests ask of them and do to them.

    with replicated_cluster() as replicated:
        at = replicated.ranges()[0]
        replicated.component(at.primary).kill()
        replicated.await_serving(...)

Replicas are named by the component they are at (`node-2`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Events, Resync
from tests.support.cluster import DEFAULT_TENANT, Cluster, eventually
from tests.support.cluster_plan import Shape
from tests.support.etcd import coordinator_of
from tests.support.histories import Client, HashRange

if TYPE_CHECKING:
    from dstore.topology.coordinator import Revision
    from dstore.topology.etcd import EtcdCoordinator
    from dstore.topology.values import RangePlacement
    from tests.support.cluster_parts import Component

FACTOR: Final = 3
TABLE: Final = "kept"
IN_SYNC: Final = "in_sync"
_IMPATIENT_S: Final = 1.5
_HEALED_S: Final = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A range as control shows it; its state is `in_sync` or `learner` by component."""

    hashes: HashRange
    epoch: int
    primary: str
    replicas: dict[str, str]
    is_whole: bool

    @property
    def in_sync(self) -> frozenset[str]:
        """Name the components whose replicas are in sync."""
        return frozenset(name for name, state in self.replicas.items() if state == IN_SYNC)


class ReplicatedCluster:
    """A cluster with one table, whose ranges each have a replica on FACTOR nodes."""

    def __init__(self, cluster: Cluster) -> None:
        """Have new tables get FACTOR replicas; nothing runs before `start`."""
        self.cluster = cluster
        for control in cluster.of_role("control"):
            control.settings["replication-factor"] = str(FACTOR)
        self._names: dict[str, str] = {}

    def start(self) -> None:
        """Start everything and make the table."""
        self.cluster.start()
        by_url = {
            f"https://{node.place.host}:{node.place.peer_port}": node.place.name
            for node in self.cluster.of_role("node")
        }
        self._names = {one["id"]: by_url[one["url"]] for one in self.cluster.listed("node")}
        self.make_table(TABLE)

    def make_table(self, name: str) -> None:
        """Make a table, and wait until every proxy knows it and every replica is in sync."""
        urls = [proxy.url for proxy in self.cluster.of_role("proxy")]
        self.cluster.sdk(urls[0]).create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for url in urls:
            sdk = self.cluster.sdk(url)
            eventually(partial(_is_active, sdk, name), what=f"{name} is active at {url}")
        self.await_whole(name)

    def clients(self) -> tuple[Client, ...]:
        """Make three of each proxy.

        One is patient, one gives up soon, so that it does not know what came of a write, and the
        SDK of one gives up soon and asks again.
        """
        return tuple(
            Client(
                sdk=self.cluster.sdk(proxy.url, attempts=attempts, timeout_s=timeout_s),
                repeats=attempts > 1,
            )
            for proxy in self.cluster.of_role("proxy")
            for attempts, timeout_s in ((1, 20.0), (1, _IMPATIENT_S), (4, _IMPATIENT_S))
        )

    # ------------------------------------------------------------------------------- what there is

    def component(self, name: str) -> Component:
        """Find `node-2`."""
        return self.cluster.component(name)

    def ranges(self, table: str = TABLE) -> tuple[Range, ...]:
        """Ask control for a table's ranges, by their hashes."""
        with self.cluster.admin() as admin:
            answer = admin.get(f"/admin/v1/placement?tenant={DEFAULT_TENANT}&table={table}")
        assert answer.status == 200, answer
        return tuple(self._range(row) for row in answer.json()["ranges"])

    def led_by(self, node: str, table: str = TABLE) -> tuple[int, ...]:
        """Number the ranges of which a node is the primary."""
        return tuple(n for n, each in enumerate(self.ranges(table)) if each.primary == node)

    def await_whole(self, table: str = TABLE, *, within_s: float = _HEALED_S) -> float:
        """Wait until all replicas are in sync and alive. Returns: the seconds that took."""
        return self.await_ranges(
            lambda ranges: all(each.is_whole for each in ranges),
            table=table,
            what="every replica is in sync",
            within_s=within_s,
        )

    def await_ranges(
        self,
        holds: Callable[[Sequence[Range]], bool],
        *,
        what: str,
        table: str = TABLE,
        within_s: float = _HEALED_S,
    ) -> float:
        """Wait for something of a table's ranges. Returns: the seconds that took."""
        shown: tuple[Range, ...] = ()

        def is_so() -> bool:
            nonlocal shown
            shown = self.ranges(table)
            return bool(shown) and holds(shown)

        try:
            return eventually(is_so, what=what, within_s=within_s)
        except AssertionError as error:
            error.add_note(f"ranges: {shown}")
            raise

    def names(self, names: dict[str, str]) -> None:
        """Call more nodes, by their UUIDs, as their components are called."""
        self._names |= names

    def node_id(self, name: str) -> str:
        """Say by which UUID the topology knows a node."""
        return next(uuid for uuid, component in self._names.items() if component == name)

    def revision(self) -> Revision:
        """Ask etcd for its revision."""
        return asyncio.run(self._revision())

    def values_since(self, revision: Revision, table: str = TABLE) -> list[RangePlacement]:
        """Read every value that a table's ranges have had since then, in etcd's order.

        At least one of them must have changed.
        """
        return asyncio.run(self._values_since(revision, table))

    async def _revision(self) -> Revision:
        async with self._coordinator() as coordinator:
            return (await coordinator.get("nothing")).revision

    async def _values_since(self, revision: Revision, table: str) -> list[RangePlacement]:
        found: list[RangePlacement] = []
        prefix = keys.ranges_prefix(DEFAULT_TENANT, table)
        async with self._coordinator() as coordinator:
            last = max(kv.mod_revision for kv in (await coordinator.list(prefix)).kvs)
            async with aclosing(coordinator.watch(prefix, after_revision=revision)) as watch:
                async for batch in watch:
                    assert not isinstance(batch, Resync), "etcd has forgotten"
                    for event in batch.events if isinstance(batch, Events) else ():
                        path = keys.parse(event.key)
                        if isinstance(path, keys.RangePath) and event.kv is not None:
                            found.append(values.decode(path, event.kv.value))
                    if batch.revision >= last:
                        break
        return found

    @asynccontextmanager
    async def _coordinator(self) -> AsyncIterator[EtcdCoordinator]:
        coordinator = coordinator_of(self.cluster.etcd, tls=self.cluster.etcd_tls)
        try:
            yield coordinator
        finally:
            await coordinator.close()

    # ------------------------------------------------------------------------------ what is done

    @contextmanager
    def stopped(self, node: str) -> Iterator[None]:
        """Let a node stand still, as a machine that is suspended."""
        pid = self.component(node).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _range(self, row: dict[str, Any]) -> Range:
        replicas = {self._names[each["node"]]: each["state"] for each in row["replicas"]}
        return Range(
            hashes=(row["lowHash"], row["highHash"]),
            epoch=row["epoch"],
            primary=self._names[row["node"]],
            replicas=replicas,
            is_whole=len(replicas) == FACTOR and not row["isUnderReplicated"],
        )


@contextmanager
def replicated_cluster(
    shape: Shape | None = None, *, ranges: int | None = None, zone: str | None = None
) -> Iterator[ReplicatedCluster]:
    """Start one in a scratch directory; at the end kill what runs and remove it.

    `ranges` is in how many of them a table is made, `zone` where all nodes are.
    """
    directory = Path(tempfile.mkdtemp(prefix="dstore-cluster-"))
    cluster = Cluster(directory, shape or Shape(nodes=3, proxies=1))
    try:
        made = ReplicatedCluster(cluster)
        for control in cluster.of_role("control") if ranges is not None else ():
            control.settings["ranges-per-table"] = str(ranges)
        if zone is not None:
            for node in cluster.of_role("node"):
                node.settings["zone"] = zone
        made.start()
        yield made
    finally:
        cluster.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _is_active(client: Any, name: str) -> bool:
    try:
        described = client.describe_table(TableName=name)
    except (ClientError, BotoCoreError):
        return False
    return bool(described["Table"]["TableStatus"] == "ACTIVE")
