"""Entries of secondary indexes by example: their stored keys, what they hold, what they count."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from dstore.base.limits import RID_ID_BYTES_MAX
from dstore.model.errors import Corrupt
from dstore.model.index_rows import (
    IndexedKey,
    entry_bytes,
    global_key,
    global_prefix,
    index_shape,
    index_shapes,
    is_held,
    local_key,
    parse_key,
    projected,
)
from dstore.model.keys import KeyKind, encode_key, partition_prefix
from dstore.model.table_settings import Index, KeyAttribute, ProjectionType, TableSettings
from dstore.model.tables import Door, TableDefinition, TableId
from dstore.model.values import item_bytes

if TYPE_CHECKING:
    from dstore.model.values import Item

S, N, B = KeyKind.STRING, KeyKind.NUMBER, KeyKind.BINARY
ALL, KEYS_ONLY, INCLUDE = ProjectionType.ALL, ProjectionType.KEYS_ONLY, ProjectionType.INCLUDE
_HASH_BYTES: Final = 4


def _table(*, local: tuple[Index, ...] = (), other: tuple[Index, ...] = ()) -> TableDefinition:
    """A table by `p` and `s`, whose indexes may also be by a, b, c, d (S), n (N) and x (B)."""
    kinds = {"a": S, "b": S, "c": S, "d": S, "n": N, "x": B}
    return TableDefinition(
        tenant="shop",
        name="things",
        table_id=TableId("t"),
        partition=KeyAttribute(name="p", kind=S),
        sort=KeyAttribute(name="s", kind=S),
        door=Door.DYNAMODB,
        created_at_us=0,
        settings=TableSettings(
            index_attributes=tuple(KeyAttribute(name=n, kind=k) for n, k in kinds.items()),
            local_indexes=local,
            global_indexes=other,
        ),
    )


def _local(attribute: str, **more: object) -> TableDefinition:
    index = Index(
        name="i",
        hash_keys=("p",),
        range_keys=(attribute,),
        **{"projection": ALL, **more},  # type: ignore[arg-type]
    )
    return _table(local=(index,))


def _global(
    hashes: tuple[str, ...], ranges: tuple[str, ...] = (), **more: object
) -> TableDefinition:
    index = Index(
        name="i",
        hash_keys=hashes,
        range_keys=ranges,
        **{"projection": ALL, **more},  # type: ignore[arg-type]
    )
    return _table(other=(index,))


def _item(**attributes: dict[str, str]) -> Item:
    return {"p": {"S": "abc"}, "s": {"S": "d"}, **attributes}


RID_ID: Final = encode_key((S, "abc"), (S, "d"))
PREFIX: Final = partition_prefix((S, "abc"))


def _local_key(definition: TableDefinition, item: Item) -> bytes | None:
    shape = index_shape(definition, "i")
    assert shape is not None
    return local_key(shape, item, RID_ID, prefix_bytes=len(PREFIX))


def _global_key(definition: TableDefinition, item: Item) -> bytes | None:
    shape = index_shape(definition, "i")
    assert shape is not None
    return global_key(shape, item, RID_ID)


@pytest.mark.parametrize(
    ("attribute", "value", "encoded"),
    [
        ("a", {"S": "e"}, "b3dd93fa 616263 0001 65 0001 64 0001"),
        ("n", {"N": "12.5"}, "b3dd93fa 616263 0001 03 8001 0d 33 00 64 0001"),
        ("n", {"N": "1.250e1"}, "b3dd93fa 616263 0001 03 8001 0d 33 00 64 0001"),
        ("x", {"B": "AP8="}, "b3dd93fa 616263 0001 00ffff 0001 64 0001"),
        ("s", {"S": "d"}, "b3dd93fa 616263 0001 64 0001 64 0001"),
    ],
)
def test_stored_form_of_local_keys(attribute: str, value: dict[str, str], encoded: str) -> None:
    """The bytes are a file format: partition prefix, the index's attribute, the table's sort."""
    definition = _local(attribute)
    key = _local_key(definition, {attribute: value})
    assert key is not None
    assert encoded.replace(" ", "") == key.hex()
    shape = index_shapes(definition)[0]
    assert parse_key(shape, key).rid_id == RID_ID


def test_stored_form_of_a_global_key() -> None:
    """One partition attribute hashes as a table's partition key does; the table's key follows."""
    definition = _global(("a",), ("n",))
    key = _global_key(definition, _item(a={"S": "abc"}, n={"N": "1"}))
    assert key is not None
    assert key.startswith(PREFIX)
    assert key == PREFIX + bytes.fromhex("03 8000 0b 00") + RID_ID
    parsed = parse_key(index_shapes(definition)[0], key)
    assert parsed == IndexedKey(values=("abc", "1"), rid_id=RID_ID)


@pytest.mark.parametrize(
    ("kind", "value", "table_key"),
    [("a", {"S": "é"}, (S, "é")), ("n", {"N": "5.0"}, (N, "5")), ("x", {"B": "AA=="}, (B, b"\0"))],
)
def test_a_global_partition_lies_where_a_tables_would(
    kind: str, value: dict[str, str], table_key: tuple[KeyKind, str | bytes]
) -> None:
    """An index by one attribute is hashed and encoded as a table with that key."""
    shape = index_shapes(_global((kind,)))[0]
    assert partition_prefix(table_key) == global_prefix(shape, _item(**{kind: value}))


def test_multi_attribute_keys() -> None:
    """Up to four and four attributes are joined in the order of the declaration."""
    definition = _global(("d", "c", "b", "a"), ("n", "x", "s", "p"))
    item = _item(
        a={"S": "1"}, b={"S": "2"}, c={"S": "3"}, d={"S": "4"}, n={"N": "-7"}, x={"B": "AA=="}
    )
    key = _global_key(definition, item)
    assert key is not None
    parsed = parse_key(index_shapes(definition)[0], key)
    assert parsed.values == ("4", "3", "2", "1", "-7", b"\0", "d", "abc")
    assert parsed.rid_id == RID_ID
    swapped = _global_key(_global(("c", "d", "b", "a"), ("n",)), item)
    assert swapped is not None
    assert swapped[:_HASH_BYTES] != key[:_HASH_BYTES], "other partitions hash otherwise"


@pytest.mark.parametrize("missing", ["a", "b", "n", "x"])
def test_a_global_index_is_sparse(missing: str) -> None:
    """An item that lacks any one key attribute is not in the index."""
    item = _item(a={"S": "1"}, b={"S": "2"}, n={"N": "3"}, x={"B": "AA=="})
    definition = _global(("a", "b"), ("n", "x"))
    assert _global_key(definition, item) is not None
    del item[missing]
    assert _global_key(definition, item) is None


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("a", None),
        ("a", {"N": "1"}),
        ("a", {"NULL": True}),
        ("a", {"S": ""}),
        ("a", {"S": "x" * 1_025}),
        ("n", {"S": "1"}),
        ("x", {"B": ""}),
        ("x", {"B": b64encode(b"x" * 1_025).decode()}),
    ],
)
def test_what_does_not_fit_is_left_out(attribute: str, value: dict[str, str] | None) -> None:
    """An item may be older than the index: what could be no key of it keeps it out."""
    item = {} if value is None else {attribute: value}
    assert _local_key(_local(attribute), item) is None
    assert _global_key(_global(("b",), (attribute,)), {"b": {"S": "1"}, **item}) is None


def test_bounds_of_partition_attributes() -> None:
    """A global index's partition attribute may have 2,048 bytes, its sort attribute 1,024."""
    assert _global_key(_global(("a",)), _item(a={"S": "x" * 2_048})) is not None
    assert _global_key(_global(("a",)), _item(a={"S": "x" * 2_049})) is None
    assert _global_key(_global(("b",), ("a",)), _item(b={"S": "1"}, a={"S": "x" * 1_024}))


