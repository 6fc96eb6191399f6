"""The statements that every noun needs, made once from its record: a field is a column.

What is particular to a noun stands in its own file, as plain SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from dstore.base.limits import CONTROL_PAGE_MAX
from dstore.model.errors import Corrupt, RefusalKind, Refused
from dstore.storage.control.store import Key, Page

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from dstore.storage.control.store import Row, Transaction, Value

Record = TypeVar("Record", bound="DataclassInstance")


class Relation(Generic[Record]):
    """A table of the schema whose rows are `record`s.

    Args of the constructor: the table's name; `key`, the columns that name a row; `noun`, what
    errors call a row, as in "A tenant of this name".
    """

    __slots__ = ("_columns", "_insert", "_key", "_noun", "_record", "_select", "_table", "_update")

    def __init__(
        self, record: type[Record], table: str, *, key: tuple[str, ...], noun: str
    ) -> None:
        self._record = record
        self._table: Final = table
        self._key = key
        self._noun = noun
        self._columns = tuple(field.name for field in fields(record))
        marks = ", ".join(f"${place + 1}" for place in range(len(self._columns)))
        names = ", ".join(self._columns)
        # Names of tables and columns are this package's own; values are never in a statement.
        self._insert = f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        self._select = f"SELECT {names} FROM {table}"  # noqa: S608
        changes = ", ".join(
            f"{name} = ${place + 1}" for place, name in enumerate(self._columns) if name not in key
        )
        named = " AND ".join(f"{name} = ${self._columns.index(name) + 1}" for name in key)
        self._update = f"UPDATE {table} SET {changes} WHERE {named}"  # noqa: S608

    async def insert(self, tx: Transaction, record: Record) -> None:
        """Add a row. Raises: Refused(CONFLICT): there is one like it; the transaction goes on."""
        if not await self.insert_new(tx, record):
            raise Refused(RefusalKind.CONFLICT, f"{self._noun} exists already.")

    async def insert_new(self, tx: Transaction, record: Record) -> bool:
        """Add a row unless there is one like it. Returns: whether it was added."""
        return await tx.change(self._insert, *self._values(record)) == 1

    async def update(self, tx: Transaction, record: Record) -> None:
        """Write a row anew, found by its key. Raises: Refused(NOT_FOUND)."""
        if await tx.change(self._update, *self._values(record)) == 0:
            raise Refused(RefusalKind.NOT_FOUND, f"{self._noun} does not exist.")

    async def delete(self, tx: Transaction, **equal: Value) -> int:
        """Remove the rows whose columns are as given. Returns: how many there were."""
        clause, values = _where(equal)
        return await tx.change(f"DELETE FROM {self._table}{clause}", *values)  # noqa: S608

    async def find(self, tx: Transaction, **equal: Value) -> Record | None:
        """Read the row whose columns, unique together, are as given; None if there is none."""
        clause, values = _where(equal)
        found = await tx.rows(self._select + clause, *values)
        assert len(found) <= 1, self._table
        return self.record(found[0]) if found else None

    async def select(self, tx: Transaction, clause: str, *values: Value) -> tuple[Record, ...]:
        """Read rows by a clause that follows SELECT … FROM the table; it bounds their number."""
        return tuple(self.record(row) for row in await tx.rows(f"{self._select} {clause}", *values))

    async def page(
        self,
        tx: Transaction,
        *,
        after: Key | None,
        limit: int,
        order: tuple[str, ...] | None = None,
        descends: bool = False,
        **equal: Value,
    ) -> Page[Record]:
        """Read a part of the list; costs the same at its end as at its start.

        Args:
            tx: the transaction; the pages of a list need not be read in one.
            after: the last page's `after`; None for the first page.
            limit: of rows, 1 <= limit <= CONTROL_PAGE_MAX.
            order: the columns to order by, unique together with `equal`; the key if None.
            descends: from the greatest to the least.
            equal: columns that are the same in the whole list.
        Raises: Refused(INVALID): `after` is not of this list, or the limit is out of bounds.
        """
        ordered = order or tuple(name for name in self._key if name not in equal)
        _check_page(after, limit, columns=len(ordered))
        sign, way = ("<", " DESC") if descends else (">", "")
        clause, values = _where(equal)
        if after is not None:
            marks = ", ".join(f"${len(values) + place + 1}" for place in range(len(after)))
            clause += f"{' AND' if clause else ' WHERE'} ({', '.join(ordered)}) {sign} ({marks})"
            values += after
        # One more than asked for tells whether a page follows.
        by = ", ".join(name + way for name in ordered)
        clause += f" ORDER BY {by} LIMIT {limit + 1}"
        found = await self.select(tx, clause, *values)
        records = found[:limit]
        has_more = len(found) > limit
        last = tuple(getattr(records[-1], name) for name in ordered) if has_more else None
        return Page(records=records, after=last)

    def record(self, row: Row) -> Record:
        """Make a record of a row that has all columns in their order. Raises: Corrupt."""
        try:
            return msgspec.convert(
                dict(zip(self._columns, row, strict=True)), self._record, builtin_types=(bytes,)
            )
        except msgspec.ValidationError:  # its text may quote the value
            raise Corrupt(
                f"A row of {self._table} is none of this version's.",
                file="control",
                where=self._table,
            ) from None

    @property
    def columns(self) -> str:
        """The columns in their order, as a SELECT or RETURNING lists them."""
        return ", ".join(self._columns)

    def _values(self, record: Record) -> Sequence[Any]:
        return tuple(getattr(record, name) for name in self._columns)


def _where(equal: Mapping[str, Value]) -> tuple[str, tuple[Value, ...]]:
    if not equal:
        return "", ()
    named = " AND ".join(f"{name} = ${place + 1}" for place, name in enumerate(equal))
    return f" WHERE {named}", tuple(equal.values())


def _check_page(after: Key | None, limit: int, *, columns: int) -> None:
    if not 1 <= limit <= CONTROL_PAGE_MAX:
        raise Refused(
            RefusalKind.INVALID, f"A page has 1 to {CONTROL_PAGE_MAX} rows; {limit} is neither."
        )
    if after is not None and len(after) != columns:
        raise Refused(RefusalKind.INVALID, "This place to go on from is of another list.")
