"""A node of a table whose ranges are split, put together as the roles do it, with little.

What a node has is noted by empty files under `made`: a range, or a seed of a parent in an epoch.
"""

from __future__ import annotations

import asyncio
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.base.tasks import Tasks
from dstore.model.errors import ConditionFailed, DStoreError, NotMine
from dstore.model.keys import HASH_BYTES, KeyKind, encode_key
from dstore.replication.peers.calls import Answered, Calls, Methods
from dstore.replication.placements import Placed
from dstore.replication.replica_calls import REPLICA_CALLS
from dstore.replication.replicas import Replicas
from dstore.replication.split_calls import SPLIT_CALLS
from dstore.replication.surroundings import Surroundings
from dstore.security.identity import ComponentRole, Identity
from dstore.storage import range_log, replica_log, sowing
from dstore.storage.range_files import RangeFiles
from dstore.storage.range_writer import Write
from dstore.storage.requests import RequestName
from dstore.storage.surroundings import Surroundings as FileSurroundings
from dstore.storage.vault.layout import FileKey
from dstore.storage.vault.vault import Vault
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import CoordinatorError, Events, Resync
from dstore.topology.keyspace import AlivePath, RangePath
from dstore.topology.leases import LeasedKey
from dstore.topology.values import Malformed
from tests.simulation.replicated_calls import DO, READ, Do, Done, done_of, outcome_of, value_of
from tests.simulation.replicated_node import PLANE, RANGE_ID, Log, incarnation, node_id
from tests.simulation.sim_files import SimFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dstore.replication.peers.port import Peer, Received
    from dstore.replication.replica import Replica
    from dstore.replication.split_calls import Split
    from dstore.storage.range_file import RangeFile
    from tests.simulation.machines import Process
    from tests.simulation.splitting import SplitCluster

TENANT: Final = "acme"
TABLE: Final = "things"
PREFIX: Final = keys.ranges_prefix(TENANT, TABLE)
CALLS: Final = (*REPLICA_CALLS, *SPLIT_CALLS)
_PAGE_CACHE_BYTES: Final = 1 << 20
_ALIVE_TTL_S: Final = 3
_GRACE_S: Final = 1.0
_LOOKS_S: Final = 0.7  # between two looks for what is to be given up


