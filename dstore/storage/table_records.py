"""Tables and the ranges that a node holds of them, as rows of its database.

Functions take the node database's connection inside a transaction that somebody else owns.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.model.errors import Corrupt
from dstore.model.hashing import HASH_MAX
from dstore.model.index_rows import IndexSize
from dstore.model.ranges import RangeMap, RangeRef, Table
from dstore.model.stored_definition import decode_definition, encode_definition
from dstore.model.tables import TableId
from dstore.storage.node_keys import STANDALONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from dstore.model.index_rows import IndexSizes
    from dstore.model.ranges import RangeCount
    from dstore.model.tables import TableDefinition

NODE_FILE: Final = "node.db"

_RANGES = (
    "SELECT RID_TENANT, RID_TABLE, RANGE_ID, EPOCH, HASH_START, HASH_END, QUANTITY, UUID, "
    "TABLE_VERSION, FILE_UUID, GENERATION, FILE_KEY, ENROLMENT, DRAWN_UNDER, SCRUBBED_AT_US, "
    "INDEXES, PARENT, PARENT_EPOCH, CUT_AT, CUT_LOW, CUT_HIGH, PLACEMENT IS NOT NULL "
    "FROM range_of_table"
)
_NONE: Final = "{}"  # of the column INDEXES, as nearly every range has it
_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(dict[str, IndexSize]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How a range is split: the ids of both children, and the lowest hash of the upper one."""

    low_id: str
    high_id: str
    at_hash: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRecord:
    """A range that this node holds of a table, and the wrapped key of its file.

    The hash bounds are both inclusive. `quantity` is the number of entries as last noted,
    `indexes` what the table's local indexes have of them; a new range has none. `enrolment` is the
    UUID of the control plane whose share is part of what wraps `file_key`; STANDALONE if there is
    none. `drawn_under` is the same at the time when the file's data key was
    drawn: a key that was once wrapped without control's share stays what a stolen copy of that time
    can open, until the file is written anew (I4). `scrubbed_at_us` is the wall time of the last
    scrub, in microseconds since 1970; 0 if none is known. `is_noted` says whether a value of the
    range was noted (`placement_records`) when the process began.

    A seed of a range that is split has a `parent`, and its epoch then, and says by `cut` how it is
    split; it is no range of the table yet. One that `is_cut` is none any more: its children are,
    and its file is still to go.
    """

    tenant: str
    table: str
    range_id: str
    epoch: int = 1
    hash_start: int = 0
    hash_end: int = HASH_MAX
    quantity: int = 0
    indexes: IndexSizes = field(default_factory=dict)
    tenant_uuid: str
    table_version: int
    file_uuid: bytes
    generation: int
    file_key: bytes = field(repr=False)
    enrolment: str = STANDALONE
    drawn_under: str = STANDALONE
    scrubbed_at_us: int = 0
    is_noted: bool = False
    parent: str | None = None
    parent_epoch: int = 0
    cut: Cut | None = None

    @property
    def is_cut(self) -> bool:
        """Whether it is a range that was split: only its file is left."""
        return self.parent is None and self.cut is not None

    @property
    def is_shown(self) -> bool:
        """Whether it is a range of its table."""
        return self.parent is None and self.cut is None

    @property
    def ref(self) -> RangeRef:
        """The range as callers name it."""
        return RangeRef(
            range_id=self.range_id, epoch=self.epoch, low=self.hash_start, high=self.hash_end
        )


def load_tables(
    connection: apsw.Connection,
) -> tuple[tuple[Table, ...], tuple[RangeRecord, ...]]:
    """Read all tables with what is held of them, and all ranges; about 10 µs a table."""
    ranges = tuple(_range(row) for row in connection.execute(_RANGES))
    refs: defaultdict[tuple[str, str], list[RangeRef]] = defaultdict(list)
    for held in ranges:
        if held.is_shown:
            refs[held.tenant, held.table].append(held.ref)
    tables = tuple(
        Table(
            definition=_definition(tenant, name, table_id, encoded=encoded),
            ranges=RangeMap.of(refs[tenant, name]),
        )
        for tenant, name, table_id, encoded in connection.execute(
            "SELECT TENANT, NAME, TABLE_ID, DEFINITION FROM table_definition"
        )
    )
    return tables, ranges


def insert_table(
    connection: apsw.Connection, definition: TableDefinition, ranges: Sequence[RangeRecord]
) -> None:
    """Add a table and its ranges; the ranges' files exist already."""
    connection.execute(
        "INSERT INTO table_definition (TENANT, NAME, TABLE_ID, DEFINITION) VALUES (?, ?, ?, ?)",
        (definition.tenant, definition.name, definition.table_id, encode_definition(definition)),
    )
    insert_ranges(connection, ranges)


def insert_ranges(connection: apsw.Connection, ranges: Sequence[RangeRecord]) -> None:
    """Add ranges of a table that is there; their files exist already."""
    connection.executemany(
        "INSERT INTO range_of_table (RID_TENANT, RID_TABLE, HASH_START, HASH_END, QUANTITY, UUID, "
        "TABLE_VERSION, RANGE_ID, FILE_UUID, GENERATION, FILE_KEY, EPOCH, ENROLMENT, "
        "DRAWN_UNDER, PARENT, PARENT_EPOCH, CUT_AT, CUT_LOW, CUT_HIGH) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                held.tenant,
                held.table,
                held.hash_start,
                held.hash_end,
                held.quantity,
                held.tenant_uuid,
                held.table_version,
                held.range_id,
                held.file_uuid,
                held.generation,
                held.file_key,
                held.epoch,
                held.enrolment,
                held.drawn_under,
                held.parent,
                held.parent_epoch,
                *_cut_row(held.cut),
            )
            for held in ranges
        ],
    )


