"""Control as the admin API sees it, without a store: what it is asked is remembered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from dstore.api.admin.door import TokenDoor
from dstore.api.admin.routes import ControlAdmin, control_routes
from dstore.api.admin.status import Report
from dstore.base.clock import SystemClock
from dstore.base.limits import JOIN_TOKEN_LIFE_S
from dstore.base.metrics import create_metrics
from dstore.model.errors import RefusalKind, Refused
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId
from dstore.security.identity import ComponentRole
from dstore.security.join_tokens import new_join_token
from dstore.service.access import Principal, unauthenticated
from dstore.service.control.admission import TokenMade
from dstore.service.control.status import (
    ClusterStatus,
    ComponentRow,
    Health,
    MovePlan,
    MoveRow,
    Placement,
    RangeCounts,
    RangeRow,
    RecoveryReport,
    RecoveryState,
    ReplicaRow,
    SplitRow,
    Stoppable,
    TableRow,
    TopologyReport,
)
from dstore.storage.control.records import (
    BearerRecord,
    ComponentState,
    ControlUuid,
    JoinTokenId,
    JoinTokenRecord,
    NodeUuid,
    NoticeRecord,
    ProxyUuid,
    RangeId,
    TaskId,
    TaskRecord,
    TaskState,
)
from tests.support.entropy import SeededEntropy
from tests.unit.api.admin.fake_losing import FakeLosing
from tests.unit.api.admin.fake_rebuilding import FakeRebuilding
from tests.unit.api.admin.fake_scrubbing import FakeScrubbing
from tests.unit.api.http.serving import Reply, served

PLANE = "00000000-0000-4000-8000-0000000000aa"
CONTROL = "00000000-0000-4000-8000-0000000000c1"
NODE = "00000000-0000-4000-8000-000000000001"
PROXY = "00000000-0000-4000-8000-0000000000f1"
OPERATOR = "operator"
TENANT_TOKEN = "tenant"


def a_row(role: ComponentRole, uuid: str, **changes: Any) -> ComponentRow:
    """A component that is well."""
    row = ComponentRow(
        role=role,
        uuid=uuid,
        zone="rack-1",
        uri="https://10.0.0.1:8001",
        api_uri="",
        version="0.1.0",
        state=ComponentState.ACTIVE,
        health=Health.OKAY,
        why="",
        joined_at_us=1_000_000,
        ranges=2 if role is ComponentRole.NODE else 0,
        primaries=1 if role is ComponentRole.NODE else 0,
    )
    return replace(row, **changes)


A_RANGE = RangeRow(
    tenant="acme",
    table="orders",
    range_id="00000000-0000-4000-8000-0000000000e1",
    low_hash=0,
    high_hash=4_294_967_295,
    epoch=1,
    node=NODE,
    uri="https://10.0.0.1:8001",
    held="okay",
    why="",
    factor=1,
    min_in_sync=1,
    replicas=(ReplicaRow(node=NODE, state="in_sync", held="okay", is_alive=True),),
    stored_bytes=4_096,
    requests_per_s=30,
)
A_TABLE = TableRow(
    tenant="acme",
    name="orders",
    table_id=TableId("00000000-0000-4000-8000-0000000000d1"),
    status=ResourceStatus.ACTIVE,
    created_at_us=0,
    range_count=1,
    why="",
)

A_TASK = TaskRecord(
    id=TaskId("00000000-0000-4000-8000-000000000071"),
    kind="delete_table",
    subject="rid:dStore:acme:NA:table:orders",
    state=TaskState.QUEUED,
    parameters="{}",
    progress='{"nodes": 1}',
    error="A node did not answer.",
    attempts=2,
    due_at_us=5_000_000,
    created_at_us=1_000_000,
    changed_at_us=2_000_000,
)

A_STATUS = ClusterStatus(
    control_plane=PLANE,
    location="EU",
    leader=CONTROL,
    components=(a_row(ComponentRole.CONTROL, CONTROL, is_leader=True),),
    tenant_count=1,
    tables={ResourceStatus.ACTIVE: 1},
    indexes={ResourceStatus.ACTIVE: 1, ResourceStatus.UPDATING: 1},
    ranges=RangeCounts(total=1, unavailable=0, read_only=0, under_replicated=0, possible_loss=0),
    failures_survivable=0,
    failures_without_loss=0,
    sentence="0 node failures survivable.",
    topology=TopologyReport(
        state="live",
        sentence="The topology is that of revision 7.",
        revision=7,
        cluster_id="c",
        problem_count=0,
        problems=(),
        waiting_writes=0,
    ),
    unfinished_tasks=1,
    recent_notices=0,
    oldest_scrub_s=90_000,
    problems=(),
)


A_RECOVERY = RecoveryReport(
    state=RecoveryState.NEEDED,
    why="The coordinator is empty.",
    revision=1,
    recoveries=2,
    sequence=40,
    shown=0,
    tenants=1,
    tables=2,
    ranges=6,
)


@dataclass(slots=True, kw_only=True)
class FakeReports:
    """What control knows; `asked` is what was asked of it."""

    status_now: ClusterStatus = A_STATUS
    asked: list[Any] = field(default_factory=list)

    async def status(self) -> ClusterStatus:
        return self.status_now

    async def nodes(self) -> tuple[ComponentRow, ...]:
        return (a_row(ComponentRole.NODE, NODE),)

    async def proxies(self) -> tuple[ComponentRow, ...]:
        return (a_row(ComponentRole.PROXY, PROXY),)

    async def controls(self) -> tuple[ComponentRow, ...]:
        return self.status_now.components

    async def node(self, uuid: str) -> tuple[ComponentRow, tuple[RangeRow, ...]]:
        _known(uuid, NODE)
        return a_row(ComponentRole.NODE, NODE), (A_RANGE,)

    async def placement(
        self,
        *,
        tenant: str | None = None,
        table: str | None = None,
        after: tuple[str, str] | None = None,
    ) -> Placement:
        self.asked.append((tenant, table, after))
        return Placement(tables=(A_TABLE,), ranges=(A_RANGE,), after=("acme", "orders"))

    async def tasks(
        self, *, state: TaskState | None = None, after: tuple[int, str] | None = None
    ) -> tuple[tuple[TaskRecord, ...], tuple[int, str] | None]:
        self.asked.append((state, after))
        return (A_TASK,), (A_TASK.changed_at_us, A_TASK.id)

    async def task(self, task_id: TaskId) -> TaskRecord:
        _known(task_id, A_TASK.id)
        return A_TASK

    async def retry_task(self, task_id: TaskId) -> TaskRecord:
        _known(task_id, A_TASK.id)
        self.asked.append(("retry", task_id))
        return A_TASK

    async def notices(
        self, *, after: tuple[int, str] | None = None
    ) -> tuple[tuple[NoticeRecord, ...], tuple[int, str] | None]:
        self.asked.append(after)
        notice = NoticeRecord(node=NodeUuid(NODE), at_us=0, kind="disk_low", details="no JSON")
        return (notice,), None

    async def set_maintenance(self, node: NodeUuid, *, is_on: bool, actor: str) -> ComponentRow:
        _known(node, NODE)
        self.asked.append(("maintenance", node, is_on, actor))
        state = ComponentState.MAINTENANCE if is_on else ComponentState.ACTIVE
        return a_row(ComponentRole.NODE, NODE, state=state)

    async def remove_node(self, node: NodeUuid, *, actor: str) -> ComponentRow:
        _known(node, NODE)
        self.asked.append(("remove", node, actor))
        return a_row(ComponentRole.NODE, NODE, state=ComponentState.REMOVED)

    async def remove_proxy(self, proxy: ProxyUuid, *, actor: str) -> ComponentRow:
        _known(proxy, PROXY)
        self.asked.append(("remove", proxy, actor))
        return a_row(ComponentRole.PROXY, PROXY, state=ComponentState.REMOVED)

    async def remove_control(self, control: ControlUuid, *, actor: str) -> ComponentRow:
        _known(control, CONTROL)
        self.asked.append(("remove", control, actor))
        return a_row(ComponentRole.CONTROL, CONTROL, state=ComponentState.REMOVED)

    async def report(self) -> RecoveryReport:
        return A_RECOVERY

    async def order(self, *, actor: str) -> RecoveryReport:
        self.asked.append(("recover", actor))
        return replace(A_RECOVERY, state=RecoveryState.UNDER_WAY, recoveries=3)


@dataclass(slots=True, kw_only=True)
class FakePlacing:
    """Moves one replica; `asked` is what was asked of it."""

    asked: list[Any] = field(default_factory=list)
    splits: tuple[SplitRow, ...] = ()

    async def plan(self) -> MovePlan:
        return MovePlan(
            token="abc", is_paused=False, moves=(A_MOVE,), splits=self.splits, following=(A_TASK,)
        )

    async def apply(self, token: str, *, actor: str) -> TaskId:
        self.asked.append(("apply", token, actor))
        return A_TASK.id

    async def pause(self, *, is_on: bool, actor: str) -> None:
        self.asked.append(("pause", is_on, actor))

    async def split(self, range_id: RangeId, *, actor: str) -> TaskId:
        self.asked.append(("split", range_id, actor))
        return TaskId("split_range-1")

    async def abort(self, *, actor: str) -> int:
        self.asked.append(("abort", actor))
        return 2

    async def intend(self, node: NodeUuid, state: ComponentState, *, actor: str) -> TaskId | None:
        _known(node, NODE)
        self.asked.append((node, state, actor))
        return None if state is ComponentState.ACTIVE else A_TASK.id

    async def discard(self, node: NodeUuid, range_id: RangeId, *, actor: str) -> TaskId:
        _known(node, NODE)
        self.asked.append(("discard", node, range_id, actor))
        return A_TASK.id

    async def ok_to_stop(self, node: NodeUuid) -> Stoppable:
        _known(node, NODE)
        why = "A range needs it."
        return Stoppable(is_okay=False, losing=1, why=why, reasons=(why,))


A_MOVE = MoveRow(
    tenant="acme",
    table="orders",
    range_id=A_RANGE.range_id,
    low_hash=0,
    high_hash=4_294_967_295,
    why="",
    add=NODE,
    size_bytes=100,
    done_bytes=50,
)


def _known(given: str, known: str) -> None:
    if given != known:
        raise Refused(RefusalKind.NOT_FOUND, "There is no such thing.")


@dataclass(slots=True, kw_only=True)
class FakeJoinTokens:
    """Tokens that admit nobody."""

    made: list[tuple[TokenMade, str]] = field(default_factory=list)
    revoked: list[tuple[str, str]] = field(default_factory=list)
    clock: SystemClock = field(default_factory=SystemClock)

    async def create(
        self, role: ComponentRole, *, life_s: int = JOIN_TOKEN_LIFE_S, actor: str
    ) -> TokenMade:
        token = new_join_token(
            control_plane=PLANE,
            role=role,
            fingerprint="0" * 64,
            addresses=("10.0.0.1:8001",),
            now_us=self.clock.wall_us(),
            entropy=SeededEntropy(Random(1)),
            life_s=life_s,
        )
        record = JoinTokenRecord(
            id=JoinTokenId(token.token_id),
            digest=token.digest(),
            role=role,
            created_at_us=0,
            expires_at_us=token.expires_at_us,
        )
        made = TokenMade(record=record, text=token.text())
        self.made.append((made, actor))
        return made

    async def page(
        self, *, after: str | None = None
    ) -> tuple[Sequence[JoinTokenRecord], str | None]:
        assert after in {None, "c"}
        now_us = self.clock.wall_us()
        open_one = JoinTokenRecord(
            id=JoinTokenId("a"),
            digest=b"",
            role="node",
            created_at_us=0,
            expires_at_us=now_us + 60_000_000,
        )
        used = replace(
            open_one, id=JoinTokenId("b"), used_at_us=1, used_by=NODE, used_key="fingerprint"
        )
        over = replace(open_one, id=JoinTokenId("c"), expires_at_us=1)
        return ((open_one, used, over), "c") if after is None else ((), None)

    async def revoke(self, token_id: str, *, actor: str) -> None:
        self.revoked.append((token_id, actor))


class FakeCredentials:
    """One token; no tenant but acme."""

    def __init__(self) -> None:
        self.actors: list[str] = []

    async def access_keys(self, tenant: str) -> Sequence[BearerRecord]:
        _known(tenant, "acme")
        return ()

    async def create_access_key(self, tenant: str, *, actor: str) -> tuple[BearerRecord, str]:
        _known(tenant, "acme")
        self.actors.append(actor)
        return BearerRecord(id="DSAK", tenant=tenant, digest=b"", created_at_us=0), "secret"

    async def import_access_key(
        self,
        tenant: str,
        key_id: str,
        secret: str,
        *,
        actor: str,
    ) -> BearerRecord:
        _known(tenant, "acme")
        assert secret
        self.actors.append(actor)
        return BearerRecord(id=key_id, tenant=tenant, digest=b"", created_at_us=0)

    async def delete_access_key(self, tenant: str, key_id: str, *, actor: str) -> None:
        _known(tenant, "acme")
        _known(key_id, "DSAK")
        self.actors.append(actor)

    async def tokens(self, tenant: str | None) -> Sequence[BearerRecord]:
        return (BearerRecord(id="t", tenant=tenant, digest=b"", created_at_us=0),)

    async def create_token(self, tenant: str | None, *, actor: str) -> tuple[BearerRecord, str]:
        self.actors.append(actor)
        return BearerRecord(id="t", tenant=tenant, digest=b"", created_at_us=0), "text"

    async def delete_token(self, tenant: str | None, token_id: str, *, actor: str) -> None:
        _known(tenant or "acme", "acme")
        _known(token_id, "t")
        self.actors.append(actor)


async def bearer(authorization: str) -> Principal:
    """Know two tokens: the operator's and a tenant's."""
    match authorization.split(" ", 1)[1]:
        case "operator":
            return Principal(tenant=None, credential="op-1")
        case "tenant":
            return Principal(tenant="acme", credential="t-1")
        case _:
            raise unauthenticated("The token is not valid here.")


class FakeControl:
    """The admin API over the fakes, behind a real listener."""

    def __init__(self) -> None:
        self.reports = FakeReports()
        self.join_tokens = FakeJoinTokens()
        self.credentials = FakeCredentials()
        self.placing = FakePlacing()
        self.losing = FakeLosing(A_RANGE.range_id)
        self.scrubbing = FakeScrubbing(NODE, PROXY)
        self.rebuilding = FakeRebuilding()
        self._ask: Any = None

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[FakeControl]:
        admin = ControlAdmin(
            process=CONTROL,
            location="EU",
            door=TokenDoor(bearer),
            credentials=self.credentials,
            join_tokens=self.join_tokens,
            reports=self.reports,
            placing=self.placing,
            losing=self.losing,
            recovery=self.reports,
            scrubbing=self.scrubbing,
            rebuilding=self.rebuilding,
        )
        report = Report(roles=("control",), started_at_us=0, clock=SystemClock())
        routes = control_routes(admin, report=report, metrics=create_metrics())
        async with served(routes) as listening:
            self._ask = listening.ask
            yield self

    async def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = OPERATOR
    ) -> Reply:
        """Send a request and return what came back."""
        head = [f"{method} {path} HTTP/1.1"]
        if token is not None:
            head.append(f"Authorization: Bearer {token}")
        sent = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(sent)}"]
        reply: Reply = await self._ask("\n".join(head), sent)
        return reply
