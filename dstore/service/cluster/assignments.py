"""Carry out what the topology gives a node, table by table, until it is so.

What changes in the topology is looked at again, and so is, after a rest, what could not be done
yet. A range is held as soon as the node is named as its holder and control's share of its tenant's
keys is at hand: without that no file is made (I4). It is given up only on clear evidence that is
read anew (`evidence`) and that control's store confirms, and never on a view that is frozen or from
the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.base.limits import ASSIGNMENTS_AT_ONCE
from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt, DStoreError, Refused, Unavailable, UnavailableKind
from dstore.model.ranges import RangeRef
from dstore.service.cluster.giving_up import GivingUp
from dstore.topology import keyspace as keys
from dstore.topology.backoff import Backoff
from dstore.topology.coordinator import CoordinatorError
from dstore.topology.values import HeldStatus

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy
    from dstore.model.tables import TableDefinition
    from dstore.replication.peers.port import Peer
    from dstore.service.cluster.range_replicas import RangeReplicas
    from dstore.service.cluster.tenant_shares import TenantShareBook
    from dstore.service.holdings import Holdings
    from dstore.service.range_duties import RangeDuties
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.view import TopologyView
    from dstore.topology.watcher import TopologyWatcher, Update

_log = get_logger(__name__)

Name = tuple[str, str]  # a tenant's and a table's; "" for the tenant by itself
_NO_TABLE: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState:
    """How a node's part of a table is: each range that it is to hold, by id."""

    tenant: str
    table: str
    ranges: dict[str, HeldStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What the topology gives the node of a table."""

    tenant_id: str
    definition: TableDefinition
    refs: tuple[RangeRef, ...]


class _Unclear(Exception):
    """The keys of a table do not fit together yet; those that are missing will come."""


class Assignments:
    """The node's part in the topology. Used from one event loop."""

    def __init__(
        self,
        node: keys.ComponentId,
        *,
        control_plane: str,
        watcher: TopologyWatcher,
        coordinator: Coordinator,
        control: Peer,
        holdings: Holdings,
        duties: RangeDuties,
        replicas: RangeReplicas,
        shares: TenantShareBook,
        entropy: Entropy,
        on_state: Callable[[TableState], None],
        on_conflict: Callable[[Name, DStoreError], None],
        on_looked: Callable[[], None],
        on_unknown: Callable[[str, str], None],
    ) -> None:
        """Prepare.

        Args:
            node: this node's UUID in the control plane.
            control_plane: the plane's; it alone decides what the node gives up.
            watcher: the newest view.
            coordinator: read anew before anything is destroyed.
            control: asked before anything is destroyed, too.
            holdings: what the node holds.
            duties: change it.
            replicas: every range that is held is one.
            shares: control's shares of tenants' keys.
            entropy: spreads retries.
            on_state: is told how each table is whenever it was looked at.
            on_conflict: is told what control decided and can't be done here.
            on_looked: is told when all that there was at the beginning was looked at once.
            on_unknown: is told of a range, by its id and its table, that nobody else knows of.
        """
        self._node = node
        self._watcher = watcher
        self._giving_up = GivingUp(
            node,
            control_plane=control_plane,
            watcher=watcher,
            coordinator=coordinator,
            control=control,
            holdings=holdings,
            duties=duties,
            replicas=replicas,
            shares=shares,
            on_unknown=on_unknown,
        )
        self._holdings = holdings
        self._replicas = replicas
        self._duties = duties
        self._shares = shares
        self._on_state = on_state
        self._on_conflict = on_conflict
        self._on_looked = on_looked
        self._backoff = Backoff(entropy)
        self._dirty: dict[Name, None] = {}  # in the order in which they came
        self._stuck: dict[Name, None] = {}  # to be tried again after a rest
        self._unseen: set[Name] | None = None  # of what there was at the beginning
        self._is_busy = True  # with the first look at everything, to begin with
        self._is_due = asyncio.Event()
        self._retrying: asyncio.TimerHandle | None = None

    @property
    def is_settled(self) -> bool:
        """Whether everything that is known to the view is carried out."""
        return not (self._is_busy or self._dirty or self._stuck)

    @property
    def has_looked(self) -> bool:
        """Whether all that there was at the beginning was looked at once, done or not."""
        return self._unseen is not None and not self._unseen

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        end = self._watcher.subscribe(keys.EVERYTHING, self._changed)
        try:
            self._begin(await self._watcher.known())
            self._look_at(set(self._dirty))
            while True:
                self._is_busy = bool(self._dirty)
                await self._is_due.wait()
                self._is_busy = True
                names = list(self._dirty)[:ASSIGNMENTS_AT_ONCE]
                for name in names:
                    del self._dirty[name]
                if not self._dirty:
                    self._is_due.clear()
                await self._do(names)
                if self._unseen:
                    self._look_at(self._unseen.difference(names))
        finally:
            end()
            if self._retrying is not None:
                self._retrying.cancel()

    # -------------------------------------------------------------------------- what is due

    def _begin(self, view: TopologyView) -> None:
        """Look at all that is held here, and all that the view says of this node."""
        seen = view.node(self._node)
        if seen is not None:
            for name in (*seen.held, *seen.reported):
                tenant, _, table = name.partition("/")
                self._mark((tenant, table))
        for tenant in self._holdings.tenants.values():
            self._mark_tenant(tenant.name)

    def _look_at(self, unseen: set[Name]) -> None:
        self._unseen = unseen
        if not unseen:
            self._on_looked()

    def _changed(self, update: Update) -> None:
        for path in update.paths:
            match path:
                case keys.NodeRangesPath(node, tenant, table) if node == self._node:
                    self._mark((tenant, table))
                case keys.TablePath(tenant, table) | keys.RangePath(tenant, table):
                    if self._concerns(update.view, tenant, table):
                        self._mark((tenant, table))
                case keys.TenantPath(tenant):
                    self._mark_tenant(tenant)
                    seen = update.view.node(self._node)
                    for name in () if seen is None else seen.held:
                        if name.startswith(f"{tenant}/"):
                            self._mark((tenant, name.partition("/")[2]))
                case _:
                    pass

    def _concerns(self, view: TopologyView, tenant: str, table: str) -> bool:
        held = self._holdings.tenants.get(tenant)
        if held is not None and table in held.tables:
            return True
        seen = view.node(self._node)
        return seen is not None and seen.held.get(keys.held_name(tenant, table)) is not None

    def _mark(self, name: Name) -> None:
        self._stuck.pop(name, None)
        self._dirty[name] = None
        self._is_due.set()

    def _mark_tenant(self, tenant: str) -> None:
        held = self._holdings.tenants.get(tenant)
        if held is None:
            return
        for table in held.tables:
            self._mark((tenant, table))
        self._mark((tenant, _NO_TABLE))  # behind its tables, which must go first

    def _stick(self, name: Name) -> None:
        """Try again after a rest."""
        if name in self._dirty:
            return
        self._stuck[name] = None
        if self._retrying is None:
            loop = asyncio.get_running_loop()
            self._retrying = loop.call_later(self._backoff.next_s(), self._retry)

    def _retry(self) -> None:
        self._retrying = None
        for name in list(self._stuck):
            self._mark(name)

    # ------------------------------------------------------------------------- what is done

    async def _do(self, names: Sequence[Name]) -> None:
        view = self._watcher.view
        wanted: dict[Name, _Wanted | None] = {}
        for name in names:
            try:
                wanted[name] = self._wanted(view, name)
            except _Unclear:
                continue
        await self._shares.fetch(
            [(name[0], one.tenant_id) for name, one in wanted.items() if one is not None]
        )
        done = await asyncio.gather(
            *(self._settle(view, name, one) for name, one in wanted.items())
        )
        for name, is_done in zip(wanted, done, strict=True):
            if not is_done:
                self._stick(name)
        if not self._stuck:
            self._backoff.reset()

    def _wanted(self, view: TopologyView, name: Name) -> _Wanted | None:
        """Say what the view gives this node of a table; None: nothing.

        Raises: _Unclear: other keys of the table are missing, or of another table of that name.
        """
        tenant, table = name
        seen = view.node(self._node)
        held = None if seen is None else seen.held.get(keys.held_name(tenant, table))
        if held is None:
            return None
        owner, shown = view.tenant(tenant), view.table(tenant, table)
        if owner is None or owner.known is None or shown is None:
            raise _Unclear
        if shown.definition.table_id != held.value.table_id:
            raise _Unclear
        epochs = {placed.range_id: placed.placement.epoch for placed in shown.ranges}
        return _Wanted(
            tenant_id=owner.known.value.uuid,
            definition=shown.definition,
            refs=tuple(
                RangeRef(
                    range_id=each.range_id,
                    epoch=epochs.get(each.range_id, 1),  # a new one's, until its placement shows
                    low=each.low_hash,
                    high=each.high_hash,
                )
                for each in held.value.ranges
            ),
        )

    async def _settle(self, view: TopologyView, name: Name, wanted: _Wanted | None) -> bool:
        """Make a table what it should be, and tell how it is. Returns: whether all is done."""
        tenant, table = name
        await self._replicas.settle_seeds(tenant, table)
        keeps = set() if wanted is None else {ref.range_id for ref in wanted.refs}
        children = self._children(name, wanted)
        keeps |= children
        try:
            extra = [ref for ref in self._refs(name) if ref.range_id not in keeps]
            is_done = await self._giving_up.ranges(view, extra)
            is_done &= await self._giving_up.tenant(view, tenant)
        except CoordinatorError as error:
            _log.warning("range_kept", tenant=tenant, table=table, reason=error.message)
            is_done = False
        if table == _NO_TABLE:
            return is_done
        states: dict[str, HeldStatus] = {}
        if wanted is not None:
            for ref in wanted.refs:
                states[ref.range_id] = await self._hold(name, wanted, ref)
            is_done &= all(state is HeldStatus.OKAY for state in states.values())
            for range_id in children:
                states[range_id] = self._go_on_with(range_id)
        for ref in self._refs(name):  # what could not be given up yet is held all the same
            states.setdefault(ref.range_id, HeldStatus.OPENING)
        self._on_state(TableState(tenant=tenant, table=table, ranges=states))
        return is_done

    def _go_on_with(self, range_id: str) -> HeldStatus:
        """Be a replica of a child that control has not named to this node yet."""
        self._replicas.add(range_id)
        return HeldStatus.OKAY

    def _children(self, name: Name, wanted: _Wanted | None) -> set[str]:
        """Name the ranges that are here in the place of one that control still names instead."""
        cut = [
            ref
            for ref in (() if wanted is None else wanted.refs)
            if self._holdings.seeds.is_cut(ref.range_id)
        ]
        return {
            ref.range_id
            for ref in (self._refs(name) if cut else ())
            if not self._holdings.seeds.is_cut(ref.range_id)
            and any(each.low <= ref.low and ref.high <= each.high for each in cut)
        }

    async def _hold(self, name: Name, wanted: _Wanted, ref: RangeRef) -> HeldStatus:
        """Hold one range, as a replica. Returns: how it is."""
        status = await self._held(name, wanted, ref)
        if status is HeldStatus.OKAY and not self._holdings.seeds.is_cut(ref.range_id):
            self._replicas.add(ref.range_id)
        return status

    async def _held(self, name: Name, wanted: _Wanted, ref: RangeRef) -> HeldStatus:
        tenant, _ = name
        if self._holdings.seeds.is_seed(ref.range_id):
            return HeldStatus.OPENING  # it is settled as soon as the view shows the child
        if self._is_held(wanted, ref):
            return HeldStatus.OKAY
        share = self._shares.of(tenant, wanted.tenant_id)
        if share is None:
            return HeldStatus.LOCKED
        try:
            await self._duties.ensure_tenant(tenant, tenant_id=wanted.tenant_id, share=share)
            await self._duties.ensure_range(wanted.definition, ref)
        except Unavailable as error:
            _log.warning("range_not_held", range=ref.range_id, reason=error.message)
            return _status_of(error)
        except Refused as error:
            self._on_conflict(name, error)
            return HeldStatus.OPENING
        except Corrupt as error:
            self._on_conflict(name, error)
            return HeldStatus.DAMAGED
        except DStoreError as error:  # it may be held: the next round finds out
            _log.warning("range_not_held", range=ref.range_id, reason=error.message)
            return HeldStatus.OPENING
        return HeldStatus.OKAY

    def _is_held(self, wanted: _Wanted, ref: RangeRef) -> bool:
        """Tell whether there is nothing to do, as for almost all that is looked at."""
        held = self._holdings.ranges.get(ref.range_id)
        tenant = self._holdings.tenants.get(wanted.definition.tenant)
        if held is None or tenant is None or tenant.control is None:
            return False
        return (
            tenant.record.tenant_id == wanted.tenant_id
            and held.epoch >= ref.epoch
            and (held.hash_start, held.hash_end) == (ref.low, ref.high)
            and self._holdings.table_of(ref.range_id).definition == wanted.definition
        )

    def _refs(self, name: Name) -> Sequence[RangeRef]:
        """List the ranges of a table that are held here."""
        tenant, table = name
        held = self._holdings.tenants.get(tenant)
        found = None if held is None else held.tables.get(table)
        if found is None:
            return ()
        split = self._holdings.seeds.split(found.definition)
        return (*found.ranges.refs, *split)


def _status_of(error: Unavailable) -> HeldStatus:
    match error.kind:
        case UnavailableKind.NO_SPACE:
            return HeldStatus.NO_SPACE
        case UnavailableKind.LOCKED:
            return HeldStatus.LOCKED
        case _:
            return HeldStatus.OPENING
