"""Every key of the coordinator, built and parsed here alone.

    node/{uuid}/details                            node/{uuid}/alive            node/{uuid}/boot
    node/{uuid}/id/{tenant}/{tenantResource}/hash  …/details
    tenant/{tenant}                                tenant/{tenant}/{tenantResource}/{lowHash}
    table/{tenant}/{tenantResource}                notice/{uuid}/{timestamp}
    proxy/{uuid}/details                           proxy/{uuid}/alive
    control/{uuid}/details                         control/{uuid}/alive         control/leader
    control/plane                                  control/published
    reporting/{uuid}/details                       reporting/{uuid}/alive

A path is a frozen type with its key as `path`; `parse` is the inverse, total, and takes one
spelling of each. A key has the tenant as a part of its own, so {tenantResource} is the last part of
the RID: the table's name, or that of an index's hidden table (`model.index_of`). Names of tenants
and tables (`model.rid`) have no slash and nothing that needs escaping; {lowHash} and {timestamp}
(microseconds since 1970) are decimal without leading zeros; UUIDs are lower case with hyphens.
Paths are structs since they are made by the hundred thousand, when a process begins to watch: a
third of a dataclass's time, and no collector's concern.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from msgspec import Struct

from dstore.model.errors import Refused
from dstore.model.hashing import HASH_MAX
from dstore.model.index_of import validate_resource_name
from dstore.model.rid import validate_tenant_name
from dstore.security.identity import UUID_FORM, ComponentRole

ComponentId = NewType("ComponentId", str)
"""The UUID of a node or of a process of another role."""

_UUID: Final = re.compile(UUID_FORM)
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class DetailsPath(Struct, frozen=True, gc=False):
    """What a component says of itself; only it writes this."""

    role: ComponentRole
    component: ComponentId

    @property
    def path(self) -> str:
        """Return the key."""
        return f"{self.role}/{self.component}/details"


class AlivePath(Struct, frozen=True, gc=False):
    """There as long as the component's lease; only it writes this."""

    role: ComponentRole
    component: ComponentId

    @property
    def path(self) -> str:
        """Return the key."""
        return f"{self.role}/{self.component}/alive"


class NodeBootPath(Struct, frozen=True, gc=False):
    """A node's boot counter (REPLICATION.md, identity); only the node writes it."""

    node: ComponentId

    @property
    def path(self) -> str:
        """Return the key."""
        return f"node/{self.node}/boot"


class NodeRangesPath(Struct, frozen=True, gc=False):
    """Which ranges of a table a node holds, as control decided."""

    node: ComponentId
    tenant: str
    table: str

    @property
    def path(self) -> str:
        """Return the key."""
        return f"node/{self.node}/id/{self.tenant}/{self.table}/hash"


class NodeTablePath(Struct, frozen=True, gc=False):
    """How a node's part of a table is, as the node says."""

    node: ComponentId
    tenant: str
    table: str

    @property
    def path(self) -> str:
        """Return the key."""
        return f"node/{self.node}/id/{self.tenant}/{self.table}/details"


class TenantPath(Struct, frozen=True, gc=False):
    """A tenant: its UUID and status."""

    tenant: str

    @property
    def path(self) -> str:
        """Return the key."""
        return f"tenant/{self.tenant}"


class RangePath(Struct, frozen=True, gc=False):
    """Where a range is served; 0 <= low_hash <= HASH_MAX, and its high end is in the value."""

    tenant: str
    table: str
    low_hash: int

    @property
    def path(self) -> str:
        """Return the key."""
        return f"tenant/{self.tenant}/{self.table}/{self.low_hash}"


class TablePath(Struct, frozen=True, gc=False):
    """A table: its id, schema, settings and status."""

    tenant: str
    table: str

    @property
    def path(self) -> str:
        """Return the key."""
        return f"table/{self.tenant}/{self.table}"


class NoticePath(Struct, frozen=True, gc=False):
    """What a component tells control; two in one microsecond are the writer's to keep apart."""

    component: ComponentId
    at_us: int

    @property
    def path(self) -> str:
        """Return the key."""
        return f"notice/{self.component}/{self.at_us}"


class LeaderPath(Struct, frozen=True, gc=False):
    """Which control process leads."""

    @property
    def path(self) -> str:
        """Return the key."""
        return "control/leader"


class PlanePath(Struct, frozen=True, gc=False):
    """Whose coordinator this is, so that two control planes never share one."""

    @property
    def path(self) -> str:
        """Return the key."""
        return "control/plane"


