"""Builders of control's records: what a test does not say has a plain value."""

from __future__ import annotations

from typing import Final

from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId
from dstore.storage.control.records import (
    AccessKeyRecord,
    BearerRecord,
    ComponentState,
    ControlPlaneRecord,
    ControlRecord,
    ControlUuid,
    JoinTokenId,
    JoinTokenRecord,
    NodeRecord,
    NodeUuid,
    ProxyRecord,
    ProxyUuid,
    RangeId,
    RangeRecord,
    TableRecord,
    TaskId,
    TaskRecord,
    TaskState,
    TenantRecord,
)

NOW_US: Final = 1_700_000_000_000_000
SEALED: Final = b"\x01sealed\x00\xff"


def plane(uuid: str = "plane-1") -> ControlPlaneRecord:
    return ControlPlaneRecord(
        uuid=uuid,
        location="NA",
        ca_certificate="-----BEGIN CERTIFICATE-----",
        sealed_ca_key=SEALED,
        sealed_keys=SEALED,
        created_at_us=NOW_US,
    )


def control(uuid: str = "control-1") -> ControlRecord:
    return ControlRecord(
        uuid=ControlUuid(uuid),
        uri="https://127.0.0.1:8002/",
        state=ComponentState.ACTIVE,
        certificate_serial="0a1b",
        version="0.1.0",
        joined_at_us=NOW_US,
        changed_at_us=NOW_US,
    )


def node(uuid: str = "node-1", *, state: ComponentState = ComponentState.ACTIVE) -> NodeRecord:
    return NodeRecord(
        uuid=NodeUuid(uuid),
        zone="a",
        uri="https://127.0.0.1:8001/",
        state=state,
        sealed_key=SEALED,
        certificate_serial="0a1b",
        capacity_bytes=1 << 40,
        version="0.1.0",
        joined_at_us=NOW_US,
        changed_at_us=NOW_US,
    )


def proxy(uuid: str = "proxy-1") -> ProxyRecord:
    return ProxyRecord(
        uuid=ProxyUuid(uuid),
        zone="a",
        uri="https://127.0.0.1:8001/",
        state=ComponentState.ACTIVE,
        sealed_key=SEALED,
        certificate_serial="0a1b",
        version="0.1.0",
        joined_at_us=NOW_US,
        changed_at_us=NOW_US,
    )


def tenant(name: str = "acme") -> TenantRecord:
    return TenantRecord(
        name=name,
        uuid=f"uuid-of-{name}",
        sealed_key=SEALED,
        status=ResourceStatus.ACTIVE,
        created_at_us=NOW_US,
    )


def table(name: str = "orders", *, tenant: str = "acme") -> TableRecord:
    return TableRecord(
        tenant=tenant,
        name=name,
        table_id=TableId(f"id-of-{tenant}-{name}"),
        definition='{"format":1}',
        status=ResourceStatus.CREATING,
        created_at_us=NOW_US,
        changed_at_us=NOW_US,
    )


def whole_range(of: TableRecord, *, node: str = "node-1") -> RangeRecord:
    return RangeRecord(
        range_id=RangeId(f"range-of-{of.table_id}"),
        table_id=of.table_id,
        epoch=1,
        node=NodeUuid(node),
        status=ResourceStatus.ACTIVE,
    )


def access_key(key_id: str = "DSAK0000000000000001", *, tenant: str = "acme") -> AccessKeyRecord:
    return AccessKeyRecord(id=key_id, tenant=tenant, sealed_secret=SEALED, created_at_us=NOW_US)


def bearer(token_id: str = "aaaaaaaaaaaa", *, tenant: str | None = "acme") -> BearerRecord:
    return BearerRecord(id=token_id, tenant=tenant, digest=bytes(32), created_at_us=NOW_US)


def join_token(token_id: str = "token-1", *, lives_us: int = 60_000_000) -> JoinTokenRecord:
    return JoinTokenRecord(
        id=JoinTokenId(token_id),
        digest=bytes(32),
        role="node",
        created_at_us=NOW_US,
        expires_at_us=NOW_US + lives_us,
    )


def task(task_id: str = "task-1", *, kind: str = "place", subject: str = "orders") -> TaskRecord:
    return TaskRecord(
        id=TaskId(task_id),
        kind=kind,
        subject=subject,
        state=TaskState.QUEUED,
        parameters="{}",
        progress="{}",
        due_at_us=NOW_US,
        created_at_us=NOW_US,
        changed_at_us=NOW_US,
    )
