"""What control tells its operator, as plain values; `survey` makes them, `dstore status` shows.

Nothing here waits or decides. Times are wall time in microseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dstore.model.status import ResourceStatus
from dstore.storage.control.records import (
    ComponentState,
    ControlUuid,
    NodeUuid,
    NoticeRecord,
    ProxyUuid,
    RangeId,
    TaskId,
    TaskRecord,
    TaskState,
)


class Health(StrEnum):
    """How a component is, as its operator needs to know it."""

    OKAY = "okay"
    STARTING = "starting"  # admitted, and not seen yet; or it says that it starts
    LOCKED = "locked"  # it waits for control's share of its keys
    NO_SPACE = "no_space"
    DRAINING = "draining"
    FAILING = "failing"
    DEAD = "dead"  # its lease is over
    MAINTENANCE = "maintenance"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentRow:
    """A node, a proxy or a control process.

    Attributes:
        uri: of its peer listener; `api_uri`: where clients reach it, "" if they don't.
        state: what the operator decided; `health`: what is seen of it; `why`: a sentence about
            health that is not okay, "" otherwise.
        is_leader: of control processes.
        ranges: of how many ranges it has a replica; nodes only, as the rest.
        primaries: of how many of them it is the primary.
    """

    role: str
    uuid: str
    zone: str
    uri: str
    api_uri: str
    version: str
    state: ComponentState
    health: Health
    why: str
    joined_at_us: int
    is_leader: bool = False
    ranges: int = 0
    primaries: int = 0
    free_bytes: int = 0
    capacity_bytes: int = 0
    load_percent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRow:
    """A replica of a range: `state` is in_sync or learner, `held` as `RangeRow` has it."""

    node: str
    state: str
    held: str
    is_alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRow:
    """A range and where it is. Both hashes are inclusive.

    Attributes:
        node: its primary.
        held: how that says it is, such as okay, opening or damaged; "" if it has said nothing.
        why: a sentence about a range that can't be used, or has too few replicas; "" otherwise.
        factor: how many replicas it should have; 0 if it is not published.
        min_in_sync: how many of them a write needs.
        replicas: all that it has, the primary among them.
        is_read_only: its primary serves it, and too few replicas are in sync and alive to write.
        is_under_replicated: fewer than `factor` are in sync and alive.
        has_possible_loss: it may have lost acknowledged writes.
        stored_bytes: of its database on its primary, as that said last.
        requests_per_s: that its primary is asked, roughly, as it said last.
    """

    tenant: str
    table: str
    range_id: str
    low_hash: int
    high_hash: int
    epoch: int
    node: str
    uri: str
    held: str
    why: str
    factor: int = 0
    min_in_sync: int = 0
    replicas: tuple[ReplicaRow, ...] = ()
    is_read_only: bool = False
    is_under_replicated: bool = False
    has_possible_loss: bool = False
    stored_bytes: int = 0
    requests_per_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A table; `why` says in a sentence what it waits for, "" if it waits for nothing.

    `is_index`: it is the hidden one of a global index, and named `<table>:<index>`.
    `possible_loss` counts its ranges that may have lost acknowledged writes.
    """

    tenant: str
    name: str
    table_id: str
    status: ResourceStatus
    created_at_us: int
    range_count: int
    why: str
    is_index: bool = False
    possible_loss: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A page of tables with their ranges; `after` continues the list: (tenant, table)."""

    tables: tuple[TableRow, ...]
    ranges: tuple[RangeRow, ...]
    after: tuple[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeCounts:
    """All ranges, and those of them that are not as they should be.

    Attributes:
        unavailable: their primaries do not serve them now.
        read_only: they do, and too few replicas are in sync and alive to write.
        under_replicated: fewer replicas are in sync and alive than there should be.
        possible_loss: they may have lost acknowledged writes.
        oldest_scrub_us: since when, by the wall clock, every range was scrubbed or made; 0: nobody
            has said.
    """

    total: int
    unavailable: int
    read_only: int
    under_replicated: int
    possible_loss: int
    oldest_scrub_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyReport:
    """What the coordinator is worth to this control, in a word and a sentence.

    `problems` are sentences about values that are kept out of the view, the first of
    `problem_count`. `waiting_writes` are changes that are recorded and not yet published.
    `is_silent`: it has not been heard for so long that it must be away.
    """

    state: str
    sentence: str
    revision: int
    cluster_id: str
    problem_count: int
    problems: tuple[str, ...]
    waiting_writes: int
    is_silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """One page about the whole cluster.

    Attributes:
        leader: the control process that leads, None if none is known to.
        failures_survivable: node failures, whichever, after which every range still takes writes;
            -1 if one takes none already.
        failures_without_loss: node failures, whichever, after which every acknowledged write is
            still on a living node; -1 if those of a range are on none already.
        sentence: the same in words, such as "0 node failures survivable."
        recent_notices: how many nodes wrote within the last day.
        oldest_scrub_s: the age of the oldest scrub of a range; None: nobody has said.
        problems: sentences about what an operator should look at.
        tables: how many of each status.
        indexes: the same of global indexes; UPDATING are those that are being filled.
    """

    control_plane: str
    location: str
    leader: str | None
    components: tuple[ComponentRow, ...]
    tenant_count: int
    tables: dict[ResourceStatus, int]
    indexes: dict[ResourceStatus, int]
    ranges: RangeCounts
    failures_survivable: int
    failures_without_loss: int
    sentence: str
    topology: TopologyReport
    unfinished_tasks: int
    recent_notices: int
    oldest_scrub_s: int | None
    problems: tuple[str, ...]


class RecoveryState(StrEnum):
    """Whether the topology is to be recovered from control's store (REPLICATION.md)."""

    NOT_NEEDED = "not_needed"
    NEEDED = "needed"
    UNDER_WAY = "under_way"  # an operator has said so; the leader publishes everything anew
    IMPOSSIBLE = "impossible"  # the store is the old one, or the coordinator another plane's


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport:
    """Whether store and coordinator belong together, and what a recovery would publish.

    Attributes:
        why: a sentence.
        revision: of the coordinator that answers now.
        recoveries: how many there were, the one under way included.
        sequence: of the store's last change; `shown` is the last that the coordinator has.
        tenants: that the store has, as the next two: what is published.
    """

    state: RecoveryState
    why: str
    revision: int
    recoveries: int
    sequence: int
    shown: int
    tenants: int
    tables: int
    ranges: int


