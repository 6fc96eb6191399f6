"""The definition of an index's hidden table, made from its base table's; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.model.index_of import IndexOf, index_table_name
from dstore.model.table_settings import KeyAttribute, TableSettings
from dstore.model.tables import TableDefinition, TableId

if TYPE_CHECKING:
    from dstore.model.table_settings import Index


def index_table_definition(
    base: TableDefinition, index: Index, *, table_id: TableId, created_at_us: int
) -> TableDefinition:
    """Define the hidden table of a global index that `base` declares.

    Its `partition` and `sort` are the index's first ones; its entries are keyed by all that
    `IndexOf` has. Of the settings it shares how many replicas there are to be.
    """
    kinds = base.attributes
    hash_keys = tuple(KeyAttribute(name=each, kind=kinds[each]) for each in index.hash_keys)
    range_keys = tuple(KeyAttribute(name=each, kind=kinds[each]) for each in index.range_keys)
    return TableDefinition(
        tenant=base.tenant,
        name=index_table_name(base.name, index.name),
        table_id=table_id,
        partition=hash_keys[0],
        sort=range_keys[0] if range_keys else None,
        door=base.door,
        created_at_us=created_at_us,
        settings=TableSettings(replication_factor=base.settings.replication_factor),
        index_of=IndexOf(
            table_id=base.table_id,
            table=base.name,
            name=index.name,
            hash_keys=hash_keys,
            range_keys=range_keys,
            table_keys=base.keys,
            projection=index.projection,
            included=index.included,
        ),
    )
