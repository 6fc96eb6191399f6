"""A node of a replicated range, put together as the roles do it, with as little as can be."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.base.tasks import Tasks
from dstore.model.errors import ConditionFailed, Corrupt, NotMine
from dstore.model.keys import HASH_BYTES, KeyKind, encode_key
from dstore.replication import placements
from dstore.replication.peers.calls import Answered, Calls, Methods
from dstore.replication.peers.port import Received
from dstore.replication.replica_calls import REPLICA_CALLS
from dstore.replication.replicas import Replicas
from dstore.replication.surroundings import Surroundings
from dstore.security.identity import ComponentRole, Identity
from dstore.storage import range_log, replica_log
from dstore.storage.range_files import RangeFiles
from dstore.storage.range_writer import Put as Stored
from dstore.storage.range_writer import Write
from dstore.storage.requests import RequestName
from dstore.storage.surroundings import Surroundings as FileSurroundings
from dstore.storage.vault.layout import FileKey
from dstore.storage.vault.vault import Vault
from dstore.topology import values
from dstore.topology.coordinator import CoordinatorError, Events, Resync
from dstore.topology.keyspace import AlivePath, ComponentId, RangePath
from dstore.topology.leases import LeasedKey
from dstore.topology.values import Malformed, RangePlacement, Replica, ReplicaState
from tests.simulation.checkers import Log
from tests.simulation.replicated_calls import (
    DO,
    READ,
    Do,
    Done,
    done_of,
    outcome_of,
    value_of,
)
from tests.simulation.sim_files import SimFiles

if TYPE_CHECKING:
    from dstore.replication.peers.port import Peer
    from dstore.replication.replica import Replica as ReplicaHere
    from dstore.storage.range_file import RangeFile
    from dstore.storage.replication_port import Replication
    from tests.simulation.machines import Process
    from tests.simulation.replicated import ReplicatedCluster

RANGE_ID: Final = "5a0e0000-0000-4000-8000-000000000001"
TABLE_ID: Final = "7ab1e000-0000-4000-8000-000000000001"
PLANE: Final = "00000000-0000-4000-8000-000000000000"
PATH: Final = RangePath(tenant="acme", table="things", low_hash=0)
_PAGE_CACHE_BYTES: Final = 1 << 20
_ALIVE_TTL_S: Final = 3
_TOLD_CHARS: Final = 300
_GRACE_S: Final = 1.0  # before a node deletes what it is not to have any more


def node_id(number: int) -> ComponentId:
    """Name node `number`, from 1."""
    return ComponentId(f"a0000000-0000-4000-8000-{number:012d}")


def replica_on(number: int) -> Replica:
    """Name the replica of node `number`."""
    return Replica(
        node=node_id(number),
        incarnation=incarnation(number),
        uri=f"https://node-{number}:1",
        state=ReplicaState.IN_SYNC,
    )


def number_of(node: str) -> int:
    """Tell which node a name is of."""
    return int(node[-12:])


def incarnation(number: int) -> str:
    """Name the disk of node `number`."""
    return f"d0000000-0000-4000-8000-{number:012d}"


class Node:
    """One life of a node."""

    def __init__(
        self, cluster: ReplicatedCluster, process: Process, number: int, *, disk_id: str
    ) -> None:
        """Put it together as `roles` would; `disk_id` is its disk's incarnation."""
        self.cluster = cluster
        self.process = process
        self.number = number
        world = cluster.world
        self.coordinator = world.coordination.client(process)
        self.tasks = Tasks(process.fatal)
        identity = Identity(control_plane=PLANE, role=ComponentRole.NODE, uuid=node_id(number))
        calls = Calls(REPLICA_CALLS)
        self.served: int | None = None  # in which epoch, as it was told
        self._peers: dict[str, Peer] = {
            node_id(other): world.board.peer(
                process, f"node-{other}", calls=calls, identity=identity
            )
            for other in cluster.numbers
            if other != number
        }
        disk = process.machine.disk
        assert disk is not None
        around = FileSurroundings(
            vault=Vault(
                entropy=process.entropy,
                page_cache_bytes=_PAGE_CACHE_BYTES,
                base_vfs=disk.name,
                fdatasync=disk.fdatasync,
            ),
            executor=None,  # type: ignore[arg-type] # the loop does all work itself
            clock=process.clock,
            entropy=process.entropy,
            thread_ns=lambda: 0,  # computing takes no time here
            on_fatal=process.fatal,
            replication_of=self._replication_of,
        )
        self.directory = disk.directory
        self.files = RangeFiles(disk.directory, around, open_files_max=4)
        key = FileKey(file_uuid=bytes([number] * 16), generation=1, secret=bytes(32))
        self._made = disk.directory / "made"
        self.sim_files = SimFiles(self.files, key, self._made)
        self.around = Surroundings(
            node=node_id(number),
            incarnation=disk_id,
            clock=process.clock,
            coordinator=self.coordinator,
            peer_of=self._peers.__getitem__,
            open_file=self.open_file,
            on_serving=self._be_told,
            on_fault=lambda range_id, what: cluster.faulty(f"{process.name}: {range_id}", what),
            files=self.sim_files,
            tasks=self.tasks,
            began_ns=process.clock.monotonic_ns(),
        )
        self.replicas = Replicas(self.around)
        self._latest: placements.Placed | None = None
        self._is_giving_up = False

    def _replication_of(self, range_id: str) -> Replication | None:
        return self.replicas.of(range_id)

    def _be_told(self, _range_id: str, epoch: int | None) -> None:
        assert epoch != self.served, epoch
        self.served = epoch

    async def open_file(self, range_id: str) -> RangeFile:
        """Open the range's file."""
        return await self.files.open(range_id, lambda: self.sim_files.key)

    async def live(self) -> None:
        """Be a replica when the range's value says so."""
        self.sim_files.settle()
        if self._made.exists():
            self.replicas.add(RANGE_ID)
        self.cluster.world.board.listen(
            self.process,
            Methods(
                [
                    *self.replicas.answered(),
                    Answered(call=DO, handler=self.do),
                ]
            ),
        )
        alive = LeasedKey(
            self.coordinator,
            AlivePath(ComponentRole.NODE, node_id(self.number)).path,
            values.encode(values.Alive(session=incarnation(self.process.life))),
            ttl_s=_ALIVE_TTL_S,
            is_exclusive=False,
            clock=self.process.clock,
            entropy=self.process.entropy,
            on_change=lambda _: None,
        )
        self.tasks.spawn(alive.run(), name="alive", critical=True)
        async for batch in self.coordinator.watch(PATH.path):
            match batch:
                case Resync():
                    kvs = [*batch.listing.kvs]
                    if self._latest is not None:
                        self.cluster.world.trace.event("watch_resynced", self.process.name)
                case Events():
                    kvs = [event.kv for event in batch.events if event.kv is not None]
                case _:
                    kvs = []
            for kv in kvs:
                value = values.decode(PATH, kv.value)
                await self._follow(
                    placements.Placed(path=PATH, value=value, revision=kv.mod_revision)
                )

    async def _follow(self, placed: placements.Placed) -> None:
        """Make the file if the node is named and has none; give it up if it is not named."""
        self._latest = placed
        if self._is_giving_up:
            return
        if self._is_named(placed) and not self._made.exists():
            await self.files.create(RANGE_ID, self.sim_files.key)
            self._made.touch()
            self.replicas.add(RANGE_ID)
        self.replicas.follow(placed)
        if not self._is_named(placed) and self._made.exists():
            self._is_giving_up = True
            self.tasks.spawn(self._give_up(), name="give_up")

    def _is_named(self, placed: placements.Placed | None) -> bool:
        return placed is None or self.cluster.ids[self.number - 1] in {
            each.node for each in placed.value.replicas
        }

    async def _give_up(self) -> None:
        """Delete the file, if nobody may count on it."""
        await asyncio.sleep(_GRACE_S)
        replica = self.replicas.of(RANGE_ID)
        assert replica is not None
        replica.leave()
        try:
            now = await placements.read(self.coordinator, PATH)
        except (CoordinatorError, Malformed):
            now = None
        if self._is_named(now):
            replica.stay()
        else:
            self.cluster.world.trace.event("given_up", self.process.name)
            self._made.unlink()
            self.replicas.remove(RANGE_ID)
            await self.files.delete(RANGE_ID)
        self._is_giving_up = False
        assert self._latest is not None
        await self._follow(self._latest)

    async def do(self, request: Do, _received: Received) -> Done:
        """Do a client's call here, if this is the primary."""
        replica = self.replicas.of(RANGE_ID)
        if replica is None:
            raise NotMine(RANGE_ID)
        file = await self.open_file(RANGE_ID)
        rid_id = encode_key((KeyKind.STRING, request.key))
        if request.kind == READ:
            entry = await file.read(rid_id)
            return Done(value=value_of(entry))
        digest = sha256(msgspec.msgpack.encode(request)).digest()
        name = RequestName(
            principal="acme",
            request_id=request.request_id,
            digest=digest,
            is_brief=bool(digest[0] & 1),
        )
        write = Write(
            rid_id=rid_id,
            entry_hash=int.from_bytes(rid_id[:HASH_BYTES], "big"),
            apply=partial(outcome_of, request),
            request=name,
        )
        epoch, before = replica.serving_epoch, _set_of(replica)
        try:
            applied = await file.submit(write)
        except ConditionFailed:
            self.cluster.acknowledged(epoch, self.number)
            return Done(held=False)
        self.cluster.acknowledged(epoch, self.number)
        is_few = before is not None and len(before.in_sync) < before.min_in_sync
        if is_few and before is _set_of(replica) and isinstance(applied.outcome, Stored):
            self.cluster.tell(f"{self.process.name} acknowledges where too few are in sync")
        return done_of(applied)


def _set_of(replica: ReplicaHere) -> RangePlacement | None:
    """Find by which value a replica acknowledges, if it is the primary."""
    serving = replica._serving
    return None if serving is None or serving.is_closed else serving.placed.value


async def read_all(node: Node) -> tuple[Log, Any]:
    """Read the applied part of a node's log, and its rows, once the file is seen to be sound."""
    file = await node.open_file(RANGE_ID)
    with suppress(Corrupt):  # a page that nobody reads may have rotted
        sound = await file.look(lambda it: it.execute("PRAGMA integrity_check").fetchall())
        if sound != [("ok",)]:
            what = f"the file of {node.process.name} is malformed: {sound}"
            node.cluster.tell(what[:_TOLD_CHARS])
    return await file.look(
        lambda connection: (
            read_log(connection),
            connection.execute("SELECT * FROM v1 ORDER BY RID_ID, C_COL").fetchall(),
        )
    )


def read_log(connection: Any) -> Log:
    """Read the applied part of a log."""
    state = replica_log.read_state(connection)
    records = range_log.read(connection, after_seq=0, last_seq=state.applied_seq)
    return Log(
        [(record.epoch, record.seq, record.digest) for record in records],
        left_out_seq=state.thin_seq if state.left_out_us else 0,
    )