class SplitNode:
    """One life of a node; a `seeds.SeedBed` too."""

    def __init__(self, cluster: SplitCluster, process: Process, number: int) -> None:
        """Put it together as `roles` would."""
        self.cluster = cluster
        self.process = process
        self.number = number
        self.me = node_id(number)
        world = cluster.world
        self.coordinator = world.coordination.client(process)
        self.tasks = Tasks(process.fatal)
        identity = Identity(control_plane=PLANE, role=ComponentRole.NODE, uuid=self.me)
        calls = Calls(CALLS)
        self._peers: dict[str, Peer] = {
            node_id(other): world.board.peer(
                process, f"node-{other}", calls=calls, identity=identity
            )
            for other in cluster.numbers
            if other != number
        }
        self.served: dict[str, int] = {}
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
            on_fatal=process.fatal,
            replication_of=self._replication_of,
        )
        self.files = RangeFiles(disk.directory, around, open_files_max=16)
        self.key = FileKey(file_uuid=bytes([number] * 16), generation=1, secret=bytes(32))
        self.replicas = Replicas(
            Surroundings(
                node=self.me,
                incarnation=incarnation(number),
                clock=process.clock,
                coordinator=self.coordinator,
                peer_of=self._peers.__getitem__,
                open_file=self.open_file,
                on_serving=self._be_told,
                on_fault=lambda range_id, what: world.violate(f"{process.name}: {range_id} {what}"),
                files=SimFiles(self.files, self.key, disk.directory / "generation"),
                tasks=self.tasks,
                began_ns=process.clock.monotonic_ns(),
            ),
            bed=self,
        )
        self._made: Path = disk.directory / "made"
        self._made.mkdir(exist_ok=True)
        self.placed: dict[RangePath, Placed] = {}
        self._looking = asyncio.Lock()

    # --------------------------------------------------------------------------- what is here

    def ranges(self) -> list[str]:
        """List the ids of the ranges here."""
        return sorted(path.name[6:] for path in self._made.iterdir() if path.name[:6] == "range.")

    def _seeds(self) -> Iterator[tuple[str, str, int]]:
        """List the seeds here: id, parent and epoch."""
        for path in sorted(self._made.iterdir()):
            if path.name.startswith("seed."):
                _, range_id, parent, epoch = path.name.split(".")
                yield range_id, parent, int(epoch)

    def _replication_of(self, range_id: str) -> Replica | None:
        return self.replicas.of(range_id)

    def _marker(self, range_id: str) -> Path:
        return self._made / f"range.{range_id}"

    async def open_file(self, range_id: str) -> RangeFile:
        """Open the file of a range or a seed."""
        if not self._marker(range_id).exists() and not any(
            seed == range_id for seed, _, _ in self._seeds()
        ):
            raise NotMine(range_id)
        return await self.files.open(range_id, lambda: self.key)

    def _be_told(self, range_id: str, epoch: int | None) -> None:
        if epoch is None:
            self.served.pop(range_id, None)
        else:
            self.served[range_id] = epoch

    # ------------------------------------------------------------------------------ a SeedBed

    async def plant(self, parent: Placed, split: Split) -> None:
        """See `SeedBed.plant`."""
        async with self._looking:
            parent_id, epoch = parent.value.range_id, parent.value.epoch
            children = (split.low_id, split.high_id)
            is_cut = any(self._marker(each).exists() for each in children)
            if is_cut or not self._marker(parent_id).exists():
                raise NotMine(parent_id)
            known = list(self._seeds())
            for range_id, its_parent, its_epoch in known:
                if its_parent == parent_id and its_epoch < epoch:
                    await self._uproot(range_id, its_parent, its_epoch)
            for range_id in children:
                seed = (range_id, parent_id, epoch)
                if seed not in known:
                    await self.files.create(range_id, self.key)
                    (self._made / ".".join(("seed", range_id, parent_id, str(epoch)))).touch()

    async def see(self, low: Placed, high: Placed) -> None:
        """See `SeedBed.see`."""
        for child in (low, high):
            self.cluster.note(child.path, child.value)
            known = self.placed.get(child.path)
            if known is None or known.revision < child.revision:
                self.placed[child.path] = child
        await self._follow()

    async def _uproot(self, range_id: str, parent: str, epoch: int) -> None:
        self.cluster.world.trace.event("uprooted", self.process.name)
        (self._made / ".".join(("seed", range_id, parent, str(epoch)))).unlink()
        await self.files.delete(range_id)

    # -------------------------------------------------------------------------------- its life

    async def live(self) -> None:
        """Be a replica of what the ranges' values say."""
        for range_id in self.ranges():
            self.replicas.add(range_id)
        self.cluster.world.board.listen(
            self.process, Methods([*self.replicas.answered(), Answered(call=DO, handler=self.do)])
        )
        alive = LeasedKey(
            self.coordinator,
            AlivePath(ComponentRole.NODE, self.me).path,
            values.encode(values.Alive(session=incarnation(self.process.life))),
            ttl_s=_ALIVE_TTL_S,
            is_exclusive=False,
            clock=self.process.clock,
            entropy=self.process.entropy,
            on_change=lambda _: None,
        )
        self.tasks.spawn(alive.run(), name="alive", critical=True)
        self.tasks.spawn(self._tidy(), name="tidy", critical=True)
        async for batch in self.coordinator.watch(PREFIX):
            match batch:
                case Resync():
                    kvs = [*batch.listing.kvs]
                case Events():
                    kvs = [event.kv for event in batch.events if event.kv is not None]
                case _:
                    kvs = []
            for kv in kvs:
                path = keys.parse(kv.key)
                assert isinstance(path, RangePath)
                known = self.placed.get(path)
                if known is None or known.revision < kv.mod_revision:
                    value = values.decode(path, kv.value)
                    self.placed[path] = Placed(path=path, value=value, revision=kv.mod_revision)
                    self.cluster.note(path, value)
            await self._follow()

    async def _follow(self) -> None:
        """Begin with what is named here, and tell all replicas what is known."""
        async with self._looking:
            for placed in list(self.placed.values()):
                range_id = placed.value.range_id
                if self._is_named(placed) and not self._marker(range_id).exists():
                    await self._begin(placed)
                self.replicas.follow(placed)

    async def _begin(self, placed: Placed) -> None:
        """Make a range of its ripe seed; the first range of all is made empty."""
        range_id = placed.value.range_id
        seed = next((each for each in self._seeds() if each[0] == range_id), None)
        if range_id == RANGE_ID:
            await self.files.create(range_id, self.key)
            self._marker(range_id).touch()
        else:
            if seed is None or not await (await self.open_file(range_id)).look(sowing.is_ripe):
                self.cluster.world.violate(f"{self.process.name} is named and has no ripe seed")
                return
            _, parent, epoch = seed
            self.replicas.remove(parent)
            await self.files.shut(range_id)  # it has been opened without a replication
            name = ".".join(("seed", range_id, parent, str(epoch)))
            (self._made / name).rename(self._marker(range_id))
            self.cluster.world.trace.event("sprouted", self.process.name)
        self.replicas.add(range_id)

    def _is_named(self, placed: Placed) -> bool:
        return self.me in {each.node for each in placed.value.replicas}

    async def _tidy(self) -> None:
        """Give up what no value names any more, by what the coordinator says now."""
        while True:
            await asyncio.sleep(_LOOKS_S)
            try:
                listing = await self.coordinator.list(PREFIX)
                now = [
                    values.decode(path, kv.value)
                    for kv in listing.kvs
                    if isinstance(path := keys.parse(kv.key), RangePath)
                ]
            except (CoordinatorError, Malformed):
                continue
            await asyncio.sleep(_GRACE_S)
            try:
                async with self._looking:
                    await self._give_up({each.range_id: each for each in now})
            except DStoreError:
                continue

    async def _give_up(self, now: dict[str, values.RangePlacement]) -> None:
        for range_id, parent, epoch in list(self._seeds()):
            child = now.get(range_id)
            if child is None:
                is_dead = parent not in now or now[parent].epoch > epoch
            else:
                is_dead = self.me not in {each.node for each in child.replicas}
            if is_dead:
                await self._uproot(range_id, parent, epoch)
        known = {each.value.range_id for each in self.placed.values()}
        for range_id in self.ranges():
            if range_id not in now and range_id not in known:
                self.cluster.world.trace.event("parent_gone", self.process.name)
                self._marker(range_id).unlink()
                self.replicas.remove(range_id)
                await self.files.delete(range_id)

    # ------------------------------------------------------------------------------- a request

    async def do(self, request: Do, _received: Received) -> Done:
        """Do a client's call here, if this serves the range of its key."""
        rid_id = encode_key((KeyKind.STRING, request.key))
        entry_hash = int.from_bytes(rid_id[:HASH_BYTES], "big")
        range_id, epoch = self._serving(entry_hash)
        file = await self.open_file(range_id)
        if request.kind == READ:
            return Done(value=value_of(await file.read(rid_id)))
        digest = sha256(msgspec.msgpack.encode(request)).digest()
        write = Write(
            rid_id=rid_id,
            entry_hash=entry_hash,
            apply=partial(outcome_of, request),
            request=RequestName(
                principal="acme",
                request_id=request.request_id,
                digest=digest,
                is_brief=bool(digest[0] & 1),
            ),
        )
        try:
            applied = await file.submit(write)
        except ConditionFailed:
            self.cluster.acknowledged(range_id, epoch, self.number)
            return Done(held=False)
        self.cluster.acknowledged(range_id, epoch, self.number)
        return done_of(applied)

    def _serving(self, entry_hash: int) -> tuple[str, int]:
        """Find the range that is served here and has a hash; one at the most."""
        found = []
        for range_id in self.ranges():
            low, high = self.cluster.bounds[range_id]
            replica = self.replicas.of(range_id)
            if low <= entry_hash <= high and range_id in self.served and replica is not None:
                found.append((range_id, self.served[range_id]))
        if len(found) > 1:
            self.cluster.world.violate(f"{self.process.name} serves a hash twice: {found}")
        if not found:
            raise NotMine(None)
        return found[0]


async def read_range(node: SplitNode, range_id: str) -> tuple[Log, Any]:
    """Read the applied part of a range's log on a node, and its rows."""
    file = await node.open_file(range_id)
    return await file.look(
        lambda connection: (
            [
                (record.epoch, record.seq, record.digest)
                for record in range_log.read(
                    connection,
                    after_seq=0,
                    last_seq=replica_log.read_state(connection).applied_seq,
                )
            ],
            connection.execute("SELECT * FROM v1 ORDER BY RID_ID, C_COL").fetchall(),
        )
    )
