"""Builders of the coordinator's keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from dstore.model.hashing import HASH_MAX, KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.table_settings import NO_SETTINGS, TableSettings
from dstore.model.tables import Door, KeyAttribute, TableDefinition, TableId
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Event, KeyValue, Revision
from dstore.topology.fold import Fold
from dstore.topology.view import TopologyView, contents

HALF = HASH_MAX // 2


def uuid(number: int) -> str:
    """Make the same UUID from the same number."""
    return str(UUID(int=number, version=4))


NODES = tuple(keys.ComponentId(uuid(number)) for number in range(1, 4))


def definition(
    tenant: str = "acme",
    name: str = "orders",
    *,
    table_id: int = 100,
    settings: TableSettings = NO_SETTINGS,
) -> TableDefinition:
    return TableDefinition(
        tenant=tenant,
        name=name,
        table_id=TableId(uuid(table_id)),
        partition=KeyAttribute(name="id", kind=KeyKind.STRING),
        sort=KeyAttribute(name="at", kind=KeyKind.NUMBER),
        door=Door.DYNAMODB,
        created_at_us=1,
        settings=settings,
    )


def table(
    defined: TableDefinition | None = None, *, status: ResourceStatus = ResourceStatus.ACTIVE
) -> bytes:
    return values.encode(values.TableValue.of(defined or definition(), status))


def tenant(number: int = 7) -> bytes:
    return values.encode(values.TenantValue(uuid=uuid(number)))


def details(uri: str = "https://node:8001/") -> bytes:
    return values.encode(values.Details(status=values.ComponentStatus.OKAY, uri=uri))


def replica(node: int, state: values.ReplicaState = values.ReplicaState.IN_SYNC) -> values.Replica:
    return values.Replica(
        node=NODES[node],
        incarnation=uuid(50 + node),
        uri=f"https://node{node}:8001/",
        state=state,
    )


def placement(
    high_hash: int = HASH_MAX,
    *,
    range_id: int = 200,
    table_id: int = 100,
    epoch: int = 1,
    node: int = 0,
    others: Sequence[int] = (),
) -> bytes:
    return values.encode(
        values.RangePlacement(
            node=NODES[node],
            high_hash=high_hash,
            uri=f"https://node{node}:8001/",
            table_id=uuid(table_id),
            range_id=uuid(range_id),
            epoch=epoch,
            replicas=(replica(node), *map(replica, others)),
        )
    )


def whole_table(tenant_name: str = "acme", name: str = "orders") -> dict[str, bytes]:
    """Give the keys of a tenant with a table of one range."""
    return {
        f"tenant/{tenant_name}": tenant(),
        f"table/{tenant_name}/{name}": table(definition(tenant_name, name)),
        f"tenant/{tenant_name}/{name}/0": placement(),
    }


def events(changes: Mapping[str, bytes | None], revision: int) -> Sequence[Event]:
    """Make the events of one revision; None deletes."""
    return [
        Event(key=key, kv=None if value is None else key_value(key, value, revision))
        for key, value in changes.items()
    ]


def key_value(key: str, value: bytes, revision: int) -> KeyValue:
    return KeyValue(
        key=key, value=value, create_revision=Revision(revision), mod_revision=Revision(revision)
    )


def fold(*revisions: Mapping[str, bytes | None]) -> Fold:
    """Fold changes, one revision after the other, beginning with 1."""
    made = Fold()
    for revision, changes in enumerate(revisions, 1):
        made.apply(events(changes, revision))
        made.stamp(cluster_id="c1", revision=Revision(revision))
    return made


def shown(view: TopologyView) -> dict[str, tuple[bytes, int]]:
    """Say what a view is made of: key, value, revision."""
    return {path.path: (values.encode(value), at) for path, value, at in contents(view)}
