"""A node's starts, counted on its disk and in the coordinator (REPLICATION.md, identity).

Each start advances `node/{uuid}/boot`: what is to be written stands on the disk first, then the
coordinator's value is exchanged for it, then the disk says that it is done. If the disk and the
coordinator disagree, beyond a start that a crash cut short, the directory is an old copy of itself,
or the coordinator is: the node goes on as another disk, with a new incarnation.

A copy that is made and put back within one run would have counted the same start. So a run is
marked now and then, and when it ends in peace, by the same three steps: whatever was copied before
the last mark knows less than the coordinator.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from dstore.base.boot_limits import BOOT_DOUBTFUL_MAX, BOOT_MARK_S
from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt, DStoreError
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import (
    NO_REVISION,
    ModRevisionIs,
    OutcomeUnknown,
    Put,
    Transaction,
)
from dstore.topology.values import NodeBoot

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy
    from dstore.topology.coordinator import Coordinator, KeyValue

_log = get_logger(__name__)

_NONCE_BYTES: Final = 16


class NodeSettings(Protocol):
    """What a node remembers of itself, durably; `node.Node` is one."""

    async def settings(self) -> dict[str, str]:
        """Read all of it."""

    async def set_setting(self, name: str, value: str) -> None:
        """Remember something across restarts."""


class _Stored(msgspec.Struct, frozen=True):
    """What the disk knows: the last start that was counted, and one that may have been.

    `doubtful` are earlier ones that may still be: their exchanges may be on their way, and compare
    what the coordinator has.
    """

    counted: NodeBoot | None = None
    pending: NodeBoot | None = None
    doubtful: tuple[NodeBoot, ...] = ()

    @property
    def unresolved(self) -> tuple[NodeBoot, ...]:
        """Those of which nobody knows whether they are counted, the latest last."""
        return (*self.doubtful, *(() if self.pending is None else (self.pending,)))

    def with_pending(self, boot: NodeBoot, *, known: NodeBoot | None) -> _Stored:
        """Note what is about to be put in the place of `known`, with which the disk agrees or not.

        What is open stays so as long as the coordinator has what that was to be put in the place
        of; what has changed there since is the end of all of it.
        """
        left = [each for each in self.unresolved if each != boot] if known == self.counted else []
        return _Stored(
            counted=self.counted, pending=boot, doubtful=tuple(left[-BOOT_DOUBTFUL_MAX:])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """A start that is counted; `is_old_copy`: disk and coordinator disagreed about those before."""

    boot: NodeBoot
    is_old_copy: bool


class BootCounter:
    """Counts one start of a node in one control plane."""

    def __init__(
        self,
        coordinator: Coordinator,
        settings: NodeSettings,
        *,
        node: keys.ComponentId,
        control_plane: str,
        entropy: Entropy,
    ) -> None:
        """Prepare.

        Args:
            coordinator: the control plane's.
            settings: the node's own database.
            node: its UUID in the control plane.
            control_plane: the plane's UUID; each counts by itself.
            entropy: draws nonces and incarnations.
        """
        self._coordinator = coordinator
        self._settings = settings
        self._path = keys.NodeBootPath(node)
        self._name = f"boot:{control_plane}"
        self._entropy = entropy
        self._marking = asyncio.Lock()  # of two at once, one's last step undoes the other's first

    async def count(self) -> Booted:
        """Count this start; it may be asked again after any failure, and then counts anew.

        Raises: CoordinatorError: it is not known to be counted. Corrupt: the disk's record is
            damaged. Unavailable: it could not be written.
        """
        is_old_copy = False
        while True:
            stored = await self._load()
            kv = (await self._coordinator.get(self._path.path)).kv
            known = None if kv is None else self._read(kv)
            is_in_step = _agrees(stored, known, is_there=kv is not None)
            is_old_copy |= not is_in_step
            boot = self._following(stored, known, is_new_disk=is_old_copy)
            # What is there may be what was pending: it is not forgotten before the next one is.
            noted = stored.with_pending(boot, known=known)
            counted = known if is_in_step else stored.counted
            await self._store(msgspec.structs.replace(noted, counted=counted))
            if await self._exchanged(kv, boot):
                break
        await self._store(_Stored(counted=boot))
        if is_old_copy:
            _log.error("node_is_old_copy", number=boot.number, incarnation=boot.incarnation)
        _log.info("node_start_counted", number=boot.number, incarnation=boot.incarnation)
        return Booted(boot=boot, is_old_copy=is_old_copy)

    async def mark(self, boot: NodeBoot) -> None:
        """Mark that the run of a counted start goes on; see the module.

        Nothing is marked where the coordinator has another run's start, or none yet. All marks of
        a process are made by one counter.

        Raises: CoordinatorError: it may not be marked; the next mark is as good. Corrupt: the
            disk's record is damaged. Unavailable: it could not be written.
        """
        async with self._marking:
            await self._mark(boot)

    async def _mark(self, boot: NodeBoot) -> None:
        stored = await self._load()
        kv = (await self._coordinator.get(self._path.path)).kv
        known = None if kv is None else self._read(kv)
        if known is None or not (_agrees(stored, known, is_there=True) and known.is_of_run(boot)):
            return
        marked = msgspec.structs.replace(known, marks=known.marks + 1)
        noted = stored.with_pending(marked, known=known)
        await self._store(msgspec.structs.replace(noted, counted=known))
        if await self._exchanged(kv, marked):
            await self._store(_Stored(counted=marked))

    async def keep_marked(self, boot: NodeBoot) -> None:
        """Mark the run now and then, until cancelled."""
        while True:
            await asyncio.sleep(BOOT_MARK_S)
            try:
                await self.mark(boot)
            except DStoreError as error:
                _log.info("node_run_not_marked", reason=error.message)

    async def show(self, boot: NodeBoot) -> None:
        """Write a counted start once more, with its last mark, if the coordinator lacks it.

        So it does after the topology was recovered into another one. A later start, of another
        process, stays: whoever sees it knows that this one is over.

        Raises: CoordinatorError: it may not be there; ask again.
        """
        while True:
            newest = _newest_of(boot, await self._load())
            kv = (await self._coordinator.get(self._path.path)).kv
            known = None if kv is None else self._read(kv)
            if known is not None and known.order >= newest.order:
                return
            if await self._exchanged(kv, newest):
                return

    async def is_coordinator_older(self) -> bool:
        """Tell whether the disk has counted starts that the coordinator knows nothing of.

        A start is counted on the disk last, so then the coordinator is an old copy, or a new one,
        and what it lacks of this node proves nothing. Ask before `count`, which makes both agree.

        Raises: CoordinatorError: it could not be read. Corrupt: the disk's record is damaged.
        """
        counted = (await self._load()).counted
        kv = (await self._coordinator.get(self._path.path)).kv
        known = None if kv is None else self._read(kv)
        return counted is not None and (known is None or known.order < counted.order)

    async def is_disk_older(self) -> bool:
        """Tell whether the coordinator has counted starts that the disk knows nothing of.

        The disk notes what it is about to have counted, so then it is an old copy of itself. Ask
        before `count`, which makes both agree.

        Raises: CoordinatorError: it could not be read. Corrupt: the disk's record is damaged.
        """
        stored = await self._load()
        kv = (await self._coordinator.get(self._path.path)).kv
        known = None if kv is None else self._read(kv)
        if known is None or known in {stored.counted, *stored.unresolved}:
            return False
        return stored.counted is None or stored.counted.order < known.order

    def _following(self, stored: _Stored, known: NodeBoot | None, *, is_new_disk: bool) -> NodeBoot:
        """Make the next start's record; its number is above every one that is known."""
        numbers = [each.number for each in (stored.counted, known) if each is not None]
        incarnation = None if is_new_disk or known is None else known.incarnation
        return NodeBoot(
            number=max(numbers, default=0) + 1,
            nonce=self._entropy.token(_NONCE_BYTES).hex(),
            incarnation=incarnation or self._entropy.uuid(),
        )

    def _read(self, kv: KeyValue) -> NodeBoot | None:
        """Read the coordinator's value; None: it says nothing, so it agrees with no disk."""
        try:
            return values.decode(self._path, kv.value)
        except values.Malformed as error:
            _log.error("topology_value_refused", path=error.path, reason=error.why)
            return None

    async def _exchanged(self, kv: KeyValue | None, boot: NodeBoot) -> bool:
        """Put the next value in the place of what was read; False if that must be read again."""
        path = self._path.path
        compare = ModRevisionIs(key=path, revision=NO_REVISION if kv is None else kv.mod_revision)
        put = Put(key=path, value=values.encode(boot))
        try:
            result = await self._coordinator.commit(Transaction(compares=(compare,), then=(put,)))
        except OutcomeUnknown:
            return False
        return result.succeeded

    async def _load(self) -> _Stored:
        text = (await self._settings.settings()).get(self._name)
        try:
            return _Stored() if text is None else msgspec.json.decode(text, type=_Stored)
        except msgspec.MsgspecError:
            raise Corrupt(
                "The node's record of its starts is damaged.", file="node.db", where="setting boot"
            ) from None

    async def _store(self, stored: _Stored) -> None:
        await self._settings.set_setting(self._name, msgspec.json.encode(stored).decode())


def _agrees(stored: _Stored, known: NodeBoot | None, *, is_there: bool) -> bool:
    """Tell whether the disk knows what the coordinator has: the last start, or one cut short."""
    if known is None:
        return not is_there and stored.counted is None
    return known in {stored.counted, *stored.unresolved}


def _newest_of(boot: NodeBoot, stored: _Stored) -> NodeBoot:
    """Find the last mark of a start that the disk knows of."""
    found = [each for each in (stored.counted, *stored.unresolved) if each and each.is_of_run(boot)]
    return max(found, key=lambda each: each.order, default=boot)
