"""Writes, conditions and projections of every kind, as hypothesis draws them."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from dstore.expressions import Condition, ExpressionError, Expressions, Projection, Update
from dstore.model.keys import KeyKind, encode_key
from dstore.model.ranges import RangeMap, RangeRef, Table
from dstore.model.table_settings import Index, ProjectionType, TableSettings
from dstore.model.tables import Door, KeyAttribute, TableDefinition, TableId
from dstore.model.values import NumberText
from dstore.service import entry_writes, item_writes
from dstore.service.item_writes import Guard
from dstore.service.items import EntryKey, ItemKey, key_attributes
from dstore.service.mutations import Mutation
from dstore.service.preconditions import Preconditions
from dstore.storage.entries import Entry, cells_of
from tests.property.test_expressions import (
    NAMES,
    conditions,
    items,
    paths,
    shaped_items,
    update_values,
    updates,
    values,
)
from tests.support.expression_text import condition_text, operand_text, update_text
from tests.support.former_terms import former_conditions, former_projections, former_updates

INDEXED = TableSettings(
    index_attributes=(KeyAttribute(name="c", kind=KeyKind.NUMBER),),
    global_indexes=(Index(name="by_c", hash_keys=("c",), projection=ProjectionType.ALL),),
)
KEY_TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


def a_table(kind: KeyKind, *, has_sort: bool, settings: TableSettings) -> Table:
    return Table(
        definition=TableDefinition(
            tenant="acme",
            name="table",
            table_id=TableId("1"),
            partition=KeyAttribute(name="id", kind=kind),
            sort=KeyAttribute(name="sk", kind=KeyKind.STRING) if has_sort else None,
            door=Door.DYNAMODB,
            created_at_us=0,
            settings=settings,
        ),
        ranges=RangeMap.of([RangeRef(range_id="r")]),
    )


@st.composite
def item_keys(draw: st.DrawFn) -> ItemKey:
    """Keys of all kinds, of tables with and without a sort key and an index."""
    kind, value = draw(
        st.one_of(
            st.tuples(st.just(KeyKind.STRING), KEY_TEXTS),
            st.tuples(st.just(KeyKind.NUMBER), st.sampled_from(["0", "-1.5", "1" + "0" * 40])),
            st.tuples(st.just(KeyKind.BINARY), st.binary(min_size=1, max_size=8)),
        )
    )
    has_sort = draw(st.booleans())
    settings = draw(st.sampled_from([TableSettings(), INDEXED]))
    table = a_table(kind, has_sort=has_sort, settings=settings)
    sort = (KeyKind.STRING, draw(KEY_TEXTS)) if has_sort else None
    rid_id = encode_key((kind, value), sort)
    return ItemKey(table=table, rid_id=rid_id, attributes=key_attributes(table.definition, rid_id))


@st.composite
def read_conditions(draw: st.DrawFn) -> Condition:
    """Conditions as requests have them: read from a text, beside other names and values.

    Or, here as below, from the members that expressions have replaced.
    """
    if draw(st.booleans()):
        return draw(former_conditions)
    text, given = condition_text(draw(conditions)), draw(values)
    try:
        return Expressions(NAMES, given).condition(text)
    except ExpressionError:
        assume(condition=False)
        raise


@st.composite
def read_updates(draw: st.DrawFn) -> Update:
    """The same of updates."""
    if draw(st.booleans()):
        return draw(former_updates)
    text, given = update_text(draw(updates)), draw(update_values)
    try:
        return Expressions(NAMES, given).update(text)
    except ExpressionError:
        assume(condition=False)
        raise


@st.composite
def read_projections(draw: st.DrawFn) -> Projection:
    """The same of projections."""
    if draw(st.booleans()):
        return draw(former_projections)
    texts = [operand_text(path) for path in draw(st.lists(paths, min_size=1, max_size=3))]
    try:
        return Expressions(NAMES, None).projection(", ".join(texts))
    except ExpressionError:
        assume(condition=False)
        raise


stored_items = items | shaped_items
entries = st.none() | st.builds(
    lambda item, version: Entry(cells_of(item), version),
    stored_items,
    st.sampled_from(["1", "2"]),
)
guards = st.none() | st.builds(
    lambda condition, shows_item: Guard(condition=condition, shows_item=shows_item),
    read_conditions(),
    st.booleans(),
)
tags = st.none() | st.sampled_from([("*",), ("1",), ("2", "3"), ()])
preconditions = st.builds(Preconditions, tags, tags)
plain_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.text(st.characters(codec="utf-8"), max_size=4),
        st.sampled_from(["1", "1.50", "-2e3", "0E0"]).map(NumberText),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=8,
)
patches = st.dictionaries(st.sampled_from(["a", "b", "c", "x.y[0]"]), plain_values, max_size=4)


@st.composite
def item_mutations(draw: st.DrawFn, key: ItemKey) -> Mutation:
    """DynamoDB's writes of an item."""
    guard = draw(guards)
    match draw(st.sampled_from(["put", "delete", "update", "touch"])):
        case "put":
            item = {**key.attributes, **draw(stored_items)}
            return item_writes.put(item, key=key, guard=guard)
        case "delete":
            return item_writes.delete(key=key, guard=guard)
        case "update":
            return item_writes.update(draw(read_updates()), key=key, guard=guard)
        case _:
            return item_writes.update(None, key=key, guard=guard)


@st.composite
def entry_mutations(draw: st.DrawFn, key: ItemKey) -> Mutation:
    """v1's writes of an entry; of a table with a sort key too, which the wire does not mind."""
    stated = draw(preconditions)
    item: Any = draw(stored_items)
    [(tag, text)] = key.attributes["id"].items()
    kind = KeyKind(tag)
    entry = EntryKey(table=key.table, key=(kind, text), rid_id=key.rid_id)
    match draw(st.sampled_from(["create", "replace", "merge", "delete"])):
        case "create":
            return entry_writes.CreateEntry(item=item, preconditions=stated)
        case "replace":
            return entry_writes.ReplaceEntry(item=item, preconditions=stated)
        case "merge":
            return entry_writes.merge(draw(patches), key=entry, preconditions=stated)
        case _:
            return entry_writes.delete(preconditions=stated)


@st.composite
def mutations(draw: st.DrawFn) -> tuple[ItemKey, Mutation]:
    """Writes of all kinds, each with the key that it is of."""
    key = draw(item_keys())
    return key, draw(item_mutations(key) | entry_mutations(key))


_TABLE = a_table(KeyKind.STRING, has_sort=False, settings=TableSettings())
_RID_ID = encode_key((KeyKind.STRING, "x"))
A_KEY = ItemKey(table=_TABLE, rid_id=_RID_ID, attributes={"id": {"S": "x"}})
