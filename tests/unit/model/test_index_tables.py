"""The hidden tables of global indexes: their names, their definitions, and who finds them."""

from __future__ import annotations

import pytest

from dstore.model.errors import Refused
from dstore.model.index_of import (
    IndexOf,
    index_table_name,
    is_index_table,
    validate_resource_name,
)
from dstore.model.index_tables import index_table_definition
from dstore.model.keys import KeyKind
from dstore.model.rid import validate_table_name
from dstore.model.stored_definition import decode_definition, encode_definition
from dstore.model.table_settings import Index, KeyAttribute, ProjectionType, TableSettings
from dstore.model.tables import Door, TableDefinition, TableId
from dstore.topology import keyspace as keys

BASE = TableDefinition(
    tenant="acme",
    name="orders",
    table_id=TableId("00000000-0000-4000-8000-000000000001"),
    partition=KeyAttribute(name="customer", kind=KeyKind.STRING),
    sort=KeyAttribute(name="number", kind=KeyKind.NUMBER),
    door=Door.DYNAMODB,
    created_at_us=1,
    settings=TableSettings(
        index_attributes=(
            KeyAttribute(name="state", kind=KeyKind.STRING),
            KeyAttribute(name="at", kind=KeyKind.BINARY),
        ),
        replication_factor=2,
        tags={"a": "b"},
    ),
)
INDEX = Index(
    name="by-state",
    hash_keys=("state", "customer"),
    range_keys=("at",),
    projection=ProjectionType.INCLUDE,
    included=("total",),
)


def _hidden() -> TableDefinition:
    return index_table_definition(
        BASE, INDEX, table_id=TableId("00000000-0000-4000-8000-000000000002"), created_at_us=9
    )


def test_the_definition_has_all_that_entries_are_made_of() -> None:
    """Keys come with their types, the base table's among them; of its settings only the factor."""
    made = _hidden()
    assert (made.tenant, made.name, made.created_at_us) == ("acme", "orders:by-state", 9)
    assert made.settings == TableSettings(replication_factor=2)
    assert made.index_of == IndexOf(
        table_id=BASE.table_id,
        table="orders",
        name="by-state",
        hash_keys=(
            KeyAttribute(name="state", kind=KeyKind.STRING),
            KeyAttribute(name="customer", kind=KeyKind.STRING),
        ),
        range_keys=(KeyAttribute(name="at", kind=KeyKind.BINARY),),
        table_keys=BASE.keys,
        projection=ProjectionType.INCLUDE,
        included=("total",),
    )


def test_a_stored_definition_comes_back() -> None:
    """What is stored of a hidden table, and of any other, reads as it was."""
    for made in (BASE, _hidden()):
        again = decode_definition(
            encode_definition(made), tenant=made.tenant, name=made.name, table_id=made.table_id
        )
        assert again == made


def test_a_table_stored_before_there_were_indexes_is_no_index() -> None:
    """A definition says nothing of indexes unless it is one's, and then it is a table's."""
    assert "index_of" not in encode_definition(BASE)


def test_no_client_can_spell_the_name() -> None:
    """A hidden table's name is none that a table may have, and has one place in the keyspace."""
    name = index_table_name("orders", "by-state")
    assert is_index_table(name)
    assert not is_index_table("orders")
    with pytest.raises(Refused):
        validate_table_name(name)
    path = keys.TablePath("acme", name)
    assert keys.parse(path.path) == path
    assert keys.parse(keys.RangePath("acme", name, 0).path) == keys.RangePath("acme", name, 0)


@pytest.mark.parametrize("name", ["orders:", ":by-state", "a:b", "orders:by:state", "orders:x/y"])
def test_half_a_name_is_none(name: str) -> None:
    """Both parts are names by the rule of tables, and there are two of them."""
    with pytest.raises(Refused):
        validate_resource_name(name)
    assert keys.parse(f"table/acme/{name}") is None
