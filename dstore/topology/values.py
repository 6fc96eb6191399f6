"""Every value of the coordinator: one struct for each kind of key, JSON, checked when it is read.

SPEC.md's fields keep their names; fields that are added later are ignored by those who do not know
them, so that processes of two versions read each other. A value that does not parse, or that cannot
be true, is `Malformed`: whoever reads it keeps the last good one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Final, overload

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from dstore.base.feature_limits import FEATURES_MAX
from dstore.base.limits import (
    COORDINATOR_REQUEST_BYTES_MAX,
    LOG_TEXT_CHARS_MAX,
    NOTICE_DETAILS_CHARS_MAX,
    RANGE_REPLICAS_MAX,
    TOPOLOGY_REPLICA_SETS_SHARED,
    URI_CHARS_MAX,
)
from dstore.model.errors import DStoreError
from dstore.model.hashing import HASH_MAX
from dstore.model.replication import majority
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import (
    StoredSchema,
    definition_from,
    schema_of,
    shared_settings,
)
from dstore.model.table_settings import NO_SETTINGS, TableSettings
from dstore.model.tables import TableDefinition, TableId
from dstore.security.identity import UUID_FORM
from dstore.topology import keyspace as keys

NO_INCARNATION: Final = "00000000-0000-0000-0000-000000000000"
"""Of a replica that was published while nobody knew which disk its node has; control learns it."""
UNSETTLED: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""The disk of every replica of a range of which nobody knows yet who is in sync: of no node."""

_URI_FORM: Final = r"^[a-z][a-z0-9+.-]*://[^\s]+\Z"
Uuid = Annotated[str, Meta(pattern=rf"^{UUID_FORM}\Z")]
Uri = Annotated[str, Meta(pattern=_URI_FORM, max_length=URI_CHARS_MAX)]
# Of placements, the most numerous values: their form is checked by `_placement_complaint`.
_RawUuid = Annotated[str, Meta(min_length=36, max_length=36)]
_RawUri = Annotated[str, Meta(max_length=URI_CHARS_MAX)]
Hash = Annotated[int, Meta(ge=0, le=HASH_MAX)]
Count = Annotated[int, Meta(ge=0)]
Epoch = Annotated[int, Meta(ge=1)]
Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*\Z", max_length=64)]
Label = Annotated[str, Meta(max_length=128)]


class Malformed(DStoreError):
    """A value is not what its key should hold; `why` quotes no more of it than a field's name."""

    def __init__(self, path: str, why: str) -> None:
        """Name the key and what is wrong there."""
        why = why[:LOG_TEXT_CHARS_MAX]
        super().__init__(f"The value of {path} is malformed: {why}")
        self.path = path
        self.why = why


class ComponentStatus(StrEnum):
    """How a component says it is."""

    OKAY = "okay"
    STARTING = "starting"
    LOCKED = "locked"  # it waits for control's share of its keys
    NO_SPACE = "no_space"  # it reads and does not write
    DRAINING = "draining"  # it is about to stop
    FAILING = "failing"


class RangeState(StrEnum):
    """Whether everything acknowledged is known to be in a range."""

    OKAY = "okay"
    POSSIBLE_LOSS = "possible_loss"  # an operator chose it so (RELIABILITY.md, B10)


class ReplicaState(StrEnum):
    """Whether a replica holds every acknowledged write."""

    IN_SYNC = "in_sync"
    LEARNER = "learner"


class HeldStatus(StrEnum):
    """How a node's part of a table is."""

    OKAY = "okay"
    OPENING = "opening"
    LOCKED = "locked"
    NO_SPACE = "no_space"
    DAMAGED = "damaged"


