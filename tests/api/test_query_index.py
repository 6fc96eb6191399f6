"""Query by a local index: order, bounds, projections, pages, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, copies, invalid, name_of, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "Query"
SOURCE: Final = "dynalite test/query.js"
ACTION: Final = "dynalite actions/query.js"
LSI: Final = "Alternator test/alternator/test_lsi.py"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/LSI.html"
SELECT: Final = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html Select"
)
FILTERED: Final = "https://github.com/sensedeep/dynamodb-onetable/issues/377"
ID: Final[dict[str, Any]] = {"S": "<ID>"}
BAD: Final = "One or more parameter values were invalid: "
START: Final = "The provided starting key is invalid"
NO_MATCH: Final = "The provided key element does not match the schema"


def s(text: str) -> dict[str, str]:
    """Spell a string."""
    return {"S": text}


def n(text: str) -> dict[str, str]:
    """Spell a number."""
    return {"N": text}


# Each is in other indexes: z, x and b are their keys.
ITEMS: Final[list[dict[str, Any]]] = [
    {
        "p": ID,
        "c": s("1"),
        "z": n("5"),
        "x": s("b"),
        "b": {"B": "/w=="},
        "a": s("a1"),
        "d": s("d1"),
    },
    {"p": ID, "c": s("2"), "z": n("-3"), "x": s("ab"), "b": {"B": "AA=="}, "a": n("2")},
    {"p": ID, "c": s("3"), "z": n("5"), "x": s("a"), "d": s("d3")},
    {"p": ID, "c": s("4"), "z": n("0.5"), "b": {"B": "AP8="}, "a": {"L": [n("1")]}, "d": s("d4")},
    {"p": ID, "c": s("5"), "x": s("ba"), "b": {"B": "gA=="}},
    {"p": ID, "c": s("6"), "z": n("12"), "x": s("b"), "a": {"NULL": True}},
    {"p": ID, "c": s("7"), "a": s("in no index but one"), "d": n("7")},
]
ORDERS: Final[Mapping[str, tuple[int, ...]]] = {
    "all": (2, 4, 1, 3, 6),
    "keys": (3, 2, 1, 6, 5),
    "some": (2, 4, 5, 1),
    "same": (1, 2, 3, 4, 5, 6, 7),
}
SORTS: Final[Mapping[str, str]] = {"all": "z", "keys": "x", "some": "b", "same": "c"}
HELD: Final[Mapping[str, tuple[str, ...]]] = {
    "all": ("p", "c", "z", "x", "b", "a", "d"),
    "keys": ("p", "c", "x"),
    "some": ("p", "c", "b", "a"),
    "same": ("p", "c", "a"),
}
INDEXES: Final = tuple(ORDERS)


def item(number: int, *names: str) -> dict[str, Any]:
    """One of the items, with those of its attributes."""
    return {name: value for name, value in ITEMS[number - 1].items() if name in names}


def items(index: str, *numbers: int) -> list[dict[str, Any]]:
    """Items as an index holds them."""
    return [item(number, *HELD[index]) for number in numbers]


def page(found: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Spell the answer of a query that these items satisfy."""
    return {"Items": found, "Count": len(found), "ScannedCount": len(found)} | more


def query(index: str, expression: str = "", **more: Any) -> dict[str, Any]:
    """Spell a query of the case's own partition by an index; lower-case members are values."""
    values = {f":{name}": value for name, value in more.items() if name.islower()}
    members = {name: value for name, value in more.items() if not name.islower()}
    return {
        "TableName": "<LOCAL>",
        "IndexName": index,
        "KeyConditionExpression": f"p = :p{expression and ' and '}{expression}",
        "ExpressionAttributeValues": {":p": ID, **values},
        **members,
    }