class PublishedPath(Struct, frozen=True, gc=False):
    """Up to which of control's writes the coordinator has everything."""

    @property
    def path(self) -> str:
        """Return the key."""
        return "control/published"


Path = (
    DetailsPath
    | AlivePath
    | NodeBootPath
    | NodeRangesPath
    | NodeTablePath
    | TenantPath
    | RangePath
    | TablePath
    | NoticePath
    | LeaderPath
    | PlanePath
    | PublishedPath
)

LEADER: Final = LeaderPath()
PLANE: Final = PlanePath()
PUBLISHED: Final = PublishedPath()
_OF_CONTROL: Final[dict[str, Path]] = {"leader": LEADER, "plane": PLANE, "published": PUBLISHED}
EVERYTHING: Final = ""
NODES: Final = "node/"
PROXIES: Final = "proxy/"
CONTROLS: Final = "control/"
REPORTING: Final = "reporting/"
TENANTS: Final = "tenant/"
TABLES: Final = "table/"
NOTICES: Final = "notice/"


def node_prefix(node: ComponentId) -> str:
    """Return the prefix of everything about one node."""
    return f"{NODES}{node}/"


def node_tables_prefix(node: ComponentId) -> str:
    """Return the prefix of a node's ranges and what it says of its tables."""
    return f"{NODES}{node}/id/"


def ranges_prefix(tenant: str, table: str) -> str:
    """Return the prefix of a table's ranges."""
    return f"{TENANTS}{tenant}/{table}/"


def tenant_tables_prefix(tenant: str) -> str:
    """Return the prefix of a tenant's tables."""
    return f"{TABLES}{tenant}/"


def notices_prefix(component: ComponentId) -> str:
    """Return the prefix of what a component told control."""
    return f"{NOTICES}{component}/"


def parse(path: str) -> Path | None:
    """Read a key: its path, or None if dStore has no such key; about 2 µs.

    `parse(p.path) == p` for every path, and `parse(key).path == key` for every key it takes.
    """
    match path.split("/"):
        case ["tenant", tenant, table, low_hash]:
            return _range_path(tenant, table, low_hash)
        case ["table", tenant, table] if _are_names(tenant, table):
            return TablePath(tenant, table)
        case ["node", node, "id", tenant, table, "hash"] if _is_held(node, tenant, table):
            return NodeRangesPath(ComponentId(node), tenant, table)
        case ["node", node, "id", tenant, table, "details"] if _is_held(node, tenant, table):
            return NodeTablePath(ComponentId(node), tenant, table)
        case ["node", node, "boot"] if is_component_id(node):
            return NodeBootPath(ComponentId(node))
        case ["control", ("leader" | "plane" | "published") as what]:
            return _OF_CONTROL[what]
        case [("node" | "proxy" | "control" | "reporting") as role, component, what]:
            return _component_path(role, component, what)
        case ["tenant", tenant] if _is_tenant(tenant):
            return TenantPath(tenant)
        case ["notice", component, at_us]:
            return _notice_path(component, at_us)
        case _:
            return None


def held_name(tenant: str, table: str) -> str:
    """Name a table among those of a node: a key's part between `id/` and the last slash."""
    return f"{tenant}/{table}"


def is_component_id(text: str) -> bool:
    """Tell whether a text is a UUID in the one spelling that keys have."""
    return _UUID.fullmatch(text) is not None


def _range_path(tenant: str, table: str, low_hash: str) -> RangePath | None:
    if not _are_names(tenant, table) or _DECIMAL.fullmatch(low_hash) is None:
        return None
    low = int(low_hash)
    return RangePath(tenant, table, low) if low <= HASH_MAX else None


def _component_path(role: str, component: str, what: str) -> DetailsPath | AlivePath | None:
    if not is_component_id(component):
        return None
    match what:
        case "details":
            return DetailsPath(ComponentRole(role), ComponentId(component))
        case "alive":
            return AlivePath(ComponentRole(role), ComponentId(component))
        case _:
            return None


def _notice_path(component: str, at_us: str) -> NoticePath | None:
    if not is_component_id(component) or _DECIMAL.fullmatch(at_us) is None:
        return None
    return NoticePath(ComponentId(component), int(at_us))


def _is_held(node: str, tenant: str, table: str) -> bool:
    return is_component_id(node) and _are_names(tenant, table)


def _are_names(tenant: str, table: str) -> bool:
    try:
        validate_resource_name(table)
    except Refused:
        return False
    return _is_tenant(tenant)


def _is_tenant(name: str) -> bool:
    try:
        validate_tenant_name(name)
    except Refused:
        return False
    return True