class _Value(Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """What all values share."""


class Details(_Value, frozen=True, kw_only=True, gc=False):
    """Of `…/details`, written on change only; `uri` is the peer listener's.

    `apiUri` is where clients reach it, if they do. A node's `freeBytes` and `loadPercent` are
    rounded by it, so that the key is not written all the time. `features` are a node's, words of
    `model.features`, maybe of a later version; one of before there were any says none.
    """

    status: ComponentStatus
    uri: Uri
    api_uri: Uri | None = None
    zone: Label = ""
    version: Label = ""
    started_at_us: Count = 0
    free_bytes: Count = 0
    capacity_bytes: Count = 0
    load_percent: Count = 0
    features: Annotated[tuple[Label, ...], Meta(max_length=FEATURES_MAX)] = ()


class Alive(_Value, frozen=True, kw_only=True, gc=False):
    """Of `…/alive`: which life of the component holds the lease.

    `session` is drawn anew at each start, so that two processes with one UUID tell each other
    apart; `boot` is a node's boot number, 0 for the others.
    """

    session: Uuid
    boot: Count = 0


class NodeBoot(_Value, frozen=True, kw_only=True, gc=False):
    """Of `node/{uuid}/boot`: the last counted start of a node (REPLICATION.md, identity).

    `marks` counts on while that run goes on, and at its end.
    """

    number: Epoch
    nonce: Label
    incarnation: Uuid
    marks: Count = 0

    @property
    def order(self) -> tuple[int, int]:
        """What is higher in whatever was counted later."""
        return self.number, self.marks

    def is_of_run(self, other: NodeBoot) -> bool:
        """Tell whether both are of one run of one process."""
        return (self.number, self.nonce) == (other.number, other.nonce)


class HeldRange(_Value, frozen=True, kw_only=True, gc=False):
    """A range that a node is to hold; both hashes are inclusive."""

    low_hash: Hash
    high_hash: Hash
    range_id: Uuid


class NodeRanges(_Value, frozen=True, kw_only=True, gc=False):
    """Of `node/…/hash`: SPEC.md's two fields are those of the first range."""

    low_hash: Hash
    high_hash: Hash
    table_id: Uuid
    ranges: Annotated[tuple[HeldRange, ...], Meta(min_length=1)]


class HeldIndex(_Value, frozen=True, kw_only=True, gc=False):
    """What a local index has in one range of its table; the bytes are those of its rows."""

    name: str
    entries: Count = 0
    stored_bytes: Count = 0


class HeldReport(_Value, frozen=True, kw_only=True, gc=False):
    """How one range of a table is on a node; quantities are estimates.

    `requests_per_s` are those that the node was asked itself, rounded (`service.range_heat`).
    `scrubbedAtUs` is when its replicas were last read whole and compared, as far as is known.
    """

    range_id: Uuid
    status: HeldStatus
    entries: Count = 0
    stored_bytes: Count = 0
    requests_per_s: Count = 0
    scrubbed_at_us: Count = 0
    local_indexes: tuple[HeldIndex, ...] = ()


class NodeTableDetails(_Value, frozen=True, kw_only=True, gc=False):
    """Of `node/…/{tenantResource}/details`: the worst status among `ranges`, and each."""

    status: HeldStatus
    ranges: tuple[HeldReport, ...] = ()


class Replica(_Value, frozen=True, kw_only=True, gc=False):
    """One copy of a range: (node, disk incarnation), and where its peer listener is."""

    node: _RawUuid
    incarnation: _RawUuid
    uri: _RawUri
    state: ReplicaState


class RangePlacement(_Value, frozen=True, kw_only=True, gc=False):
    """Of `tenant/{tenant}/{tenantResource}/{lowHash}`: who has a range; `node` is its primary.

    `status` is the life of the range in control's hands, `state` what is known of its content.
    `factor` is how many replicas the range should have.
    """

    node: _RawUuid
    high_hash: Hash
    uri: _RawUri
    table_id: _RawUuid
    range_id: _RawUuid
    epoch: Epoch
    replicas: Annotated[tuple[Replica, ...], Meta(min_length=1, max_length=RANGE_REPLICAS_MAX)]
    status: ResourceStatus = ResourceStatus.ACTIVE
    state: RangeState = RangeState.OKAY
    factor: Annotated[int, Meta(ge=1, le=RANGE_REPLICAS_MAX)] = 1

    @property
    def in_sync(self) -> tuple[Replica, ...]:
        """The replicas that hold every acknowledged write, the primary among them."""
        return tuple(each for each in self.replicas if each.state is ReplicaState.IN_SYNC)

    @property
    def is_settled(self) -> bool:
        """Whether it is known who is in sync; until then nobody may open the range."""
        return self.replicas[0].incarnation != UNSETTLED

    @property
    def min_in_sync(self) -> int:
        """So many must hold a write before it is acknowledged: a majority of the factor."""
        return majority(self.factor)


class TenantValue(_Value, frozen=True, kw_only=True, gc=False):
    """Of `tenant/{tenant}`; `uuid` is that of (tenant, control plane)."""

    uuid: Uuid
    status: ResourceStatus = ResourceStatus.ACTIVE
    created_at_us: Count = 0


class TableValue(_Value, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Of `table/{tenant}/{tenantResource}`; `settings` is left out by a table that has none."""

    table_id: Uuid
    schema: StoredSchema
    settings: TableSettings = NO_SETTINGS
    status: ResourceStatus

    @classmethod
    def of(cls, definition: TableDefinition, status: ResourceStatus) -> TableValue:
        """Make the value of a table."""
        return cls(
            table_id=definition.table_id,
            schema=schema_of(definition),
            settings=shared_settings(definition.settings),
            status=status,
        )

    def definition(self, path: keys.TablePath) -> TableDefinition:
        """Put the table's definition together. Raises: Malformed: a later format."""
        try:
            return definition_from(
                self.schema,
                self.settings,
                tenant=path.tenant,
                name=path.table,
                table_id=TableId(self.table_id),
            )
        except ValueError as error:
            raise Malformed(path.path, str(error)) from None


class Notice(_Value, frozen=True, kw_only=True, gc=False):
    """Of `notice/{uuid}/{timestamp}`: what a component tells control, in a sentence."""

    details: Annotated[str, Meta(max_length=NOTICE_DETAILS_CHARS_MAX)]
    kind: Word = "other"


class Leader(_Value, frozen=True, kw_only=True, gc=False):
    """Of `control/leader`: the control process that leads."""

    control: Uuid
    uri: Uri


class Plane(_Value, frozen=True, kw_only=True, gc=False):
    """Of `control/plane`: the control plane that the coordinator belongs to.

    `recoveries` counts how often an operator had the topology recovered into a coordinator that
    was empty or older than what had been seen; `sequence` is that of the last write of control's
    that was in the store then (`Published`).
    """

    control_plane: Uuid
    recoveries: Count = 0
    sequence: Count = 0


class Published(_Value, frozen=True, kw_only=True, gc=False):
    """Of `control/published`: the sequence of the last write of control's that is here."""

    sequence: Count


Value = (
    Details
    | Alive
    | NodeBoot
    | NodeRanges
    | NodeTableDetails
    | RangePlacement
    | TenantValue
    | TableValue
    | Notice
    | Leader
    | Plane
    | Published
)

_TYPE_OF: Final[dict[type[keys.Path], type[Value]]] = {
    keys.DetailsPath: Details,
    keys.AlivePath: Alive,
    keys.NodeBootPath: NodeBoot,
    keys.NodeRangesPath: NodeRanges,
    keys.NodeTablePath: NodeTableDetails,
    keys.TenantPath: TenantValue,
    keys.RangePath: RangePlacement,
    keys.TablePath: TableValue,
    keys.NoticePath: Notice,
    keys.LeaderPath: Leader,
    keys.PlanePath: Plane,
    keys.PublishedPath: Published,
}
_DECODERS: Final[dict[type[keys.Path], msgspec.json.Decoder[Any]]] = {
    path: msgspec.json.Decoder(value) for path, value in _TYPE_OF.items()
}
_encoder: Final = msgspec.json.Encoder()
_TWO_UUIDS: Final = re.compile(UUID_FORM * 2)  # each has 36 characters, as the decoder has checked
_URI: Final = re.compile(_URI_FORM)
# Sets of replicas that were checked, each once: ranges by the hundred thousand lie on few nodes.
_shared_replicas: Final[dict[tuple[Replica, ...], tuple[Replica, ...]]] = {}


def encode(value: Value) -> bytes:
    """Write a value, at most COORDINATOR_REQUEST_BYTES_MAX bytes; whoever makes one checks it."""
    return _encoder.encode(value)


@overload
def decode(path: keys.DetailsPath, encoded: bytes) -> Details: ...
@overload
def decode(path: keys.AlivePath, encoded: bytes) -> Alive: ...
@overload
def decode(path: keys.NodeBootPath, encoded: bytes) -> NodeBoot: ...
@overload
def decode(path: keys.NodeRangesPath, encoded: bytes) -> NodeRanges: ...
@overload
def decode(path: keys.NodeTablePath, encoded: bytes) -> NodeTableDetails: ...
@overload
def decode(path: keys.TenantPath, encoded: bytes) -> TenantValue: ...
@overload
def decode(path: keys.RangePath, encoded: bytes) -> RangePlacement: ...
@overload
def decode(path: keys.TablePath, encoded: bytes) -> TableValue: ...
@overload
def decode(path: keys.NoticePath, encoded: bytes) -> Notice: ...
@overload
def decode(path: keys.LeaderPath, encoded: bytes) -> Leader: ...
@overload
def decode(path: keys.PlanePath, encoded: bytes) -> Plane: ...
@overload
def decode(path: keys.PublishedPath, encoded: bytes) -> Published: ...


def decode(path: keys.Path, encoded: bytes) -> Value:
    """Read the value of a key and check that it can be true.

    Raises: Malformed: it is not JSON, lacks a field, has one of another type or out of bounds, or
        contradicts itself or its key.
    Cost: 1 to 5 µs.
    """
    if len(encoded) > COORDINATOR_REQUEST_BYTES_MAX:
        raise Malformed(path.path, f"it has {len(encoded)} bytes")
    try:
        value: Value = _DECODERS[type(path)].decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(path.path, str(error)) from None
    complaint = _complaint(path, value)
    if complaint is not None:
        raise Malformed(path.path, complaint)
    return value


def _complaint(path: keys.Path, value: Value) -> str | None:
    match path, value:
        case keys.RangePath(low_hash=low), RangePlacement():
            return _placement_complaint(low, value)
        case _, NodeRanges():
            return _held_complaint(value)
        case _:
            return None


def _placement_complaint(low: int, value: RangePlacement) -> str | None:
    if low > value.high_hash:
        return f"highHash {value.high_hash} is below {low}, where the range begins"
    if _TWO_UUIDS.fullmatch(value.table_id + value.range_id) is None:
        return "tableId or rangeId is no UUID"
    replicas = _shared_replicas.get(value.replicas)
    if replicas is None:
        complaint = _replicas_complaint(value.replicas)
        if complaint is not None:
            return complaint
        if len(_shared_replicas) >= TOPOLOGY_REPLICA_SETS_SHARED:
            _shared_replicas.clear()
        replicas = _shared_replicas[value.replicas] = value.replicas
    for replica in replicas:
        if replica.node == value.node:
            if replica.state is not ReplicaState.IN_SYNC:
                return "the primary is not in sync"
            if replica.uri != value.uri:
                return "the primary has two URIs"
            _share(value, replicas, replica)
            return None
    return "the primary is not among the replicas"


def _share(value: RangePlacement, replicas: tuple[Replica, ...], primary: Replica) -> None:
    """Let a placement hold the texts that others hold: equal ones, and nobody else has it yet."""
    force_setattr(value, "replicas", replicas)
    force_setattr(value, "node", primary.node)
    force_setattr(value, "uri", primary.uri)


def _replicas_complaint(replicas: tuple[Replica, ...]) -> str | None:
    if len({replica.node for replica in replicas}) < len(replicas):
        return "a node is named twice among the replicas"
    for replica in replicas:
        if _TWO_UUIDS.fullmatch(replica.node + replica.incarnation) is None:
            return "a replica's node or incarnation is no UUID"
        if _URI.match(replica.uri) is None:
            return "a replica's uri is no URI"
    return None


def _held_complaint(value: NodeRanges) -> str | None:
    first = value.ranges[0]
    if (first.low_hash, first.high_hash) != (value.low_hash, value.high_hash):
        return "lowHash and highHash are not those of the first range"
    return _order_complaint(value.ranges)


def _order_complaint(held: Sequence[HeldRange]) -> str | None:
    if any(each.low_hash > each.high_hash for each in held):
        return "a range ends below its beginning"
    if any(former.high_hash >= latter.low_hash for former, latter in pairwise(held)):
        return "the ranges overlap or are not in order"
    return None
