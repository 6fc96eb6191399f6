"""Look at the whole cluster for its operator: the store's records and the view, together.

Any control process answers; what an operator changes here is in the store alone, so it needs no
leader either. What walks over all tables does so in a thread: views never change.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.clock import US_PER_S
from dstore.base.limits import DAY_S, TOPOLOGY_PROBLEMS_SHOWN
from dstore.base.threads import in_thread
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.security.identity import ComponentRole
from dstore.service.control import rows
from dstore.service.control.counts import (
    NO_LOAD,
    Counted,
    NodeLoad,
    count,
    node_loads,
    survival,
)
from dstore.service.control.features import lacking, phrase
from dstore.service.control.index_rebuilds import rebuilds_after_loss
from dstore.service.control.move_plans import end_tasks
from dstore.service.control.realm import Realm, append
from dstore.service.control.sites import all_nodes
from dstore.service.control.status import (
    ClusterStatus,
    ComponentRow,
    Health,
    Placement,
    RangeCounts,
    RangeRow,
    TopologyReport,
)
from dstore.service.control.whereabouts import is_alive
from dstore.service.refusals import no_such
from dstore.storage.control import notices, outbox, tables, tasks, tenants
from dstore.storage.control.components import CONTROLS, NODES, PROXIES
from dstore.storage.control.records import (
    ComponentState,
    ControlUuid,
    NodeUuid,
    NoticeRecord,
    ProxyUuid,
    Publication,
    TaskId,
    TaskRecord,
    TaskState,
)
from dstore.topology import keyspace as keys
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dstore.model.tables import TableDefinition
    from dstore.storage.control.records import TableRecord
    from dstore.storage.control.store import Key, Transaction
    from dstore.topology.view import TopologyView

_PLACEMENT_TABLES: Final = 100  # on a page; each has up to RANGES_PER_TABLE_MAX ranges
_RECENT_US: Final = DAY_S * US_PER_S
_UNRULED: Final = (
    "0 node failures survivable: the coordinator is silent, and without it no other node takes a "
    "range over."
)
_UNWELL: Final = frozenset({Health.DEAD, Health.LOCKED, Health.NO_SPACE, Health.FAILING})


class Survey:
    """Implements `status.ClusterReports`."""

    def __init__(self, realm: Realm) -> None:
        """Look at `realm`."""
        self._realm = realm

    # ----------------------------------------------------------------------------- looking

    async def status(self) -> ClusterStatus:
        """See `ClusterReports.status`."""
        realm = self._realm
        view = realm.watcher.view
        counted = await in_thread(partial(count, view))
        async with realm.plane.store.snapshot() as tx:
            components = (
                *await self._controls(tx),
                *await self._nodes(tx, counted.of_node),
                *await self._proxies(tx),
            )
            waiting = await outbox.depth(tx)
            unfinished = await tasks.unfinished(tx)
            recent = await notices.count_since(tx, realm.clock.wall_us() - _RECENT_US)
        leader = None if view.leader is None else view.leader.value.control
        topology = self._topology(waiting)
        living = tuple(row for row in components if row.health is not Health.REMOVED)
        return ClusterStatus(
            control_plane=realm.plane.uuid,
            location=realm.plane.location,
            leader=leader,
            components=living,
            tenant_count=counted.tenants,
            tables=counted.tables,
            indexes=counted.indexes,
            ranges=counted.ranges,
            failures_survivable=min(counted.survivable, 0)
            if topology.is_silent
            else counted.survivable,
            failures_without_loss=counted.without_loss,
            sentence=_UNRULED if topology.is_silent else survival(counted),
            topology=topology,
            unfinished_tasks=unfinished,
            recent_notices=recent,
            oldest_scrub_s=_age_s(counted.ranges.oldest_scrub_us, realm.clock.wall_us()),
            problems=self._problems(living, counted, leader=leader),
        )

    async def nodes(self) -> tuple[ComponentRow, ...]:
        """See `ClusterReports.nodes`."""
        loads = await self._loads()
        async with self._realm.plane.store.snapshot() as tx:
            return await self._nodes(tx, loads)

    async def proxies(self) -> tuple[ComponentRow, ...]:
        """See `ClusterReports.proxies`."""
        async with self._realm.plane.store.snapshot() as tx:
            return await self._proxies(tx)

    async def controls(self) -> tuple[ComponentRow, ...]:
        """See `ClusterReports.controls`."""
        async with self._realm.plane.store.snapshot() as tx:
            return await self._controls(tx)

    async def node(self, uuid: str) -> tuple[ComponentRow, tuple[RangeRow, ...]]:
        """See `ClusterReports.node`."""
        view, loads = self._realm.watcher.view, await self._loads()
        async with self._realm.plane.store.snapshot() as tx:
            record = await NODES.get(tx, uuid)
            if record is None:
                raise _no_component("node", uuid)
            page = await tables.ranges_of_node(tx, record.uuid)
            owners = {
                table_id: await tables.get_by_id(tx, table_id)
                for table_id in sorted({each.table_id for each in page.records})
            }
        row = rows.node_row(record, view, loads)
        ranges = []
        for each in page.records:
            owner = owners[each.table_id]
            if owner is not None:
                ranges.append(rows.range_row(each, view, tenant=owner.tenant, table=owner.name))
        ranges.sort(key=lambda each: (each.tenant, each.table, each.low_hash))
        return row, tuple(ranges)

    async def placement(
        self,
        *,
        tenant: str | None = None,
        table: str | None = None,
        after: tuple[str, str] | None = None,
    ) -> Placement:
        """See `ClusterReports.placement`."""
        view = self._realm.watcher.view
        async with self._realm.plane.store.snapshot() as tx:
            found, continues = await _tables(tx, tenant=tenant, table=table, after=after)
            ranges = {each.table_id: await tables.ranges(tx, each.table_id) for each in found}
        return Placement(
            tables=tuple(
                rows.table_row(each, view, range_count=len(ranges[each.table_id])) for each in found
            ),
            ranges=tuple(
                rows.range_row(each, view, tenant=owner.tenant, table=owner.name)
                for owner in found
                for each in ranges[owner.table_id]
            ),
            after=continues,
        )

    async def tasks(
        self, *, state: TaskState | None = None, after: tuple[int, str] | None = None
    ) -> tuple[tuple[TaskRecord, ...], tuple[int, str] | None]:
        """See `ClusterReports.tasks`."""
        async with self._realm.plane.store.snapshot() as tx:
            page = await tasks.page(tx, state=state, after=after)
        return page.records, _continues(page.after)

    async def task(self, task_id: TaskId) -> TaskRecord:
        """See `ClusterReports.task`."""
        async with self._realm.plane.store.snapshot() as tx:
            found = await tasks.get(tx, task_id)
        if found is None:
            raise Refused(RefusalKind.NOT_FOUND, "There is no such task; list them.")
        return found

    async def notices(
        self, *, after: tuple[int, str] | None = None
    ) -> tuple[tuple[NoticeRecord, ...], tuple[int, str] | None]:
        """See `ClusterReports.notices`."""
        async with self._realm.plane.store.snapshot() as tx:
            page = await notices.page(tx, after=after)
        return page.records, _continues(page.after)

    # ---------------------------------------------------------------------------- changing

    async def retry_task(self, task_id: TaskId) -> TaskRecord:
        """See `ClusterReports.retry_task`."""
        realm = self._realm
        async with realm.plane.store.transaction() as tx:
            await tasks.hasten(tx, task_id, now_us=realm.clock.wall_us())
            found = await tasks.get(tx, task_id)
        if found is None:
            raise Refused(RefusalKind.NOT_FOUND, "There is no such task; list them.")
        if found.state not in {TaskState.QUEUED, TaskState.RUNNING}:
            raise Refused(RefusalKind.CONFLICT, f"The task is {found.state}; it is over.")
        realm.tasks_due.set()
        return found

    async def set_maintenance(self, node: NodeUuid, *, is_on: bool, actor: str) -> ComponentRow:
        """See `ClusterReports.set_maintenance`."""
        realm = self._realm
        state = ComponentState.MAINTENANCE if is_on else ComponentState.ACTIVE
        loads = await self._loads()
        async with realm.plane.store.transaction() as tx:
            record = await NODES.get(tx, node)
            if record is None:
                raise _no_component("node", node)
            await end_tasks(tx, realm, node)
            if record.state is not state:
                await NODES.set_state(tx, node, state, now_us=realm.clock.wall_us())
                await realm.audit(tx, actor=actor, action=f"node_{state}", subject=str(node))
        return rows.node_row(replace(record, state=state), realm.watcher.view, loads)

    async def remove_node(self, node: NodeUuid, *, actor: str) -> ComponentRow:
        """See `ClusterReports.remove_node`."""
        realm = self._realm
        # Values change without the store: a replica that control has taken from the node is named
        # by its range's until the swap.
        named = (await self._loads()).get(node, NO_LOAD)
        async with realm.plane.store.transaction() as tx:
            record = await NODES.get(tx, node)
            if record is None:
                raise _no_component("node", node)
            kept, leaving = await tables.replicas_of_node(tx, node)
            if leaving and not is_alive(realm.watcher.view, node):
                # It can't say that it has given them up, and is asked for them by nobody.
                leaving -= await tables.forget_left(tx, node)
            if kept or leaving or named.ranges:
                raise _still_in_use(named, kept=kept, leaving=leaving)
            if record.state is not ComponentState.REMOVED:
                now_us = realm.clock.wall_us()
                await NODES.set_state(tx, node, ComponentState.REMOVED, now_us=now_us)
                await realm.audit(tx, actor=actor, action="remove_node", subject=str(node))
            await append(tx, _traces(ComponentRole.NODE, str(node), realm.watcher.view))
        realm.publisher.wake()
        removed = replace(record, state=ComponentState.REMOVED)
        return rows.node_row(removed, realm.watcher.view, {})

    async def remove_proxy(self, proxy: ProxyUuid, *, actor: str) -> ComponentRow:
        """See `ClusterReports.remove_proxy`."""
        realm = self._realm
        async with realm.plane.store.transaction() as tx:
            record = await PROXIES.get(tx, proxy)
            if record is None:
                raise _no_component("proxy", proxy)
            if record.state is not ComponentState.REMOVED:
                now_us = realm.clock.wall_us()
                await PROXIES.set_state(tx, proxy, ComponentState.REMOVED, now_us=now_us)
                await realm.audit(tx, actor=actor, action="remove_proxy", subject=str(proxy))
            await append(tx, _traces(ComponentRole.PROXY, str(proxy), realm.watcher.view))
        realm.publisher.wake()
        return rows.proxy_row(replace(record, state=ComponentState.REMOVED), realm.watcher.view)

    async def remove_control(self, control: ControlUuid, *, actor: str) -> ComponentRow:
        """See `ClusterReports.remove_control`."""
        realm = self._realm
        self._require_ended(control)
        async with realm.plane.store.transaction() as tx:
            record = await CONTROLS.get(tx, control)
            if record is None:
                raise _no_component("control", control)
            if record.state is not ComponentState.REMOVED:
                now_us = realm.clock.wall_us()
                await CONTROLS.set_state(tx, control, ComponentState.REMOVED, now_us=now_us)
                await realm.audit(tx, actor=actor, action="remove_control", subject=str(control))
            await append(tx, _traces(ComponentRole.CONTROL, str(control), realm.watcher.view))
        realm.publisher.wake()
        return rows.control_row(replace(record, state=ComponentState.REMOVED), realm.watcher.view)

    def _require_ended(self, control: ControlUuid) -> None:
        """Refuse to remove a control process that lives. Raises: Refused, Unavailable."""
        realm = self._realm
        status, seen = realm.watcher.status(), realm.watcher.view.controls.get(control)
        is_here = control == realm.plane.process
        if is_here or (seen is not None and seen.alive is not None):
            leader = realm.watcher.view.leader
            leads = leader is not None and leader.value.control == control
            raise Refused(
                RefusalKind.CONFLICT,
                f"This control process {'leads' if leads else 'is alive'}; stop it first. A few "
                "seconds later it can be removed.",
            )
        if status.state is not TopologyState.LIVE:
            raise Unavailable(
                UnavailableKind.UNREACHABLE,
                f"Nobody can tell whether this control process is alive. {status.sentence}",
            )

    # ------------------------------------------------------------------------------- parts

    async def _loads(self) -> Mapping[str, NodeLoad]:
        return await in_thread(partial(node_loads, self._realm.watcher.view))

    async def _nodes(
        self, tx: Transaction, loads: Mapping[str, NodeLoad]
    ) -> tuple[ComponentRow, ...]:
        view = self._realm.watcher.view
        return tuple(rows.node_row(record, view, loads) for record in await all_nodes(tx))

    async def _proxies(self, tx: Transaction) -> tuple[ComponentRow, ...]:
        view = self._realm.watcher.view
        return tuple(rows.proxy_row(record, view) for record in await PROXIES.every(tx))

    async def _controls(self, tx: Transaction) -> tuple[ComponentRow, ...]:
        view = self._realm.watcher.view
        return tuple(rows.control_row(each, view) for each in await CONTROLS.every(tx))

    def _topology(self, waiting: int) -> TopologyReport:
        status = self._realm.watcher.status()
        return TopologyReport(
            state=str(status.state),
            sentence=status.sentence,
            revision=status.revision,
            cluster_id=status.cluster_id,
            problem_count=status.problem_count,
            problems=tuple(f"{each.path}: {each.why}" for each in status.problems),
            waiting_writes=waiting,
            is_silent=status.is_silent,
        )

    def _problems(
        self, components: tuple[ComponentRow, ...], counted: Counted, *, leader: str | None
    ) -> tuple[str, ...]:
        found = [self._realm.leader.problem] if self._realm.leader.problem else []
        if self._realm.publisher.problem:
            found.append(f"Changes are not published: {self._realm.publisher.problem}")
        if self._realm.watcher.status().state is TopologyState.FROZEN:
            found.append(
                "Nothing is taken from the coordinator. If the right one is gone for good: dstore "
                "control recover-topology --dry-run"
            )
        if leader is None:
            found.append("No control process leads; tenants and tables can't be changed.")
        found += [
            f"{row.role.capitalize()} {row.uuid}: {row.why}"
            for row in components
            if row.health in _UNWELL
        ]
        found += self._behind(components, counted)
        found += _of_ranges(counted.ranges)
        found += [
            f"An index may have {_rows_of_loss(each)}; make it anew: {command}"
            for each in counted.doubtful
            for command in rebuilds_after_loss(each)
        ]
        return tuple(found[:TOPOLOGY_PROBLEMS_SHOWN])

    def _behind(self, components: tuple[ComponentRow, ...], counted: Counted) -> Iterator[str]:
        """Say of each node what it does not know of that tables use."""
        for row in components:
            if row.role == ComponentRole.NODE and row.health is not Health.STARTING:
                missing = lacking(self._realm.watcher.view, row.uuid) & counted.needed
                if missing:
                    yield (
                        f"Node {row.uuid} is of a version that does not know {phrase(missing)}, "
                        "which tables use: it is given no range of those. Upgrade it."
                    )


def _of_ranges(ranges: RangeCounts) -> Iterator[str]:
    """Say in a sentence each what is the matter with ranges, and where it is said of each."""
    if count := ranges.unavailable:
        yield f"{_some(count)} can't be used now: dstore placement show says which, and why."
    if count := ranges.read_only:
        verb = "is" if count == 1 else "are"
        yield f"{_some(count)} {verb} read-only: a write needs more replicas in sync and alive."
    if count := ranges.under_replicated:
        verb = "has" if count == 1 else "have"
        yield f"{_some(count)} {verb} fewer replicas in sync and alive than there should be."
    if count := ranges.possible_loss:
        yield f"{_some(count)} may have lost writes: dstore placement show says which."


def _rows_of_loss(index: TableDefinition) -> str:
    """Say what may be the matter with an index since a loss."""
    return "rows that its table has lost" if index.settings.has_lost_base else "lost rows"


def _some(count: int) -> str:
    return "1 range" if count == 1 else f"{count} ranges"


async def _tables(
    tx: Transaction, *, tenant: str | None, table: str | None, after: tuple[str, str] | None
) -> tuple[tuple[TableRecord, ...], tuple[str, str] | None]:
    """Read a page of a tenant's tables, of one table, or of all. Raises: Refused."""
    if tenant is None:
        page = await tables.page_of_all(tx, after=after, limit=_PLACEMENT_TABLES)
    else:
        if await tenants.get(tx, tenant) is None:
            raise no_such("tenant", tenant)
        if table is not None:
            found = await tables.get(tx, tenant, table)
            if found is None:
                raise no_such("table", table)
            return (found, *await tables.indexes_of(tx, found.table_id)), None
        name = None if after is None else (after[1],)
        page = await tables.page(tx, tenant, after=name, limit=_PLACEMENT_TABLES)
    last = page.records[-1] if page.after is not None else None
    return page.records, None if last is None else (last.tenant, last.name)