def test_the_longest_key() -> None:
    """Nothing is longer than RID_ID_BYTES_MAX: all keys of NULs, four and four of them."""
    four = {"a": {"S": "\0" * 2_048}, "b": {"S": "\0" * 2_048}}
    four |= {"c": {"S": "\0" * 2_048}, "d": {"S": "\0" * 2_048}}
    kinds = tuple(KeyAttribute(name=name, kind=S) for name in "abcdefgh")
    index = Index(
        name="i", hash_keys=("a", "b", "c", "d"), range_keys=("e", "f", "g", "h"), projection=ALL
    )
    definition = TableDefinition(
        tenant="shop",
        name="things",
        table_id=TableId("t"),
        partition=KeyAttribute(name="p", kind=S),
        sort=KeyAttribute(name="s", kind=S),
        door=Door.DYNAMODB,
        created_at_us=0,
        settings=TableSettings(index_attributes=kinds, global_indexes=(index,)),
    )
    item = four | {name: {"S": "\0" * 1_024} for name in "efgh"}
    rid_id = encode_key((S, "\0" * 2_048), (S, "\0" * 1_024))
    key = global_key(index_shapes(definition)[0], item, rid_id)
    assert key is not None
    assert len(key) == RID_ID_BYTES_MAX


@pytest.mark.parametrize(
    ("projection", "included", "held"),
    [
        (ALL, (), {"p", "s", "a", "b", "c"}),
        (KEYS_ONLY, (), {"p", "s", "a"}),
        (INCLUDE, ("c",), {"p", "s", "a", "c"}),
        (INCLUDE, ("nowhere",), {"p", "s", "a"}),
    ],
)
def test_projections(projection: ProjectionType, included: tuple[str, ...], held: set[str]) -> None:
    """An entry has the keys of index and table, and what the index includes; ALL has all."""
    for definition in (
        _local("a", projection=projection, included=included),
        _global(("a",), projection=projection, included=included),
    ):
        shape = index_shapes(definition)[0]
        item = _item(a={"S": "1"}, b={"S": "22"}, c={"N": "333"})
        shown = projected(shape, item)
        assert shown.keys() == held
        assert entry_bytes(shape, item) == item_bytes(shown)
        assert is_held(shape, frozenset(held))
        assert is_held(shape, frozenset({"b"})) == (projection is ALL)


