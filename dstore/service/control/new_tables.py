"""A table comes into being: placed on nodes and written down, in its maker's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.model.errors import Unavailable, UnavailableKind
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import encode_definition
from dstore.service.control.placement import place, range_count
from dstore.service.control.publications import table_publications
from dstore.service.control.sites import sites
from dstore.storage.control import tables
from dstore.storage.control.records import NodeUuid, RangeId, RangeRecord, TableRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dstore.model.tables import TableDefinition, TableId
    from dstore.service.control.realm import Realm
    from dstore.service.control.sites import Site
    from dstore.storage.control.records import Publication
    from dstore.storage.control.store import Transaction

_NO_NODE_RETRY_MS = 1_000


async def insert_table(
    realm: Realm, tx: Transaction, made: TableDefinition, *, base_id: TableId | None = None
) -> Sequence[Publication]:
    """Write a new table down, CREATING, with its ranges and who is to have them.

    Args:
        realm: whose nodes.
        tx: the transaction.
        made: the table; none of its name is there.
        base_id: of the table whose index it holds; None: it is a tenant's own.
    Returns: what the coordinator is to show of it, to be appended.
    Raises: Unavailable: no node takes tables now. Refused(TOO_LARGE): so is its definition.
    """
    found = await sites(tx, realm.watcher.view)
    if not found:
        raise Unavailable(
            UnavailableKind.OVERLOADED,
            "No node takes new tables now: none is alive, okay and out of maintenance.",
            retry_after_ms=_NO_NODE_RETRY_MS,
        )
    record = TableRecord(
        tenant=made.tenant,
        name=made.name,
        table_id=made.table_id,
        definition=encode_definition(made),
        status=ResourceStatus.CREATING,
        created_at_us=made.created_at_us,
        changed_at_us=made.created_at_us,
        base_id=base_id,
    )
    ranges, secondaries = _placed(realm, made, found)
    published = table_publications(
        made, record.status, ranges=ranges, sites=found, secondaries=secondaries
    )
    await tables.insert(tx, record, ranges, secondaries=secondaries)
    return published


def _placed(
    realm: Realm, made: TableDefinition, found: Mapping[NodeUuid, Site]
) -> tuple[list[RangeRecord], dict[RangeId, list[NodeUuid]]]:
    """Decide where a new table's ranges are. Returns: they, and who has them beside their node.

    With fewer nodes than the factor each range has as many replicas as there are nodes.
    """
    factor = made.settings.replication_factor or realm.replication_factor
    count = range_count(len(found), realm.ranges_per_table)
    ranges: list[RangeRecord] = []
    secondaries: dict[RangeId, list[NodeUuid]] = {}
    candidates = [site.candidate for site in found.values()]
    for each in place(candidates, count, factor=factor):
        record = RangeRecord(
            range_id=RangeId(realm.entropy.uuid()),
            table_id=made.table_id,
            low_hash=each.low_hash,
            high_hash=each.high_hash,
            epoch=1,
            node=NodeUuid(each.node),
            status=ResourceStatus.ACTIVE,
        )
        ranges.append(record)
        secondaries[record.range_id] = [NodeUuid(node) for node in each.secondaries]
    return ranges, secondaries
