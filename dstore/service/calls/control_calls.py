"""What proxies and nodes have control change: tenants and tables.

Only the leading control changes anything; another one answers Unavailable and names the leader.
Each answer has the coordinator's revision at which the change is visible: wait for a view of it
(`TopologyWatcher.reached`), then take what was made from the view.

Creations are told apart by the UUID that the caller draws: sent again, because an answer was lost,
they do nothing and are answered as before (I9). `actor` is for the audit log: the public id of the
credential that asks, "" for none. `tenant_id` of a new table is the UUID of the tenant whose client
asks: nothing is made in another tenant that has its name by now. "" for the operator's.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import StoredKey
from dstore.model.table_settings import NO_SETTINGS, TableSettings
from dstore.model.tables import IdType
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.security.identity import ComponentRole


class TenantChanged(msgspec.Struct, frozen=True, array_like=True):
    """A tenant as it is; `created_at_us` is wall time in microseconds since 1970."""

    name: str
    uuid: str
    created_at_us: int
    is_new: bool
    revision: int


class TenantGone(msgspec.Struct, frozen=True, array_like=True):
    """A tenant is being deleted; `is_done`: all of it is gone and its name is free again."""

    is_done: bool
    revision: int


class TableChanged(msgspec.Struct, frozen=True, array_like=True):
    """A table as it is, or as it was before it was deleted.

    Attributes:
        definition: as `model.stored_definition.encode_definition` writes it; the tenant, the name
            and the id stand beside it.
        status: CREATING: not every node that is to hold a part of it has said so yet.
        is_done: of a change: it took place; of a deletion: the table is gone and its name is free.
        revision: at which the coordinator shows this.
    """

    tenant: str
    name: str
    table_id: str
    definition: str
    status: ResourceStatus
    is_done: bool
    revision: int


class CreateTenant(PeerRequest[TenantChanged], frozen=True, array_like=True):
    """Create a tenant; one of that name is left as it is.

    Args: `tenant_id` is the UUID of the new tenant, drawn by the caller.
    Raises: Refused: a bad name. Unavailable: the former tenant of that name is being deleted.
    """

    name: str
    tenant_id: str
    actor: str = ""


class DeleteTenant(PeerRequest[TenantGone], frozen=True, array_like=True):
    """Delete a tenant with all that is its; its credentials are void at once.

    Raises: Refused: there is none, or it has tables and `force` is false.
    """

    name: str
    force: bool = False
    actor: str = ""


class CreateTable(PeerRequest[TableChanged], frozen=True, array_like=True):
    """Create a v1 table; the same again is left as it is, and `is_done` is then false.

    Args: `replication_factor` is as `TableSettings` has it; None also finds a table of any other.
    Raises: Refused: a bad name or factor, no such tenant, a different table of that name.
        Unavailable: no node takes tables, or the former table of that name is being deleted.
    """

    tenant: str
    name: str
    table_id: str
    id_type: IdType
    actor: str = ""
    tenant_id: str = ""
    replication_factor: int | None = None


class DeclareTable(PeerRequest[TableChanged], frozen=True, array_like=True):
    """Create a DynamoDB table. Raises: as CreateTable; Refused: there is one of that name."""

    tenant: str
    name: str
    table_id: str
    partition: StoredKey
    sort: StoredKey | None = None
    settings: TableSettings = NO_SETTINGS
    actor: str = ""
    tenant_id: str = ""


class SetTable(PeerRequest[TableChanged], frozen=True, array_like=True):
    """Set a table's settings, if they still are what the caller has seen.

    If they are not, nothing is changed, `is_done` is false and the answer tells what they are: work
    the change out anew. Sent again after it was done it is done again, to no effect.

    Raises: Refused: there is no table of that id under that name.
    """

    tenant: str
    name: str
    table_id: str
    expected: TableSettings
    settings: TableSettings
    actor: str = ""


class DeleteTable(PeerRequest[TableChanged], frozen=True, array_like=True):
    """Delete a table; one of another id under its name is left alone.

    The answer waits a moment for the nodes to let go of it; `is_done` tells whether all that live
    have. Raises: Refused: there is none, or it is protected.
    """

    tenant: str
    name: str
    table_id: str
    actor: str = ""


_CHANGERS: Final = frozenset({ComponentRole.PROXY, ComponentRole.NODE, ComponentRole.CONTROL})

Reply = TypeVar("Reply", bound=msgspec.Struct)
Request = TypeVar("Request", bound=PeerRequest[Any])


def _change(name: str, request: type[Request], reply: type[Reply]) -> PeerCall[Request, Reply]:
    """Make a call that changes something: sent again only by who knows that it may be."""
    return PeerCall(
        name=f"control.{name}", request=request, reply=reply, roles=_CHANGERS, is_safe=False
    )


CREATE_TENANT: Final = _change("create_tenant", CreateTenant, TenantChanged)
DELETE_TENANT: Final = _change("delete_tenant", DeleteTenant, TenantGone)
CREATE_TABLE: Final = _change("create_table", CreateTable, TableChanged)
DECLARE_TABLE: Final = _change("declare_table", DeclareTable, TableChanged)
SET_TABLE: Final = _change("set_table", SetTable, TableChanged)
DELETE_TABLE: Final = _change("delete_table", DeleteTable, TableChanged)

CONTROL_CALLS: Final = (
    CREATE_TENANT,
    DELETE_TENANT,
    CREATE_TABLE,
    DECLARE_TABLE,
    SET_TABLE,
    DELETE_TABLE,
)