def found(name: str, request: Mapping[str, Any], answer: Any, source: str = SOURCE) -> Case:
    """Make a case of a query of ITEMS."""
    return Case(name=name, request=request, given=ITEMS, answer=answer, source=source)


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def conditions() -> Iterator[Case]:
    """Every operator on every type of an index's sort key."""
    for index, expression, values, picked in (
        ("all", "z = :v", {"v": n("5")}, (1, 3)),
        ("all", "z = :v", {"v": n("5.00")}, (1, 3)),
        ("all", "z = :v", {"v": n("4")}, ()),
        ("all", "z < :v", {"v": n("5")}, (2, 4)),
        ("all", "z <= :v", {"v": n("5")}, (2, 4, 1, 3)),
        ("all", "z > :v", {"v": n("5")}, (6,)),
        ("all", "z >= :v", {"v": n("5")}, (1, 3, 6)),
        ("all", "z > :v", {"v": n("-3")}, (4, 1, 3, 6)),
        ("all", "z >= :v", {"v": n("-3")}, (2, 4, 1, 3, 6)),
        ("all", "z < :v", {"v": n("-3")}, ()),
        ("all", "z between :v and :w", {"v": n("0"), "w": n("5")}, (4, 1, 3)),
        ("all", "z between :v and :w", {"v": n("-3"), "w": n("0.5")}, (2, 4)),
        ("all", "z between :v and :w", {"v": n("6"), "w": n("7")}, ()),
        ("keys", "x = :v", {"v": s("b")}, (1, 6)),
        ("keys", "x = :v", {"v": s("c")}, ()),
        ("keys", "x < :v", {"v": s("b")}, (3, 2)),
        ("keys", "x <= :v", {"v": s("b")}, (3, 2, 1, 6)),
        ("keys", "x > :v", {"v": s("b")}, (5,)),
        ("keys", "x >= :v", {"v": s("b")}, (1, 6, 5)),
        ("keys", "x > :v", {"v": s("a")}, (2, 1, 6, 5)),
        ("keys", "x between :v and :w", {"v": s("ab"), "w": s("b")}, (2, 1, 6)),
        ("keys", "begins_with(x, :v)", {"v": s("a")}, (3, 2)),
        ("keys", "begins_with(x, :v)", {"v": s("b")}, (1, 6, 5)),
        ("keys", "begins_with(x, :v)", {"v": s("bb")}, ()),
        ("some", "b = :v", {"v": {"B": "AP8="}}, (4,)),
        ("some", "b < :v", {"v": {"B": "gA=="}}, (2, 4)),
        ("some", "b <= :v", {"v": {"B": "gA=="}}, (2, 4, 5)),
        ("some", "b > :v", {"v": {"B": "AA=="}}, (4, 5, 1)),
        ("some", "b >= :v", {"v": {"B": "AA=="}}, (2, 4, 5, 1)),
        ("some", "b between :v and :w", {"v": {"B": "AP8="}, "w": {"B": "/w=="}}, (4, 5, 1)),
        ("some", "begins_with(b, :v)", {"v": {"B": "AA=="}}, (2, 4)),
        ("same", "c = :v", {"v": s("3")}, (3,)),
        ("same", "c < :v", {"v": s("3")}, (1, 2)),
        ("same", "c > :v", {"v": s("3")}, (4, 5, 6, 7)),
        ("same", "c between :v and :w", {"v": s("3"), "w": s("5")}, (3, 4, 5)),
    ):
        name = f"{index}-{expression}-{'-'.join(str(v) for v in values.values())}"
        request = query(index, expression, **values)
        yield found(name, request, page(items(index, *picked)))
        backward = page(items(index, *picked[::-1]))
        yield found(f"{name}-backward", request | {"ScanIndexForward": False}, backward)


CONDITIONS: Final = tuple(conditions())
WHOLE: Final = tuple(
    found(
        f"{index}-{select}", query(index, **({"Select": select} if select else {})), answer, source
    )
    for index in INDEXES
    for select, answer, source in (
        (None, page(items(index, *ORDERS[index])), LSI),
        ("ALL_PROJECTED_ATTRIBUTES", page(items(index, *ORDERS[index])), LSI),
        ("ALL_ATTRIBUTES", page([ITEMS[number - 1] for number in ORDERS[index]]), LSI),
        ("COUNT", {"Count": len(ORDERS[index]), "ScannedCount": len(ORDERS[index])}, LSI),
    )
)
SPECIFIC: Final = tuple(
    found(
        f"{index}-{'-'.join(names)}-{form}",
        query(index, **members),
        page([item(number, *names) for number in ORDERS[index]]),
        LSI,
    )
    for index in INDEXES
    for names in (("a",), ("d",), ("p", "c"), ("a", "d"), ("z", "x", "d"), (SORTS[index],))
    for form, members in (
        ("expression", {"ProjectionExpression": ", ".join(names)}),
        (
            "selected",
            {"ProjectionExpression": ", ".join(names), "Select": "SPECIFIC_ATTRIBUTES"},
        ),
    )
)
FORMER: Final = tuple(
    Case(
        name=f"former-{index}-{operator}",
        given=ITEMS,
        source=SOURCE,
        request={
            "TableName": "<LOCAL>",
            "IndexName": index,
            "KeyConditions": {
                "p": {"ComparisonOperator": "EQ", "AttributeValueList": [ID]},
                SORTS[index]: {"ComparisonOperator": operator, "AttributeValueList": values},
            },
            **more,
        },
        answer=page(answer),
    )
    for index, operator, values, more, answer in (
        ("all", "EQ", [n("5")], {}, items("all", 1, 3)),
        ("all", "GT", [n("0.5")], {"ScanIndexForward": False}, items("all", 6, 3, 1)),
        ("all", "BETWEEN", [n("0"), n("5")], {}, items("all", 4, 1, 3)),
        ("keys", "BEGINS_WITH", [s("a")], {}, items("keys", 3, 2)),
        ("keys", "LE", [s("b")], {"AttributesToGet": ["c"]}, [item(i, "c") for i in (3, 2, 1, 6)]),
        ("keys", "GE", [s("b")], {"AttributesToGet": ["d"]}, [item(i, "d") for i in (1, 6, 5)]),
        ("some", "LT", [{"B": "gA=="}], {"Select": "ALL_ATTRIBUTES"}, [ITEMS[1], ITEMS[3]]),
    )
)


