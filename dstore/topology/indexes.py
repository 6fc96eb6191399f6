"""The hidden tables of global indexes, as a view shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.base.limits import GLOBAL_INDEXES_MAX
from dstore.model.index_of import index_table_name
from dstore.model.status import ResourceStatus
from dstore.topology.values import RangeState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.model.tables import TableDefinition
    from dstore.topology.view import TableView, TenantView, TopologyView


def index_view(view: TopologyView, base: TableDefinition, name: str) -> TableView | None:
    """Find the hidden table of an index of `base`, whatever its status: 1 µs; None: none is shown.

    One of a former table that had the base's name is none.
    """
    found = view.table(base.tenant, index_table_name(base.name, name))
    return found if found is not None and _is_of(found, base) else None


def index_views(view: TopologyView, base: TableDefinition) -> Sequence[TableView]:
    """List the hidden tables of a table by the names of its indexes, those that go included."""
    tenant = view.tenant(base.tenant)
    return () if tenant is None else index_views_of(tenant, base)


def index_views_of(tenant: TenantView, base: TableDefinition) -> Sequence[TableView]:
    """List the hidden tables of a table of `tenant`, as `index_views` does."""
    prefix = index_table_name(base.name, "")
    return [
        shown
        for name, shown in tenant.tables.after(prefix, 2 * GLOBAL_INDEXES_MAX)
        if name.startswith(prefix) and _is_of(shown, base)
    ]


def is_doubtful(shown: TableView) -> bool:
    """Tell whether an index may have other rows than its table, by its hidden table.

    Since a loss was accepted of a range of either: the index lacks rows, or the table does.
    """
    if shown.status is ResourceStatus.DELETING:
        return False
    if shown.definition.settings.has_lost_base:
        return True
    return any(each.placement.state is RangeState.POSSIBLE_LOSS for each in shown.ranges)


def _is_of(shown: TableView, base: TableDefinition) -> bool:
    index_of = shown.definition.index_of
    return index_of is not None and index_of.table_id == base.table_id
