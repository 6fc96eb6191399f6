"""DynamoDB's writes as pure functions of the entry before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstore.base.limits import ITEM_BYTES_MAX
from dstore.expressions import ExpressionError, Expressions
from dstore.model.errors import ConditionFailed
from dstore.model.keys import KeyKind, encode_key
from dstore.model.ranges import RangeMap, RangeRef, Table
from dstore.model.table_settings import Index, ProjectionType, TableSettings
from dstore.model.tables import Door, KeyAttribute, TableDefinition, TableId
from dstore.model.values import Attribute, Item
from dstore.service.item_writes import Guard, ItemMisfit, Misfit, delete, put, update
from dstore.service.items import ItemKey, key_attributes, whole_item
from dstore.service.mutations import ItemMutation
from dstore.storage.entries import Entry, cells_of
from dstore.storage.range_writer import Delete, Outcome, Put

DEFINITION = TableDefinition(
    tenant="acme",
    name="table",
    table_id=TableId("1"),
    partition=KeyAttribute(name="id", kind=KeyKind.STRING),
    door=Door.DYNAMODB,
    created_at_us=0,
)
INDEXED = replace(
    DEFINITION,
    settings=TableSettings(
        index_attributes=(KeyAttribute(name="color", kind=KeyKind.STRING),),
        global_indexes=(
            Index(name="by_color", hash_keys=("color",), projection=ProjectionType.ALL),
        ),
    ),
)
NAMES = ("a", "b", "c")


def a_key(text: str = "x", definition: TableDefinition = DEFINITION) -> ItemKey:
    return ItemKey(
        table=Table(definition=definition, ranges=RangeMap.of([RangeRef(range_id="r")])),
        rid_id=encode_key((KeyKind.STRING, text)),
        attributes={"id": {"S": text}},
    )


def an_entry(**attributes: Attribute) -> Entry:
    return Entry(cells_of(attributes), "1")


def changing(text: str, **values: Attribute) -> Any:
    return Expressions(None, {f":{name}": value for name, value in values.items()} or None).update(
        text
    )


def a_guard(text: str, *, shows_item: bool = False) -> Guard:
    return Guard(condition=Expressions().condition(text), shows_item=shows_item)


def updated(text: str, previous: Entry | None, **values: Attribute) -> Outcome:
    return update(changing(text, **values), key=a_key(), guard=None).apply(previous)


def test_put_leaves_out_the_key() -> None:
    """The key stands in RID_ID; an attribute row of it would be a second truth (ADR 0004)."""
    mutation = put({"id": {"S": "x"}, "a": {"N": "1"}}, key=a_key(), guard=None)
    assert Put({"a": {"N": "1"}}) == mutation.apply(an_entry(b={"S": "gone"}))


@pytest.mark.parametrize(
    "text",
    [
        "attribute_exists(id)",
        "id = :x AND a = :number",
        "attribute_not_exists(nowhere) AND attribute_exists(a)",
        "m.n[1] = :number AND size(m) = :one",
        "a = b",
        "attribute_type(m, :type)",
        "NOT contains(id, nowhere)",
    ],
)
def test_guards_see_what_the_whole_item_shows(text: str) -> None:
    """A guard reads only the attributes that its condition looks at, and judges as if all."""
    values: dict[str, Attribute] = {
        ":x": {"S": "x"},
        ":number": {"N": "1.5"},
        ":one": {"N": "1"},
        ":type": {"S": "M"},
    }
    condition = Expressions(None, values).condition(text)
    nested: Attribute = {"M": {"n": {"L": [{"S": "p"}, {"N": "1.50"}]}}}
    entries = (an_entry(a={"N": "1.50"}, m=nested, c={"S": "z"}), an_entry(a={"S": "y"}), None)
    key = a_key().attributes
    for entry in entries:
        whole = None if entry is None else whole_item(entry, key)
        for shows_item in (False, True):
            guard = Guard(condition=condition, shows_item=shows_item)
            if condition.holds(whole):
                guard.check(entry, key)
                continue
            with pytest.raises(ConditionFailed) as failed:
                guard.check(entry, key)
            assert failed.value.previous == (whole if shows_item else None)


def test_conditions_see_the_key_and_plain_numbers() -> None:
    """A condition looks at the whole item, key included, whoever stored it."""
    seen = a_guard("attribute_exists(id)", shows_item=True)
    assert Delete() == delete(key=a_key(), guard=seen).apply(an_entry())
    absent = a_guard("attribute_not_exists(id)", shows_item=True)
    with pytest.raises(ConditionFailed) as failed:
        delete(key=a_key(), guard=absent).apply(an_entry(n={"N": "1.50"}))
    assert failed.value.previous == {"id": {"S": "x"}, "n": {"N": "1.5"}}


@pytest.mark.parametrize("shows_item", [True, False])
def test_a_condition_on_nothing(shows_item: bool) -> None:
    """Where there is no item, nothing can be shown."""
    guard = a_guard("attribute_exists(id)", shows_item=shows_item)
    with pytest.raises(ConditionFailed) as failed:
        put({"id": {"S": "x"}}, key=a_key(), guard=guard).apply(None)
    assert failed.value.previous is None


def test_a_failed_condition_does_not_show_the_item_unasked() -> None:
    """ReturnValuesOnConditionCheckFailure is NONE unless the client says otherwise."""
    with pytest.raises(ConditionFailed) as failed:
        delete(key=a_key(), guard=a_guard("attribute_not_exists(id)")).apply(an_entry())
    assert failed.value.previous is None


def test_update_makes_an_item() -> None:
    """An update of an item that is not there begins with its key alone."""
    assert Put({"a": {"N": "1"}}, (("a",),)) == updated("SET a = :a", None, a={"N": "1"})
    assert Put({}) == update(None, key=a_key(), guard=None).apply(None)


@pytest.mark.parametrize(
    "text", ["REMOVE a", "REMOVE a.b, c[1]", "DELETE a :a", "REMOVE b DELETE a :a"]
)
def test_update_that_only_removes_makes_no_item(text: str) -> None:
    """AWS makes no item of nothing but removals: github.com/scylladb/scylladb/issues/5862."""
    values = {"a": {"SS": ["x"]}} if ":a" in text else {}
    assert Delete() == updated(text, None, **values)
    assert isinstance(updated("REMOVE b ADD a :a", None, a={"N": "1"}), Put)


def test_update_that_only_removes_keeps_an_item() -> None:
    """An item that is there stays, even without any attribute."""
    assert Put({}, (("a",),)) == updated("REMOVE a", an_entry(a={"N": "1"}))


def test_update_keeps_spellings() -> None:
    """What an update does not touch stays as v1 spelled it."""
    outcome = updated("SET b = :b", an_entry(a={"N": "1.50"}), b={"N": "2"})
    assert Put({"a": {"N": "1.50"}, "b": {"N": "2"}}, (("b",),)) == outcome
    assert Put({"a": {"N": "1.50"}}) == update(None, key=a_key(), guard=None).apply(
        an_entry(a={"N": "1.50"})
    )


def test_update_keeps_within_400_kb() -> None:
    """An item of exactly 400 KB, key included, can be made, and one byte more cannot."""
    room = ITEM_BYTES_MAX - len("id" + "x" + "a")
    assert isinstance(updated("SET a = :a", None, a={"S": "y" * room}), Put)
    with pytest.raises(ItemMisfit) as refused:
        updated("SET a = :a", None, a={"S": "y" * (room + 1)})
    assert Misfit.TOO_LARGE is refused.value.misfit


def test_update_keeps_within_32_levels() -> None:
    """A value that is well by itself may still be too deep where it is put."""
    deep: Attribute = {"S": "leaf"}
    for _ in range(30):
        deep = {"M": {"n": deep}}
    outcome = updated("SET a.b = :v", an_entry(a={"M": {}}), v=deep)
    assert isinstance(outcome, Put)
    with pytest.raises(ItemMisfit) as refused:
        updated("SET a.b.c = :v", an_entry(a={"M": {"b": {"M": {}}}}), v=deep)
    assert Misfit.TOO_DEEP is refused.value.misfit


@pytest.mark.parametrize(
    ("value", "misfit"),
    [
        ({"N": "1"}, Misfit.INDEX_KEY_TYPE),
        ({"S": ""}, Misfit.INDEX_KEY_EMPTY),
        ({"S": "x" * 2_049}, Misfit.INDEX_KEY_TOO_LONG),
    ],
)
def test_update_keeps_index_keys(value: Attribute, misfit: Misfit) -> None:
    """What an index is sorted by must be a key when the update is done, wherever it came from."""
    mutation = update(changing("SET color = a"), key=a_key(definition=INDEXED), guard=None)
    with pytest.raises(ItemMisfit) as refused:
        mutation.apply(an_entry(a=value))
    assert misfit is refused.value.misfit
    assert isinstance(mutation.apply(an_entry(a={"S": "red"})), Put)


def test_update_leaves_a_wrong_index_key_alone() -> None:
    """An item that was there before the index is not refused for what an update leaves alone."""
    mutation = update(changing("SET b = a"), key=a_key(definition=INDEXED), guard=None)
    assert isinstance(mutation.apply(an_entry(a={"N": "1"}, color={"N": "1"})), Put)


def test_update_fails_on_the_item() -> None:
    """What does not go with the item is refused, and the outcome is none."""
    with pytest.raises(ExpressionError):
        updated("SET a = b", an_entry())


def test_key_round_trip() -> None:
    """Key attributes come back out of RID_ID as they went in, a number plainly spelled."""
    definition = replace(
        DEFINITION,
        partition=KeyAttribute(name="p", kind=KeyKind.BINARY),
        sort=KeyAttribute(name="s", kind=KeyKind.NUMBER),
    )
    rid_id = encode_key((KeyKind.BINARY, b"\x00\xff"), (KeyKind.NUMBER, "1.50"))
    assert key_attributes(definition, rid_id) == {"p": {"B": "AP8="}, "s": {"N": "1.5"}}


# ------------------------------------------------------------------------ against a plain dict

numbers = st.integers(-5, 5).map(lambda number: {"N": str(number)})
values = numbers | st.sampled_from([{"S": "s"}, {"SS": ["a", "b"]}, {"L": [{"N": "1"}]}])
bodies = st.dictionaries(st.sampled_from(NAMES), values, max_size=3)
names = st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("put"), bodies),
    st.tuples(st.just("put_new"), bodies),
    st.tuples(st.just("delete"), st.none()),
    st.tuples(st.just("delete_if"), names),
    st.tuples(st.just("set"), st.tuples(names, values)),
    st.tuples(st.just("copy"), st.tuples(names, names)),
    st.tuples(st.just("add"), st.tuples(names, st.integers(-3, 3))),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("touch"), st.none()),
)


def planned(step: tuple[str, Any], key: ItemKey) -> ItemMutation:
    """Make the write of a step."""
    what, given_ = step
    match what:
        case "put" | "put_new":
            guard = a_guard("attribute_not_exists(id)") if what == "put_new" else None
            return put({**given_, **key.attributes}, key=key, guard=guard)
        case "delete":
            return delete(key=key, guard=None)
        case "delete_if":
            return delete(key=key, guard=a_guard(f"attribute_exists({given_})"))
        case "set":
            return update(changing(f"SET {given_[0]} = :v", v=given_[1]), key=key, guard=None)
        case "copy":
            return update(changing(f"SET {given_[0]} = {given_[1]}"), key=key, guard=None)
        case "add":
            amount = {"N": str(given_[1])}
            return update(changing(f"ADD {given_[0]} :n", n=amount), key=key, guard=None)
        case "remove":
            return update(changing(f"REMOVE {given_}"), key=key, guard=None)
        case _:
            return update(None, key=key, guard=None)


def modelled(step: tuple[str, Any], item: Item | None) -> Item | None:
    """Do a step on the plain dict. Raises: KeyError: it must be refused."""
    what, given_ = step
    match what:
        case "put":
            return dict(given_)
        case "put_new":
            if item is not None:
                raise KeyError(what)
            return dict(given_)
        case "delete":
            return None
        case "delete_if":
            (item or {})[given_]
            return None
        case "remove":
            return item and {name: value for name, value in item.items() if name != given_}
        case "touch":
            return item or {}
        case _:
            new = dict(item or {})
    if what == "set":
        new[given_[0]] = given_[1]
    elif what == "copy":
        new[given_[0]] = new[given_[1]]
    else:
        before = new.get(given_[0], {"N": "0"})
        new[given_[0]] = {"N": str(int(before["N"]) + given_[1])}
    return new


@given(st.lists(steps, max_size=12))
@settings(max_examples=200, deadline=None)
def test_sequences_against_a_dict(sequence: list[tuple[str, Any]]) -> None:
    """Any sequence of writes leaves the item that a plain dict would hold."""
    key = a_key()
    entry: Entry | None = None
    model: Item | None = None
    for step in sequence:
        mutation = planned(step, key)
        try:
            model = modelled(step, model)
        except KeyError:
            with pytest.raises((ConditionFailed, ExpressionError)):
                mutation.apply(entry)
            continue
        outcome = mutation.apply(entry)
        assert outcome == mutation.apply(entry), "a write is evaluated twice when a batch is"
        entry = None if isinstance(outcome, Delete) else Entry(cells_of(outcome.item), "1")
        expected = None if model is None else {**key.attributes, **model}
        assert expected == (None if entry is None else whole_item(entry, key.attributes))
