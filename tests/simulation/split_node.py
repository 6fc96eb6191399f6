"""A node of a table whose ranges are split, put together as the roles do it, with little.

What a node has is noted by files under `made`: a range, a seed of a parent in an epoch, how a range
was split, and what `PlacementNotes` note. Those files are durable at once.
"""

from __future__ import annotations

import asyncio
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

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
from dstore.service.calls.recollection_calls import ASK_REMEMBERED
from dstore.service.cluster.placement_notes import PlacementNotes
from dstore.storage import replica_log, sowing
from dstore.storage.placement_records import NotedPlacement
from dstore.storage.range_files import RangeFiles
from dstore.storage.range_writer import Write
from dstore.storage.requests import RequestName
from dstore.storage.surroundings import Surroundings as FileSurroundings
from dstore.storage.table_records import Cut
from dstore.storage.vault.layout import FileKey
from dstore.storage.vault.vault import Vault
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import CoordinatorError, Events, Resync
from dstore.topology.keyspace import AlivePath, RangePath
from dstore.topology.leases import LeasedKey
from dstore.topology.values import Malformed
from tests.simulation.replicated_calls import DO, READ, Do, Done, done_of, outcome_of, value_of
from tests.simulation.replicated_node import PLANE, RANGE_ID, incarnation, node_id
from tests.simulation.sim_files import SimFiles
from tests.simulation.split_pages import PAGE, AskPage, Page, read_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dstore.replication.peers.port import Peer, Received
    from dstore.replication.replica import Replica
    from dstore.replication.split_calls import Split
    from dstore.service.calls.recollection_calls import AllRemembered, AskRemembered, Shown
    from dstore.storage.log_records import Standing
    from dstore.storage.range_file import RangeFile
    from dstore.topology.coordinator import Revision
    from tests.simulation.machines import Process
    from tests.simulation.splitting import SplitCluster