def test_names_of_a_place() -> None:
    """A LastEvaluatedKey has the index's keys and the table's, each attribute once."""
    assert index_shapes(_local("n"))[0].key_names == ("p", "n", "s")
    assert index_shapes(_global(("s",), ("n",)))[0].key_names == ("s", "n", "p")


def test_shapes_in_order() -> None:
    """Local indexes come before global ones; a name that no index has gives none."""
    local = Index(name="l", hash_keys=("p",), range_keys=("a",), projection=ALL)
    other = Index(name="g", hash_keys=("a",), projection=ALL)
    definition = _table(local=(local,), other=(other,))
    assert [(shape.name, shape.is_local) for shape in index_shapes(definition)] == [
        ("l", True),
        ("g", False),
    ]
    assert index_shape(definition, "x") is None
    assert index_shape(definition, "g") == index_shapes(definition)[1]
    assert index_shapes(_table()) == ()


@pytest.mark.parametrize("cut", [3, 4, 8, 12, 13])
def test_a_cut_key_is_corrupt(cut: int) -> None:
    """Bytes that no index could have written are told as damage."""
    key = _local_key(_local("a"), {"a": {"S": "e"}})
    assert key is not None
    with pytest.raises(Corrupt):
        parse_key(index_shapes(_local("a"))[0], key[:cut])


def test_keys_sort_as_values_do() -> None:
    """By the index's attribute first, then by the table's key."""
    shape = index_shapes(_local("n"))[0]
    keys = []
    for number in ("-1E+20", "-5", "-0.5", "0", "0.25", "3", "12", "1E+30"):
        for sort in ("", "a", "b"):
            rid_id = encode_key((S, "abc"), (S, sort or "\0"))
            keys.append(local_key(shape, {"n": {"N": number}}, rid_id, prefix_bytes=len(PREFIX)))
    assert None not in keys
    assert keys == sorted(keys, key=lambda key: key or b"")


def test_an_index_has_the_shape_of_its_own_definition() -> None:
    """A shape is kept with its definition: a table that is declared otherwise has another one."""
    by_a = _table(other=(Index(name="i", hash_keys=("a",), projection=ALL),))
    by_b = replace(by_a, settings=replace(by_a.settings, global_indexes=()))
    shape = index_shape(by_a, "i")
    assert shape is not None
    assert index_shape(by_a, "i") is shape
    assert shape == index_shapes(by_a)[0]
    assert index_shape(by_b, "i") is None
    assert index_shape(by_a, "j") is None
