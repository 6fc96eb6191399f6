"""AttributesToGet of GetItem and BatchGetItem, case by case; every case names its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import NOT_FOUND, Case, invalid, name_of, run, violated
from tests.support.dynamodb_former import EXTENDDB, INVALID, PARITY, UPDATES, n, s
from tests.support.dynamodb_members import capacity
from tests.support.dynamodb_values import BAD_VALUES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.dynamodb_cases import Tables

SOURCE: Final = "dynalite test/getItem.js"
BATCH: Final = "dynalite test/batchGetItem.js"
KEY: Final[dict[str, Any]] = {"p": {"S": "<ID>"}, "c": {"S": "c"}}
ITEM: Final[dict[str, Any]] = {
    **KEY,
    "a": s("hello"),
    "b": s("hi"),
    "size": n(1),
    "m": {"M": {"k": s("v")}},
    "m.k": n(2),
}
GETS: Final = f"{UPDATES}::test_getitem_attributes_to_get"
LENGTH: Final = "Member must have length {} than or equal to {}"
# What is asked for, what comes, who says so.
WANTED: Final[list[tuple[str, Sequence[str], Sequence[str], str]]] = [
    ("one", ["a"], ["a"], GETS),
    ("sort-key-and-one", ["c", "a"], ["c", "a"], GETS),
    ("key", ["p", "c"], ["p", "c"], GETS),
    ("nothing-that-is-there", ["nonexistent"], [], GETS),
    ("one-that-is-not-there", ["a", "nonexistent"], ["a"], f"{PARITY}/attributesToGet"),
    ("reserved-word", ["size"], ["size"], SOURCE),
    ("map", ["m"], ["m"], SOURCE),
    ("name-with-a-dot", ["m.k"], ["m.k"], SOURCE),
    ("no-path", ["l[0]", "m.j"], [], SOURCE),
    ("all", list(ITEM), list(ITEM), SOURCE),
    ("255", [*(f"x{at}" for at in range(254)), "b"], ["b"], "botocore's model, AttributeNameList"),
]
REPEATED: Final = f"{INVALID}Duplicate value in attribute name: a"
REFUSED: Final[list[tuple[str, Any, Any, str]]] = [
    ("repeated", ["a", "a"], invalid(REPEATED), f"{SOURCE}; {GETS}_duplicate"),
    ("repeated-behind", ["b", "a", "c", "a", "b"], invalid(REPEATED), SOURCE),
    (
        "empty-name",
        ["a", ""],
        invalid(f"{INVALID}Empty attribute name"),
        "DynamoDB local, ErrorFactory.EMPTY_ATTRIBUTE_NAME",
    ),
]


@pytest.mark.parametrize(
    ("wanted", "found", "source"), [one[1:] for one in WANTED], ids=[one[0] for one in WANTED]
)
def test_attributes_of_an_item(
    tables: Tables, wanted: list[str], found: list[str], source: str
) -> None:
    """GetItem gives the attributes asked for as far as they are there, and no key besides."""
    request = {"TableName": "<PC>", "Key": KEY, "AttributesToGet": wanted, "ConsistentRead": True}
    answer = {"Item": {name: ITEM[name] for name in found}}
    case = Case(name="", request=request, given=[ITEM], answer=answer, source=source)
    run(tables, "GetItem", case)


@pytest.mark.parametrize(
    ("wanted", "found", "source"), [one[1:] for one in WANTED], ids=[one[0] for one in WANTED]
)
def test_attributes_of_items(
    tables: Tables, wanted: list[str], found: list[str], source: str
) -> None:
    """BatchGetItem does the same for each of a table's items."""
    block = {"Keys": [KEY], "AttributesToGet": wanted, "ConsistentRead": True}
    item = {name: ITEM[name] for name in found}
    case = Case(
        name="",
        request={"RequestItems": {"<PC>": block}},
        given=[ITEM],
        answer={"Responses": {"<PC>": [item]}, "UnprocessedKeys": {}},
        source=source,
        table="PC",
    )
    run(tables, "BatchGetItem", case)