def filtered(name: str, index: str, text: str, numbers: tuple[int, ...], **values: Any) -> Case:
    """Make a case of a filter, of whatever the index holds."""
    answer = page(items(index, *numbers)) | {"ScannedCount": len(ORDERS[index])}
    return found(name, query(index, FilterExpression=text, **values), answer)


FILTERS: Final = (
    filtered("string", "all", "d = :d", (1,), d=s("d1")),
    filtered("none", "all", "d = :d", (), d=s("no")),
    filtered("exists", "all", "attribute_exists(d)", (4, 1, 3)),
    filtered("other-index-key", "all", "x = :x", (1, 6), x=s("b")),
    filtered("tables-sort-key", "all", "c > :c", (4, 3, 6), c=s("2")),
    filtered("tables-sort-key-of-keys", "keys", "c < :c", (2, 1), c=s("3")),
    filtered("included", "some", "attribute_type(a, :t)", (4,), t=s("L")),
    filtered("included-not", "some", "attribute_not_exists(a)", (5,)),
    filtered("included-of-same", "same", "a = :a", (2,), a=n("2.0")),
    found(
        "and-projection",
        query("all", FilterExpression="d = :d", ProjectionExpression="a", d=s("d1")),
        page([item(1, "a")]) | {"ScannedCount": 5},
    ),
    found(
        "and-count",
        query("all", FilterExpression="attribute_exists(d)", Select="COUNT"),
        {"Count": 3, "ScannedCount": 5},
    ),
    found(
        "held-filter-fetched-projection",
        query("some", FilterExpression="attribute_exists(a)", ProjectionExpression="d"),
        page([item(i, "d") for i in (2, 4, 1)]) | {"ScannedCount": 4},
        DOC,
    ),
)


def spent(units: float, table: float, index: str, of_index: float) -> dict[str, Any]:
    """Spell a ConsumedCapacity of INDEXES."""
    return {
        "TableName": "<LOCAL>",
        "CapacityUnits": units,
        "Table": {"CapacityUnits": table},
        "LocalSecondaryIndexes": {index: {"CapacityUnits": of_index}},
    }


CAPACITY: Final = tuple(
    found(
        name,
        query(index, ReturnConsumedCapacity="INDEXES", Select="COUNT", **members)
        if "ProjectionExpression" not in members and "Select" not in members
        else query(index, ReturnConsumedCapacity="INDEXES", **members),
        answer,
        source,
    )
    for name, index, members, answer, source in (
        (
            "eventual",
            "all",
            {},
            {"Count": 5, "ScannedCount": 5, "ConsumedCapacity": spent(0.5, 0, "all", 0.5)},
            SOURCE,
        ),
        (
            "consistent",
            "keys",
            {"ConsistentRead": True},
            {"Count": 5, "ScannedCount": 5, "ConsumedCapacity": spent(1, 0, "keys", 1)},
            SOURCE,
        ),
        (
            "fetched",
            "keys",
            {"ConsistentRead": True, "Select": "ALL_ATTRIBUTES"},
            page([ITEMS[i - 1] for i in ORDERS["keys"]])
            | {"ConsumedCapacity": spent(6, 5, "keys", 1)},
            "dynalite test/query.js of 2014, recorded from AWS",
        ),
        (
            "fetched-eventual",
            "some",
            {"ProjectionExpression": "d"},
            page([item(i, "d") for i in ORDERS["some"]])
            | {"ConsumedCapacity": spent(2.5, 2, "some", 0.5)},
            "dynalite test/query.js of 2014, recorded from AWS",
        ),
        (
            "not-fetched",
            "some",
            {"ProjectionExpression": "a"},
            page([item(i, "a") for i in ORDERS["some"]])
            | {"ConsumedCapacity": spent(0.5, 0, "some", 0.5)},
            DOC,
        ),
        (
            "all-of-all",
            "all",
            {"Select": "ALL_ATTRIBUTES"},
            page([ITEMS[i - 1] for i in ORDERS["all"]])
            | {"ConsumedCapacity": spent(0.5, 0, "all", 0.5)},
            DOC,
        ),
    )
)
TOTAL: Final = (
    found(
        "total",
        query("keys", ReturnConsumedCapacity="TOTAL", Select="ALL_ATTRIBUTES", ConsistentRead=True),
        page([ITEMS[i - 1] for i in ORDERS["keys"]])
        | {"ConsumedCapacity": {"TableName": "<LOCAL>", "CapacityUnits": 6}},
        "dynalite test/query.js of 2014, recorded from AWS",
    ),
)


