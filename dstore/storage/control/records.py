"""What control keeps, one frozen record a noun; a record is a row, its fields are the columns.

Times are wall time in microseconds since 1970 (`_at_us`). Bytes named `sealed_` are under control's
own key, by the caller (`security.envelope`); digests are of secrets that control never stores.
JSON is text that whoever wrote it reads again: the store does not look inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from dstore.model.hashing import HASH_MAX
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId

NodeUuid = NewType("NodeUuid", str)
ProxyUuid = NewType("ProxyUuid", str)
ControlUuid = NewType("ControlUuid", str)
RangeId = NewType("RangeId", str)
TaskId = NewType("TaskId", str)
JoinTokenId = NewType("JoinTokenId", str)


class ComponentState(StrEnum):
    """The life of a node, a proxy or a control process, as the operator decided it.

    `MAINTENANCE`: serves what it has, is given nothing new. `DRAINING`: a node that is primary of
    nothing, besides. `DECOMMISSIONING`: a node whose replicas go to others, until it has none.
    `REMOVED` is final: its certificate is worth nothing any more, and its UUID never comes back.
    """

    JOINING = "joining"
    ACTIVE = "active"
    MAINTENANCE = "maintenance"
    DRAINING = "draining"
    DECOMMISSIONING = "decommissioning"
    REMOVED = "removed"


class TaskState(StrEnum):
    """The life of a task; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneRecord:
    """The control plane itself; there is one.

    Attributes:
        uuid: stands in every certificate's SAN.
        ca_certificate: PEM.
        sealed_ca_key: the authority's private key.
        sealed_keys: the control plane's own 256-bit keys, a format of the caller's.
        leader_epoch: of the newest leader that wrote here (`planes.act_as_leader`); 0 before.
        recoveries: how often the topology was recovered, the last time maybe not to its end.
        recovered: the last recovery that the coordinator shows.
    """

    uuid: str
    location: str
    ca_certificate: str
    sealed_ca_key: bytes = field(repr=False)
    sealed_keys: bytes = field(repr=False)
    leader_epoch: int = 0
    recoveries: int = 0
    recovered: int = 0
    created_at_us: int

    @property
    def is_recovering(self) -> bool:
        """Whether an operator had the topology recovered and that has not been done yet."""
        return self.recovered < self.recoveries


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRecord:
    """One control process; `uri` is its admin and join listener."""

    uuid: ControlUuid
    uri: str
    state: ComponentState
    certificate_serial: str
    version: str
    joined_at_us: int
    changed_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A data node; `sealed_key` is the (node, control plane) share.

    What changes by itself (load, free space, is it alive) is in etcd, not here.
    """

    uuid: NodeUuid
    zone: str
    uri: str
    state: ComponentState
    sealed_key: bytes = field(repr=False)
    certificate_serial: str
    capacity_bytes: int
    version: str
    joined_at_us: int
    changed_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRecord:
    """A proxy; `sealed_key` is the (proxy, control plane) share."""

    uuid: ProxyUuid
    zone: str
    uri: str
    state: ComponentState
    sealed_key: bytes = field(repr=False)
    certificate_serial: str
    version: str
    joined_at_us: int
    changed_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRecord:
    """A tenant; `uuid` and `sealed_key` are those of (tenant, control plane)."""

    name: str
    uuid: str
    sealed_key: bytes = field(repr=False)
    status: ResourceStatus
    created_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """A table; `definition` is the stored form of `model.tables.TableDefinition`, JSON.

    `base_id`: it is the hidden table of a global index, and of which table; None: a tenant's own.
    """

    tenant: str
    name: str
    table_id: TableId
    definition: str
    status: ResourceStatus
    created_at_us: int
    changed_at_us: int
    base_id: TableId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRecord:
    """A range as control made it. The hash bounds are both inclusive.

    `node` and `epoch` are those that it was made with: who is the primary by now, and in which
    epoch, the value in the coordinator says. Which nodes are to have it, `ReplicaRecord`s do.
    """

    range_id: RangeId
    table_id: TableId
    low_hash: int = 0
    high_hash: int = HASH_MAX
    epoch: int
    node: NodeUuid
    status: ResourceStatus


class HolderState(StrEnum):
    """What control wants of a node's replica of a range.

    `RETIRING`: it counts as any other, until enough others are in sync; then it is taken from the
    range's value. `LEAVING`: the node gives it up once the coordinator names it no more; the row is
    removed when it has. So a row that says so is the evidence on which a node destroys its replica.
    """

    HOLDING = "holding"
    RETIRING = "retiring"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRecord:
    """A node that is to have a replica of a range, as the primary or as another."""

    range_id: RangeId
    node: NodeUuid
    state: HolderState


class SplitWhy(StrEnum):
    """Why a range is split."""

    SIZE = "size"
    HEAT = "heat"
    OPERATOR = "operator"
    UNKNOWN = "unknown"  # the store was put back from before it was written down


class SplitState(StrEnum):
    """How an attempt to split a range is; the last two are final."""

    BEGUN = "begun"
    DONE = "done"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRecord:
    """The newest attempt to split a range (ADR 0018).

    The children draw no keys here: each node draws that of its own file of a child.

    Attributes:
        range_id: the parent.
        epoch: of the parent: nothing can become of the attempt in a later one.
        at_hash: the lowest hash of the upper child.
        low_id, high_id: the children.
        ended_at_us: None while it is begun.
    """

    range_id: RangeId
    table_id: TableId
    epoch: int
    at_hash: int
    low_id: RangeId
    high_id: RangeId
    why: SplitWhy
    state: SplitState
    begun_at_us: int
    ended_at_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyRecord:
    """An access key of a tenant; `sealed_secret` is what signs."""

    id: str
    tenant: str
    sealed_secret: bytes = field(repr=False)
    created_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerRecord:
    """A bearer token's SHA-256; `tenant` is None for the operator's."""

    id: str
    tenant: str | None
    digest: bytes = field(repr=False)
    created_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTokenRecord:
    """A token that admits one component, once.

    Attributes:
        digest: SHA-256 of its secret, 32 bytes.
        role: proxy, node, control or reporting.
        used_at_us: None until it was used; then the three `used_` fields are all there.
        used_by: the UUID of the component that it admitted.
        used_key: fingerprint of the public key that was certified. The same key may ask once more
            before the token expires, since an answer may get lost; any other is refused.
    """

    id: JoinTokenId
    digest: bytes = field(repr=False)
    role: str
    created_at_us: int
    expires_at_us: int
    used_at_us: int | None = None
    used_by: str | None = None
    used_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """Work that takes longer than a request and survives a restart.

    Attributes:
        kind: which work; `subject` is on what, such as a table's RID. One unfinished task per
            (kind, subject).
        parameters: JSON, fixed; `progress` is JSON too, and what a restart goes on from.
        error: the sentence of the last failure, "" if there was none.
        attempts: how often it was begun.
        due_at_us: not to be begun before.
        owner: the control process that runs it; None while it waits.
    """

    id: TaskId
    kind: str
    subject: str
    state: TaskState
    parameters: str
    progress: str
    error: str = ""
    attempts: int = 0
    due_at_us: int
    owner: ControlUuid | None = None
    created_at_us: int
    changed_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRecord:
    """What a node told control; `node` and `at_us` are its key, as in etcd; `details` is JSON."""

    node: NodeUuid
    at_us: int
    kind: str
    details: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What somebody did: `actor` (a credential's public id, a component) did `action` to `subject`.

    `result` is a word such as done or refused; `details` is JSON without secrets.
    """

    at_us: int
    actor: str
    action: str
    subject: str
    result: str
    details: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """An entry in its place: numbered from 1 without gaps; `digest` chains it to the one before."""

    sequence: int
    entry: AuditEntry
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A write to etcd that follows from a transaction; see `outbox`.

    Attributes:
        value: None deletes the key.
        mod_revision: what the key's must be for the write to happen, 0 for an absent key; None
            writes in any case, as control may to keys that nobody else writes.
    """

    key: str
    value: bytes | None
    mod_revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRecord:
    """A publication that waits: `sequence` grows in the order of commits, from 1, without gaps.

    `batch` is the sequence of the first publication of those appended together: they become visible
    in etcd together.
    """

    sequence: int
    batch: int
    publication: Publication