def _traces(role: ComponentRole, uuid: str, view: TopologyView) -> list[Publication]:
    """Make what takes a removed component's keys away; those under its lease go by themselves."""
    component = keys.ComponentId(uuid)
    paths: list[str] = [keys.DetailsPath(role, component).path]
    if role is ComponentRole.NODE:
        paths.append(keys.NodeBootPath(component).path)
        seen = view.node(uuid)
        for name in () if seen is None else seen.reported:
            tenant, table = name.split("/")
            paths.append(keys.NodeTablePath(component, tenant, table).path)
    return [Publication(key=path, value=None) for path in paths]


def _age_s(at_us: int, now_us: int) -> int | None:
    return max(now_us - at_us, 0) // US_PER_S if at_us else None


def _continues(after: Key | None) -> tuple[int, str] | None:
    return None if after is None else (int(after[0]), str(after[1]))


def _still_in_use(named: NodeLoad, *, kept: int, leaving: int) -> Refused:
    """Say why a node can't be removed."""
    if not kept:
        return Refused(
            RefusalKind.CONFLICT,
            f"The node still has ranges: {max(named.ranges, leaving)} that it is to give up and "
            "has not yet; wait until it has.",
        )
    return Refused(
        RefusalKind.CONFLICT,
        f"The node still has ranges: replicas of {kept}, and of {named.primaries} it is the "
        "primary; decommission it first, or delete their tables.",
    )


def _no_component(what: str, uuid: str) -> Refused:
    return Refused(RefusalKind.NOT_FOUND, f"There is no {what} {uuid}; list them to see which.")