TENANT: Final = "acme"
TABLE: Final = "things"
PREFIX: Final = keys.ranges_prefix(TENANT, TABLE)
CALLS: Final = (*REPLICA_CALLS, *SPLIT_CALLS, ASK_REMEMBERED)
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
        self.disk_id = cluster.disk_of(number)
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
            entropy=process.entropy,
            on_fatal=process.fatal,
            replication_of=self._replication_of,
        )
        self.files = RangeFiles(disk.directory, around, open_files_max=16)
        self.key = FileKey(file_uuid=bytes([number] * 16), generation=1, secret=bytes(32))
        self.notes = PlacementNotes(self, incarnation=self.disk_id, tasks=self.tasks)
        self._told: dict[str, Shown] = {}
        self.replicas = Replicas(
            Surroundings(
                node=self.me,
                incarnation=self.disk_id,
                clock=process.clock,
                coordinator=self.coordinator,
                peer_of=self._peers.__getitem__,
                open_file=self.open_file,
                on_serving=self._be_told,
                on_fault=lambda range_id, what: world.violate(f"{process.name}: {range_id} {what}"),
                note=self.notes.note,
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

    def cut_of(self, range_id: str) -> Cut | None:
        """Tell how a range was split, as `RangeRecord.cut` does."""
        path = self._made / f"cut.{range_id}"
        if not path.exists():
            return None
        low_id, high_id, at_hash = path.read_text().split()
        return Cut(low_id=low_id, high_id=high_id, at_hash=int(at_hash))

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
            (self._made / f"split.{parent_id}").write_text(
                f"{split.low_id} {split.high_id} {split.at_hash}"
            )
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
            if self.cut_of(range_id) is None:
                self.replicas.add(range_id)
        answered = (
            *self.replicas.answered(),
            Answered(call=ASK_REMEMBERED, handler=self._remembered),
            Answered(call=DO, handler=self.do),
            Answered(call=PAGE, handler=self.page),
        )
        self.cluster.world.board.listen(self.process, Methods(answered))
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
                case Resync(listing=listing):
                    kvs = [*listing.kvs]
                    gone = {path.path for path in self.placed} - {kv.key for kv in kvs}
                    self._forget(gone, listing.revision)
                case Events():
                    kvs = [event.kv for event in batch.events if event.kv is not None]
                    gone = {event.key for event in batch.events if event.kv is None}
                    self._forget(gone, batch.revision)
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
                if self.cut_of(range_id) is None:
                    if self._marker(range_id).exists():
                        self.notes.note_soon(placed)
                    self.replicas.follow(placed)

    def _forget(self, gone: set[str], revision: Revision) -> None:
        """Take in that the coordinator has no such ranges any more."""
        for path, placed in list(self.placed.items()):
            if path.path in gone and placed.revision <= revision:
                del self.placed[path]

    async def _begin(self, placed: Placed) -> None:
        """Make a range of its ripe seed; the first range of all is made empty."""
        range_id = placed.value.range_id
        seed = next((each for each in self._seeds() if each[0] == range_id), None)
        if range_id == RANGE_ID:
            await self.files.create(range_id, self.key)
            self._marker(range_id).touch()
        elif seed is None or not await (await self.open_file(range_id)).look(sowing.is_ripe):
            if not await self._begin_empty(placed, seed):
                return
        else:
            _, parent, epoch = seed
            told = self._told.get(parent)
            is_old = told is not None and placed.revision <= told.revision
            if is_old and self.cut_of(parent) is None:
                self.cluster.world.trace.event("held_back", self.process.name)
                return
            split = self._made / f"split.{parent}"
            (self._made / f"cut.{parent}").write_text(split.read_text())
            self.replicas.remove(parent)
            await self.files.shut(range_id)  # it has been opened without a replication
            name = ".".join(("seed", range_id, parent, str(epoch)))
            (self._made / name).rename(self._marker(range_id))
            self.cluster.world.trace.event("sprouted", self.process.name)
        self.replicas.add(range_id)

    async def _begin_empty(self, placed: Placed, seed: tuple[str, str, int] | None) -> bool:
        """Begin as a learner, in which nothing is. Returns: whether that was done."""
        range_id = placed.value.range_id
        shown = (await self.cluster.world.coordination.embedded.get(placed.path.path)).kv
        if not placed.value.is_settled or shown is None or shown.mod_revision != placed.revision:
            return False  # nobody knows who has it, or a watch that is behind has told of it
        mine = [each for each in placed.value.in_sync if each.node == self.me]
        if any(each.incarnation != self.disk_id for each in mine):
            return False  # a disk that was here before is meant
        if mine:
            self.cluster.world.violate(f"{self.process.name} is named and has no ripe seed")
            return False
        if seed is not None:
            await self._uproot(*seed)
        await self.files.create(range_id, self.key)
        self._marker(range_id).touch()
        self.cluster.world.trace.event("begun_empty", self.process.name)
        return True

    def _is_named(self, placed: Placed) -> bool:
        return self.me in {each.node for each in placed.value.replicas}

    async def _tidy(self) -> None:
        """Give up what no value names any more, by what the coordinator says now."""
        while True:
            await asyncio.sleep(_LOOKS_S)
            try:
                listing = await self.coordinator.list(PREFIX)
                if (await self.coordinator.get(keys.PLANE.path)).kv is None:
                    continue
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
                before = now.get(parent)
                is_dead = before is not None and before.is_settled and before.epoch > epoch
            else:
                is_dead = child.is_settled and self.me not in {each.node for each in child.replicas}
            if is_dead:
                await self._uproot(range_id, parent, epoch)
        known = {each.value.range_id for each in self.placed.values()}
        for range_id in self.ranges():
            if range_id in self.cluster.done and range_id not in now and range_id not in known:
                await self._give_up_one(range_id, now)

    async def _give_up_one(self, range_id: str, now: dict[str, values.RangePlacement]) -> None:
        """Delete a range, and its children's seeds behind it, if none of them is to be here."""
        seeds = [each for each in self._seeds() if each[1] == range_id]
        for seed, _, _ in seeds:
            if seed in now and self.me in {each.node for each in now[seed].replicas}:
                return
        self.cluster.world.trace.event("parent_gone", self.process.name)
        for each in seeds:
            await self._uproot(*each)
        self._marker(range_id).unlink()
        for kind in ("cut", "split", "note"):
            (self._made / f"{kind}.{range_id}").unlink(missing_ok=True)
        self.replicas.remove(range_id)
        await self.files.delete(range_id)

    # ------------------------------------------------------------- what control asks, and a Ledger

    async def _remembered(self, request: AskRemembered, _received: Received) -> AllRemembered:
        """As `RangeSeeds.be_asked` and `RangeReplicas`."""
        shown = request.shown
        assert shown is not None
        async with self._looking:
            for _, parent, _ in self._seeds():
                known = self._told.get(parent)
                if parent in request.range_ids and (
                    known is None or known.recoveries != shown.recoveries
                ):
                    self._told[parent] = shown
        return await self.notes.remembered(request)

    async def note_placements(self, noted: Sequence[NotedPlacement]) -> None:
        """See `Ledger`."""
        for each in noted:
            path = self._made / f"note.{each.range_id}"
            known = self._noted(each.range_id)
            if not self._marker(each.range_id).exists():
                continue
            if (known.epoch, known.revision) < (each.epoch, each.revision):
                path.write_bytes(msgspec.msgpack.encode((each.value, each.epoch, each.revision)))

    async def noted_placements(self, range_ids: Sequence[str]) -> Mapping[str, NotedPlacement]:
        """See `Ledger`."""
        held = {*self.ranges(), *(seed for seed, _, _ in self._seeds())}
        return {each: self._noted(each) for each in range_ids if each in held}

    def _noted(self, range_id: str) -> NotedPlacement:
        path = self._made / f"note.{range_id}"
        value, epoch, revision = None, 0, 0
        if path.exists():
            value, epoch, revision = msgspec.msgpack.decode(path.read_bytes())
        return NotedPlacement(
            range_id=range_id,
            value=value,
            epoch=epoch,
            revision=revision,
            cut=self.cut_of(range_id),
            is_seed=not self._marker(range_id).exists(),
        )

    async def standing(self, range_id: str) -> Standing:
        """See `Ledger`."""
        return await (await self.open_file(range_id)).look(replica_log.standing)

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

    async def page(self, request: AskPage, _received: Received) -> Page:
        """Read a page here, if this serves the range of its place."""
        range_id, _ = self._serving(request.at_hash)
        low_hash, high_hash = self.cluster.bounds[range_id]
        file = await self.open_file(range_id)
        return await read_page(file, request.after, low_hash=low_hash, high_hash=high_hash)

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