class TopologyRecovery(Protocol):
    """What the admin API asks of control when the coordinator was lost; any process answers.

    All raise Unavailable: the store or the coordinator can't be reached.
    """

    async def report(self) -> RecoveryReport:
        """Compare store and coordinator; nothing is changed."""

    async def order(self, *, actor: str) -> RecoveryReport:
        """Have the topology recovered, by whichever control leads or will; safe to repeat.

        Raises: Refused(CONFLICT): it is not needed, or impossible; nothing was done.
        """


class ClusterReports(Protocol):
    """What the admin API asks of control; any control process answers, and changes what it is told.

    All raise Unavailable: control's store can't be reached.
    """

    async def status(self) -> ClusterStatus:
        """Make the one page."""

    async def nodes(self) -> tuple[ComponentRow, ...]:
        """List the nodes by UUID, removed ones included."""

    async def proxies(self) -> tuple[ComponentRow, ...]:
        """List the proxies by UUID, removed ones included."""

    async def controls(self) -> tuple[ComponentRow, ...]:
        """List the control processes by UUID."""

    async def node(self, uuid: str) -> tuple[ComponentRow, tuple[RangeRow, ...]]:
        """Show a node and the first CONTROL_PAGE_MAX ranges it holds. Raises: Refused: no such."""

    async def placement(
        self,
        *,
        tenant: str | None = None,
        table: str | None = None,
        after: tuple[str, str] | None = None,
    ) -> Placement:
        """Show where the ranges of a table, of a tenant's tables or of all are, a page of them.

        Raises: Refused: there is no such tenant or table.
        """

    async def tasks(
        self, *, state: TaskState | None = None, after: tuple[int, str] | None = None
    ) -> tuple[tuple[TaskRecord, ...], tuple[int, str] | None]:
        """List a page of tasks, those that changed last first. Returns: it, and what continues."""

    async def task(self, task_id: TaskId) -> TaskRecord:
        """Show a task. Raises: Refused: there is none."""

    async def retry_task(self, task_id: TaskId) -> TaskRecord:
        """Have a task begin at once: one that waits, or one that failed. Raises: Refused."""

    async def notices(
        self, *, after: tuple[int, str] | None = None
    ) -> tuple[tuple[NoticeRecord, ...], tuple[int, str] | None]:
        """List a page of notices, the newest first. Returns: it, and what continues."""

    async def set_maintenance(self, node: NodeUuid, *, is_on: bool, actor: str) -> ComponentRow:
        """Give a node nothing new, or new ranges again. Raises: Refused: no such, or removed."""

    async def remove_node(self, node: NodeUuid, *, actor: str) -> ComponentRow:
        """Remove a node for good. Raises: Refused: there is none, or it still has ranges."""

    async def remove_proxy(self, proxy: ProxyUuid, *, actor: str) -> ComponentRow:
        """Remove a proxy for good. Raises: Refused: there is none."""

    async def remove_control(self, control: ControlUuid, *, actor: str) -> ComponentRow:
        """Remove a control process for good: it is listed and dialled no more.

        Raises: Refused: there is none, or it lives. Unavailable: nobody knows whether it does.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRow:
    """A move of a replica, or of a primary's part.

    Attributes:
        why: what it is for; "" if it is under way, and was begun by whoever led then.
        add: the node that gets a replica; "" if none does.
        remove: the node that loses its replica; "" if none does.
        primary: the node that is to be primary; "" if it stays.
        size_bytes: of what is copied; an estimate.
        done_bytes: of them, what is there already; None: it has not begun.
    """

    tenant: str
    table: str
    range_id: str
    low_hash: int
    high_hash: int
    why: str
    add: str = ""
    remove: str = ""
    primary: str = ""
    size_bytes: int = 0
    done_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow:
    """A range that is being split; all hashes are inclusive.

    Attributes:
        at_hash: the lowest of the upper one of both ranges that it becomes.
        low_id, high_id: those.
        why: what for: its size, its heat, or an operator's word.
        begun_at_us: when, wall time in microseconds since 1970.
    """

    tenant: str
    table: str
    range_id: str
    low_hash: int
    high_hash: int
    at_hash: int
    low_id: str
    high_id: str
    why: str
    begun_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePlan:
    """What is moved, and what will be; at most PLAN_CHANGES_MAX of those that have not begun.

    Attributes:
        token: names the plan; see `Placing.apply`.
        is_paused: whether none begins by itself.
        moves: those under way first.
        splits: of ranges, under way.
        following: the tasks that say how far it all is.
    """

    token: str
    is_paused: bool
    moves: tuple[MoveRow, ...]
    splits: tuple[SplitRow, ...] = ()
    following: tuple[TaskRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stoppable:
    """Whether a node may be stopped.

    Attributes:
        is_okay: no range would lose writes or reads by it.
        losing: the ranges that would.
        why: a sentence about one of them; "" if there is none.
        reasons: such a sentence about each of them, REASONS_SHOWN at the most.
    """

    is_okay: bool
    losing: int
    why: str
    reasons: tuple[str, ...] = ()


class Placing(Protocol):
    """What an operator asks and says about moving replicas.

    Methods raise Unavailable: the store, or the topology is not known as it is now; Unknown: it may
    be written down.
    """

    async def plan(self) -> MovePlan:
        """Say what is moved, and what will be."""

    async def apply(self, token: str, *, actor: str) -> TaskId:
        """Carry a plan out that was shown, even while moves are paused. Returns: the task.

        Raises: Refused(CONFLICT): nodes or replicas have changed since, and the plan with them;
            there is nothing to do, or another plan is being carried out.
        """

    async def pause(self, *, is_on: bool, actor: str) -> None:
        """Let no move begin, or let them again; what is under way comes to its end."""

    async def abort(self, *, actor: str) -> int:
        """Let no move begin, and undo those under way as far as they are.

        Replicas that are still learning beyond those that a range promises go again, those that
        were to go stay. What an operator wants split and is not yet, is not; a split that is under
        way can't be undone. Returns: of how many ranges replicas do.
        """

    async def split(self, range_id: RangeId, *, actor: str) -> TaskId:
        """Have a range split in two, where half of its bytes lie below. Returns: the task.

        Raises: Refused(NOT_FOUND): there is no such range.
        """

    async def intend(self, node: NodeUuid, state: ComponentState, *, actor: str) -> TaskId | None:
        """Drain (DRAINING) or decommission a node, or have it stay (ACTIVE).

        Returns: the task that says how far it is; None if the node stays.
        Raises: Refused(NOT_FOUND): there is no such node. Refused(CONFLICT): others could not take
            what it has: a range would fall below its factor, have no primary, or not fit their
            disks; nothing was changed.
        """

    async def discard(self, node: NodeUuid, range_id: RangeId, *, actor: str) -> TaskId:
        """Let a node delete a range that nobody else knows, for good.

        Raises: Refused(NOT_FOUND): there is no such node. Refused(CONFLICT): control knows the
            range, or the node has not told of it.
        """

    async def ok_to_stop(self, node: NodeUuid) -> Stoppable:
        """Say whether all ranges go on without a node. Raises: Refused(NOT_FOUND)."""
