"""The hidden table of a global index: what it is called, and what it says of its index.

A global index is a table of its own, with ranges, replicas and splits as any table has, that no
client can name: its name is the base table's and the index's with a colon between them, which is in
no name that a client gives (`model.rid`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dstore.model.rid import validate_table_name
from dstore.model.table_settings import KeyAttribute, ProjectionType

_BETWEEN: Final = ":"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOf:
    """Whose index a hidden table is, and of what its entries are made. It never changes.

    Attributes:
        table_id, table: the base table's UUID and name.
        name: the index's.
        hash_keys, range_keys: its key attributes with their types, in their order.
        table_keys: the base table's, HASH before RANGE, which every entry of an index has too.
        projection, included: which other attributes an entry has.
    """

    table_id: str
    table: str
    name: str
    hash_keys: tuple[KeyAttribute, ...]
    range_keys: tuple[KeyAttribute, ...] = ()
    table_keys: tuple[KeyAttribute, ...]
    projection: ProjectionType
    included: tuple[str, ...] = ()


def index_table_name(table: str, index: str) -> str:
    """Name the hidden table of an index of a table."""
    return f"{table}{_BETWEEN}{index}"


def is_index_table(name: str) -> bool:
    """Tell whether a name is that of a hidden table."""
    return _BETWEEN in name


def base_table_name(name: str) -> str:
    """Give the base table's name of a hidden table's, and any other name as it is."""
    return name.partition(_BETWEEN)[0]


def validate_resource_name(name: str) -> str:
    """Give a table's name back if it may be one, or an index's hidden table's.

    Raises: Refused: a part of it is no name.
    """
    table, _, index = name.partition(_BETWEEN)
    validate_table_name(table)
    if is_index_table(name):
        validate_table_name(index)  # the rule is the same
    return name
