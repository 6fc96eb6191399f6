"""Deliberately broken variants of the product: the test of the tests.

Each takes away one thing that keeps a promise. An exploration that does not notice within a few
seeds would not notice a mistake of ours either. `seed` is the lowest one that is known to catch it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from dstore.model.errors import Unknown
from dstore.replication.peers.errors import Unreachable, unreachable
from dstore.service.proxy.node_calls import NodeCalls
from dstore.service.proxy.remote_registrar import RemoteRegistrar
from dstore.storage import requests
from dstore.storage.range_file import RangeFile
from dstore.storage.vault.file_state import LogState
from dstore.topology.leases import LeasedKey
from dstore.topology.watcher import TopologyWatcher
from tests.simulation import peers
from tests.simulation.focused import UNSEEN
from tests.simulation.plain_cluster import CROWDED, PLAIN
from tests.simulation.whole_cluster import WHOLE

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

Patches = tuple[tuple[Any, str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A broken variant, and the scenario that catches it from `seed` on."""

    name: str
    patches: Callable[[], Patches]
    scenario: Scenario
    seed: int

    def alive(self) -> AbstractContextManager[object]:
        """Break the product for as long as the context lasts."""
        stack = ExitStack()
        for owner, name, value in self.patches():
            stack.enter_context(patch.object(owner, name, value))
        return stack


def _acknowledges_before_sync() -> Patches:
    """Answer a batch when it is committed, whether or not it is durable (I1)."""
    begin = RangeFile._begin

    def begun(self: RangeFile, writes: Any) -> Any:
        answers = begin(self, writes)
        return None if answers is None else (answers[0], None)

    return ((RangeFile, "_begin", begun),)


def _drops_syncs() -> Patches:
    """Take the sync of the log for done without doing it (B16)."""

    def sync(self: LogState) -> None:
        self.unsynced_by = None

    return ((LogState, "sync", sync),)


def _shows_what_is_not_durable() -> Patches:
    """Answer a read of a batch before that is synced: it may be taken back (B11)."""

    async def synced(_self: RangeFile) -> None:
        return

    return ((RangeFile, "_synced", synced),)


def _takes_lost_for_never_sent() -> Patches:
    """Say of a write that has left that it certainly did not arrive."""

    def failed(what: str, *, is_safe: bool) -> Unreachable:
        del is_safe
        return unreachable(what)

    return ((peers, "failure", failed),)


def _takes_unknown_for_failed() -> Patches:
    """Tell the client of a write of unknown outcome that nothing was written (B12)."""
    ask = NodeCalls.ask

    async def asked(self: NodeCalls, *args: Any, **named: Any) -> Any:
        try:
            return await ask(self, *args, **named)
        except Unknown as error:
            raise unreachable("is away") from error

    return ((NodeCalls, "ask", asked),)


def _forgets_requests() -> Patches:
    """Do a repeated request again (I9)."""

    def found(*_: Any, **__: Any) -> None:
        return None

    return ((requests, "find", found),)


def _takes_unseen_for_failed() -> Patches:
    """Say of a change that control has made, and that is not seen yet, that nothing was done."""
    shown = RemoteRegistrar._shown

    async def seen(self: RemoteRegistrar, revision: int) -> None:
        try:
            await shown(self, revision)
        except Unknown as error:
            raise unreachable("has not shown it yet") from error

    return ((RemoteRegistrar, "_shown", seen),)


def _jumps_over_a_gap() -> Patches:
    """Go on watching behind a gap without reading what is there (B13)."""
    resynced = TopologyWatcher._resynced

    async def read(self: TopologyWatcher, kvs: Any) -> Any:
        return [] if self.view.revision else await resynced(self, kvs)

    return ((TopologyWatcher, "_resynced", read),)


def _gives_a_lost_lease_up() -> Patches:
    """Take the loss of a lease for the end: nobody takes it up again (B14)."""
    hold = LeasedKey._hold_once

    async def held(self: LeasedKey) -> bool:
        await hold(self)
        await asyncio.get_running_loop().create_future()
        return True

    return ((LeasedKey, "_hold_once", held),)


MUTANTS: Final = (
    Mutant(
        name="acknowledges_before_sync",
        patches=_acknowledges_before_sync,
        scenario=PLAIN,
        seed=1,
    ),
    Mutant(name="drops_syncs", patches=_drops_syncs, scenario=PLAIN, seed=0),
    Mutant(
        name="shows_what_is_not_durable",
        patches=_shows_what_is_not_durable,
        scenario=CROWDED,
        seed=7,
    ),
    Mutant(
        name="takes_lost_for_never_sent",
        patches=_takes_lost_for_never_sent,
        scenario=PLAIN,
        seed=0,
    ),
    Mutant(
        name="takes_unknown_for_failed",
        patches=_takes_unknown_for_failed,
        scenario=PLAIN,
        seed=0,
    ),
    Mutant(name="forgets_requests", patches=_forgets_requests, scenario=PLAIN, seed=6),
    Mutant(
        name="takes_unseen_for_failed",
        patches=_takes_unseen_for_failed,
        scenario=UNSEEN,
        seed=2,
    ),
    Mutant(name="jumps_over_a_gap", patches=_jumps_over_a_gap, scenario=UNSEEN, seed=1),
    Mutant(name="gives_a_lost_lease_up", patches=_gives_a_lost_lease_up, scenario=WHOLE, seed=0),
)
