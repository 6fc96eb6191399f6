"""An operator has a global index made anew: one that has lost its place, or rows, is not mended.

Its hidden table is deleted, and as its base table declares it still, it is made and filled again by
itself (`indexes`). Meanwhile it can't be asked, as any index that is being filled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dstore.model.errors import RefusalKind, Refused
from dstore.model.index_of import index_table_name
from dstore.model.rid import table_rid
from dstore.service.control import index_tables
from dstore.service.control.publications import definition_of
from dstore.service.refusals import no_such
from dstore.storage.control import tables

if TYPE_CHECKING:
    from dstore.model.tables import TableDefinition
    from dstore.service.control.realm import Realm


def rebuilds_after_loss(table: TableDefinition) -> tuple[str, ...]:
    """List the commands that mend what depends on a table with a loss, or is an index with one."""
    of = table.index_of
    if of is not None:
        return (_command(table.tenant, of.table, of.name),)
    names = [each.name for each in table.settings.global_indexes]
    return tuple(_command(table.tenant, table.name, name) for name in names)


def _command(tenant: str, table: str, index: str) -> str:
    return f"dstore table rebuild-index {table} {index} --tenant {tenant}"


class Rebuilding(Protocol):
    """What the admin API asks of control about indexes; any control process answers."""

    async def rebuild(self, tenant: str, table: str, index: str, *, actor: str) -> None:
        """Have an index of a table made anew; one that is being made anew goes on.

        Raises: Refused(NOT_FOUND): there is no such table, or it declares no such index.
            Unavailable: control's store can't be reached. Unknown: it may be begun.
        """


class IndexRebuilds:
    """Implements `Rebuilding`."""

    def __init__(self, realm: Realm) -> None:
        """Change the tables of `realm`."""
        self._realm = realm

    async def rebuild(self, tenant: str, table: str, index: str, *, actor: str) -> None:
        """See `Rebuilding.rebuild`."""
        realm = self._realm
        async with realm.plane.store.transaction() as tx:
            base = await tables.get(tx, tenant, table)
            if base is None:
                raise no_such("table", table)
            declared = definition_of(base).settings.global_indexes
            if all(each.name != index for each in declared):
                raise Refused(
                    RefusalKind.NOT_FOUND, f"Table {table} has no global index {index}; show it."
                )
            name = index_table_name(table, index)
            record = await tables.get(tx, tenant, name)
            if record is not None and await index_tables.give_up(realm, tx, record):
                subject = str(table_rid(tenant, name))
                await realm.audit(tx, actor=actor, action="rebuild_index", subject=subject)
        realm.publisher.wake()
        realm.tasks_due.set()