CASES: Final = CONDITIONS + WHOLE + SPECIFIC + FORMER + FILTERS + CAPACITY + TOTAL


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_pages(tables: Tables, case: Case) -> None:
    """A query of a local index answers as AWS does."""
    run(tables, OP, case)


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("is_forward", [True, False])
def test_paging(tables: Tables, index: str, limit: int, *, is_forward: bool) -> None:
    """Pages join to the whole, equal index keys too; each key to go on has all key attributes."""
    request = tables.fill(query(index, Limit=limit, ScanIndexForward=is_forward))
    partition = request["ExpressionAttributeValues"][":p"]
    for each in ITEMS:
        tables.dynamodb.do(
            "PutItem", {"TableName": request["TableName"], "Item": each | {"p": partition}}
        )
    expected = [each | {"p": partition} for each in items(index, *ORDERS[index])]
    taken: list[dict[str, Any]] = []
    while True:
        answer = tables.dynamodb.do(OP, request)
        taken += answer["Items"]
        last = answer.get("LastEvaluatedKey")
        if last is None:
            break
        assert last.keys() == {"p", "c", SORTS[index]}
        assert last == {name: taken[-1].get(name) for name in last}
        assert answer["Count"] == answer["ScannedCount"] == limit
        request["ExclusiveStartKey"] = last
    assert taken == (expected if is_forward else expected[::-1])


def test_a_key_that_is_gone_goes_on(tables: Tables) -> None:
    """A query goes on behind a key whose item was deleted, or left the index, meanwhile."""
    request = tables.fill(query("all", Limit=2))
    table, partition = request["TableName"], request["ExpressionAttributeValues"][":p"]
    for each in ITEMS:
        tables.dynamodb.do("PutItem", {"TableName": table, "Item": each | {"p": partition}})
    last = tables.dynamodb.do(OP, request)["LastEvaluatedKey"]
    tables.dynamodb.do("DeleteItem", {"TableName": table, "Key": {"p": partition, "c": last["c"]}})
    answer = tables.dynamodb.do(OP, request | {"ExclusiveStartKey": last})
    assert [each["c"]["S"] for each in answer["Items"]] == ["1", "3"]


def test_writes_move_items_in_indexes(tables: Tables) -> None:
    """An update of an index's key moves the item, its removal takes it out, at once."""
    key = tables.fill({"p": ID, "c": s("1")})
    table = tables.names["LOCAL"]

    def zs(index: str = "all", sort: str = "z") -> list[Any]:
        request = copies(query(index), TableName=table, ConsistentRead=True)
        request["ExpressionAttributeValues"] = {":p": key["p"]}
        return [each.get(sort) for each in tables.dynamodb.do(OP, request)["Items"]]

    def update(text: str, **values: Any) -> None:
        given = {f":{name}": value for name, value in values.items()}
        more = {"ExpressionAttributeValues": given} if given else {}
        request = {"TableName": table, "Key": key, "UpdateExpression": text, **more}
        tables.dynamodb.do("UpdateItem", request)

    update("SET z = :z, x = :x", z=n("1"), x=s("a"))
    assert (zs(), zs("keys", "x")) == ([n("1")], [s("a")])
    update("SET z = :z", z=n("2"))
    assert (zs(), zs("keys", "x")) == ([n("2")], [s("a")])
    update("ADD z :z", z=n("0.5"))
    assert zs() == [n("2.5")]
    update("REMOVE z")
    assert (zs(), zs("keys", "x"), zs("same", "c")) == ([], [s("a")], [s("1")])
    tables.dynamodb.do("PutItem", {"TableName": table, "Item": key | {"z": n("9")}})
    assert (zs(), zs("keys", "x")) == ([n("9")], [])
    tables.dynamodb.do("DeleteItem", {"TableName": table, "Key": key})
    assert (zs(), zs("same", "c")) == ([], [])