@pytest.mark.parametrize(
    ("wanted", "error", "source"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
def test_refused_names(tables: Tables, wanted: list[str], error: Any, source: str) -> None:
    """A name may be asked for once; both operations say so before they look for the table."""
    request = {"TableName": "<GONE>", "Key": KEY, "AttributesToGet": wanted}
    run(tables, "GetItem", Case(name="", request=request, error=error, source=source))
    block = {"Keys": [KEY], "AttributesToGet": wanted}
    batch = {"RequestItems": {"<GONE>": block}}
    run(tables, "BatchGetItem", Case(name="", request=batch, error=error, source=source))


ORDER: Final = [
    Case(
        name="none",
        request={"TableName": "<PC>", "Key": KEY, "AttributesToGet": []},
        error=violated(("[]", "attributesToGet", LENGTH.format("greater", 1))),
        source=f"{SOURCE}; {GETS}_empty",
    ),
    Case(
        name="key-before-names",
        request={"TableName": "<PC>", "Key": {"p": {}}, "AttributesToGet": ["a", "a"]},
        error=invalid(BAD_VALUES["empty"][1]),
        source="dynalite validations/getItem.js",
    ),
    Case(
        name="table-behind",
        request={"TableName": "<GONE>", "Key": KEY, "AttributesToGet": ["a"]},
        error=NOT_FOUND,
        source=SOURCE,
    ),
    Case(
        name="beside-an-expression",
        request={
            "TableName": "<PC>",
            "Key": KEY,
            "AttributesToGet": ["a", "a"],
            "ProjectionExpression": "",
            "ExpressionAttributeNames": {},
        },
        error=invalid(
            "Can not use both expression and non-expression parameters in the same request: "
            "Non-expression parameters: {AttributesToGet} Expression parameters: "
            "{ProjectionExpression}"
        ),
        source=f"{SOURCE}; {PARITY}/attributesToGet",
    ),
    Case(
        name="with-names",
        request={
            "TableName": "<PC>",
            "Key": KEY,
            "AttributesToGet": ["a"],
            "ExpressionAttributeNames": {"#a": "a"},
        },
        error=invalid("ExpressionAttributeNames can only be specified when using expressions"),
        source=f"{SOURCE}; {EXTENDDB}",
    ),
    Case(
        name="costs-the-whole-item",
        request={
            "TableName": "<PC>",
            "Key": KEY,
            "AttributesToGet": ["a"],
            "ConsistentRead": True,
            "ReturnConsumedCapacity": "TOTAL",
        },
        given=[{**KEY, "a": s("a"), "b": s("b" * 4096)}],
        answer={"Item": {"a": s("a")}, "ConsumedCapacity": capacity(2, "<PC>")},
        source="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
        "read-write-operations.html",
    ),
    Case(
        name="of-nothing",
        request={"TableName": "<PC>", "Key": KEY, "AttributesToGet": ["a"]},
        answer={},
        source=SOURCE,
    ),
]


@pytest.mark.parametrize("case", ORDER, ids=name_of)
def test_requests(tables: Tables, case: Case) -> None:
    """What goes with AttributesToGet, what does not, and what is told first."""
    run(tables, "GetItem", case)


def test_names_before_keys_of_a_batch(tables: Tables) -> None:
    """A batch is looked at table by table: names, then keys (dynalite's suite)."""
    block = {"Keys": [{"p": {}}], "AttributesToGet": ["a", "a"]}
    request = {"RequestItems": {"<PC>": block}}
    run(
        tables,
        "BatchGetItem",
        Case(name="", request=request, error=invalid(REPEATED), source=BATCH),
    )


def test_a_batch_mixes_no_forms(tables: Tables) -> None:
    """The names of a table and a projection of it exclude each other (dynalite's suite)."""
    block = {"Keys": [KEY], "AttributesToGet": ["a"], "ProjectionExpression": "b"}
    text = (
        "Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}"
    )
    request = {"RequestItems": {"<PC>": block}}
    run(tables, "BatchGetItem", Case(name="", request=request, error=invalid(text), source=BATCH))
