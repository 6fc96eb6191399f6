"""What a Query or Scan reads: a table, or one of its secondary indexes.

Texts and order: dynalite's actions/query.js and scan.js, whose suite was run against AWS;
paritysuite/dynamodb-conformance, tests/tier3/error-messages/indexReads.test.ts; of what an index
does not hold, sensedeep/dynamodb-onetable#377 and localstack/localstack#478, which quote AWS, and
DynamoDB local's QueryFunction (the order of the names).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.capacity import consumed, is_wanted, read_units
from dstore.api.dynamodb.errors import AwsError, validation
from dstore.api.dynamodb.item_keys import INVALID, check_index_attribute, key_of_map
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.model.index_rows import (
    IndexShape,
    global_key,
    index_shape,
    is_held,
    local_key,
    parse_key,
)
from dstore.model.keys import decode_partition
from dstore.service.items import key_attribute, key_attributes, key_names

if TYPE_CHECKING:
    from typing import Any

    from dstore.api.dynamodb.action import Call, Members
    from dstore.expressions import Condition, Projection
    from dstore.model.ranges import Table
    from dstore.model.tables import KeyAttribute, TableDefinition
    from dstore.model.values import Item
    from dstore.service.queries import ItemPage

INVALID_START: Final = "The provided starting key is invalid"
_ALL_ATTRIBUTES: Final = "ALL_ATTRIBUTES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The table that the request names, and the index of it, if it names one."""

    table: Table
    index: IndexShape | None = None

    @property
    def definition(self) -> TableDefinition:
        """The table's."""
        return self.table.definition

    @property
    def is_global(self) -> bool:
        """Whether it is a global index."""
        return self.index is not None and not self.index.is_local

    @property
    def local_name(self) -> str | None:
        """The local index's name, None if it is none."""
        return self.index.name if self.index is not None and self.index.is_local else None

    @property
    def partition_keys(self) -> tuple[KeyAttribute, ...]:
        """What a query has to give values of."""
        return (self.definition.partition,) if self.index is None else self.index.hash_keys

    @property
    def sort_keys(self) -> tuple[KeyAttribute, ...]:
        """What a query may give conditions on."""
        if self.index is not None:
            return self.index.range_keys
        return () if self.definition.sort is None else (self.definition.sort,)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names of all of both, which no filter of a query may look at."""
        return tuple(key.name for key in self.partition_keys + self.sort_keys)

    @property
    def place_names(self) -> frozenset[str]:
        """The attributes of a LastEvaluatedKey."""
        if self.index is None:
            return frozenset(key_names(self.definition))
        return frozenset(self.index.key_names)

    def is_fetching(self, select: str | None, projection: Projection | None) -> bool:
        """Say whether a local index lacks what is asked for, so that the table is read too."""
        if self.index is None or not self.index.is_local:
            return False
        if select == _ALL_ATTRIBUTES:
            return self.index.held is not None
        return not is_held(self.index, _names_of(projection))


def target_of(members: Members, table: Table) -> Target:
    """Find what the request reads. Raises: AwsError: there is no such index, or not so."""
    name = members.get("IndexName")
    if name is None:
        return Target(table=table)
    shape = index_shape(table.definition, name)
    if shape is None:
        raise validation(f"The table does not have the specified index: {name}")
    if not shape.is_local and members.get("ConsistentRead"):
        raise validation("Consistent reads are not supported on global secondary indexes")
    return Target(table=table, index=shape)


def check_held(
    members: Members, target: Target, *, kept: Condition | None, projection: Projection | None
) -> None:
    """Refuse to ask for what an index does not hold.

    No filter sees it, of neither kind; local indexes fetch what is to be shown, global ones don't.

    Raises: AwsError: ValidationException.
    """
    index = target.index
    if index is None or index.held is None:
        return
    unseen = set() if kept is None else {str(name) for name in kept.looks.heads} - index.held
    if unseen:
        raise validation(
            f"{INVALID}Secondary index {index.name} does not project one or more filter "
            f"attributes: [{', '.join(sorted(unseen))}]"
        )
    if index.is_local:
        return
    if members.get("Select") == _ALL_ATTRIBUTES:
        raise validation(
            f"{INVALID}Select type ALL_ATTRIBUTES is not supported for global secondary index "
            f"{index.name} because its projection type is not ALL"
        )
    missing = sorted(_names_of(projection) - index.held)
    if missing:
        raise validation(
            f"{INVALID}Global secondary index {index.name} does not project [{', '.join(missing)}]"
        )


def check_start_keys(start: Item, target: Target) -> None:
    """Refuse a starting key that has not the attributes of the index's keys in their types.

    Of the others it has as many as there are keys of the table; which, AWS looks at later
    (`place_of`), behind the conditions of a query. Source: dynalite test/query.js, recorded from
    AWS ("global hash in ExclusiveStartKey but bad in query").

    Raises: AwsError.
    """
    if len(start) != len(target.place_names):
        raise validation(INVALID_START)
    for keys, is_partition in ((target.partition_keys, True), (target.sort_keys, False)):
        for key in keys:
            if key.name not in start:
                raise validation(INVALID_START)
            check_index_attribute(start, key, is_partition=is_partition)


def place_of(start: Item, target: Target) -> bytes:
    """Read a starting key as a place in what is read. Raises: AwsError: it is none."""
    index, definition = target.index, target.definition
    own = start
    if index is not None:
        own = {name: start[name] for name in key_names(definition) if name in start}
    try:
        rid_id = key_of_map(own, target.table).rid_id
    except AwsError as error:
        raise validation(f"{INVALID_START}: {error.text}") from None
    if index is None:
        return rid_id
    if index.is_local:
        prefix_bytes = decode_partition(rid_id, definition.partition.kind)[1]
        place = local_key(index, start, rid_id, prefix_bytes=prefix_bytes)
    else:
        place = global_key(index, start, rid_id)
    assert place is not None, "its attributes are checked"
    return place


def start_at(place: bytes, target: Target) -> Item:
    """Write a place as a LastEvaluatedKey; the inverse of `place_of`."""
    index, definition = target.index, target.definition
    if index is None:
        return key_attributes(definition, place)
    parsed = parse_key(index, place)
    keys = {
        key.name: key_attribute(key, value)
        for key, value in zip(index.keys, parsed.values, strict=True)
    }
    return keys | key_attributes(definition, parsed.rid_id)


def read_from(call: Call, target: Target) -> Table:
    """Find the table whose ranges are asked: a global index has its own.

    Raises: AwsError: the index is not whole yet. Unavailable: nobody knows.
    """
    index = target.index
    if index is None or index.is_local:
        return target.table
    try:
        return call.cases.directory.index_table(target.table, index.name)
    except (Refused, Unavailable) as error:
        # It is declared: where there is none it is not made yet.
        if error.kind not in {RefusalKind.NOT_FOUND, UnavailableKind.OVERLOADED}:
            raise
        raise validation(
            f"Cannot read from backfilling global secondary index: {index.name}"
        ) from None


def consumed_by(members: Members, target: Target, page: ItemPage) -> dict[str, Any] | None:
    """Make the ConsumedCapacity of a page; None if the request did not ask for it."""
    mode = members.get("ReturnConsumedCapacity")
    if not is_wanted(mode):
        return None
    is_consistent = bool(members.get("ConsistentRead"))
    units = read_units(page.evaluated_bytes, consistent=is_consistent)
    index = target.index
    if index is None:
        return consumed(members["TableName"], units=units, mode=mode)
    fetched = page.fetched_units * (1.0 if is_consistent else 0.5)
    by_index = {index.name: units}
    return consumed(
        members["TableName"],
        units=fetched,
        mode=mode,
        local=by_index if index.is_local else None,
        other=None if index.is_local else by_index,
    )


def _names_of(projection: Projection | None) -> frozenset[str]:
    if projection is None:
        return frozenset()
    return frozenset(str(path[0]) for path in projection.paths)