def update_table(connection: apsw.Connection, definition: TableDefinition) -> None:
    """Write a table's definition anew; its ranges stay as they are."""
    connection.execute(
        "UPDATE table_definition SET DEFINITION = ?3 WHERE TENANT = ?1 AND NAME = ?2",
        (definition.tenant, definition.name, encode_definition(definition)),
    )


def set_epoch(connection: apsw.Connection, range_id: str, epoch: int) -> None:
    """Note a range's epoch; it never falls."""
    connection.execute(
        "UPDATE range_of_table SET EPOCH = MAX(EPOCH, ?2) WHERE RANGE_ID = ?1", (range_id, epoch)
    )


def begin_child(connection: apsw.Connection, held: RangeRecord) -> None:
    """Make a range of a seed; its parent is none any more."""
    connection.execute(
        "UPDATE range_of_table SET PARENT = NULL, CUT_AT = NULL, CUT_LOW = NULL, CUT_HIGH = NULL "
        "WHERE RANGE_ID = ?",
        (held.range_id,),
    )
    connection.execute(
        "UPDATE range_of_table SET CUT_AT = ?2, CUT_LOW = ?3, CUT_HIGH = ?4 WHERE RANGE_ID = ?1",
        (held.parent, *_cut_row(held.cut)),
    )


def set_file_key(connection: apsw.Connection, held: RangeRecord) -> None:
    """Note a file's key as it was wrapped or drawn anew, and whose shares are part of that."""
    connection.execute(
        "UPDATE range_of_table SET FILE_KEY = ?2, ENROLMENT = ?3, GENERATION = ?4, "
        "DRAWN_UNDER = ?5 WHERE RANGE_ID = ?1",
        (held.range_id, held.file_key, held.enrolment, held.generation, held.drawn_under),
    )


def set_counts(connection: apsw.Connection, counts: Sequence[tuple[str, RangeCount]]) -> None:
    """Bring the estimates of what is in ranges up to date, by their ids."""
    connection.executemany(
        "UPDATE range_of_table SET QUANTITY = ?2, INDEXES = ?3 WHERE RANGE_ID = ?1",
        [(name, each.entries, _encode(each.indexes).decode()) for name, each in counts],
    )


def note_scrubs(connection: apsw.Connection, times: Sequence[tuple[str, int]]) -> None:
    """Note when ranges were scrubbed; `times` are (range id, us)."""
    connection.executemany(
        "UPDATE range_of_table SET SCRUBBED_AT_US = ?2 WHERE RANGE_ID = ?1", times
    )


def delete_table(connection: apsw.Connection, tenant: str, name: str) -> None:
    """Remove a table and its ranges, keys included; the caller notes that a shred is due."""
    connection.execute(
        "DELETE FROM range_of_table WHERE RID_TENANT = ? AND RID_TABLE = ?", (tenant, name)
    )
    connection.execute("DELETE FROM table_definition WHERE TENANT = ? AND NAME = ?", (tenant, name))


def delete_range(connection: apsw.Connection, range_id: str) -> None:
    """Remove a range, its key included; the caller notes that a shred is due."""
    connection.execute("DELETE FROM range_of_table WHERE RANGE_ID = ?", (range_id,))


def cut_of(at_hash: int | None, low_id: str | None, high_id: str | None) -> Cut | None:
    """Read the columns CUT_AT, CUT_LOW and CUT_HIGH."""
    if at_hash is None or low_id is None or high_id is None:
        return None
    return Cut(low_id=low_id, high_id=high_id, at_hash=at_hash)


def _cut_row(cut: Cut | None) -> tuple[int | None, str | None, str | None]:
    return (None, None, None) if cut is None else (cut.at_hash, cut.low_id, cut.high_id)


def _range(row: tuple[Any, ...]) -> RangeRecord:
    tenant, table, range_id, epoch, start, end, quantity, uuid, version = row[:9]
    file_uuid, generation, file_key, enrolment, drawn_under, scrubbed_at_us, indexes = row[9:16]
    parent, parent_epoch, *cut = row[16:21]
    return RangeRecord(
        tenant=tenant,
        table=table,
        range_id=range_id,
        epoch=epoch,
        hash_start=start,
        hash_end=end,
        quantity=quantity,
        indexes=_decode(indexes) if indexes != _NONE else {},
        tenant_uuid=uuid,
        table_version=version,
        file_uuid=file_uuid,
        generation=generation,
        file_key=file_key,
        enrolment=enrolment,
        drawn_under=drawn_under,
        scrubbed_at_us=scrubbed_at_us,
        is_noted=bool(row[21]),
        parent=parent,
        parent_epoch=parent_epoch,
        cut=cut_of(*cut),
    )


def _definition(tenant: str, name: str, table_id: str, *, encoded: str) -> TableDefinition:
    try:
        return decode_definition(encoded, tenant=tenant, name=name, table_id=TableId(table_id))
    except ValueError as error:
        raise Corrupt(
            "A table's definition cannot be read.", file=NODE_FILE, where="tables"
        ) from error
