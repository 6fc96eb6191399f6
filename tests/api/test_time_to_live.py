"""Items that expire, over the wire: which are removed, and which never are.

Sources: DynamoDB developer guide, "Using time to live (TTL)" and "Before you start"; ScyllaDB's
Alternator (test_ttl.py), whose cases ran against AWS. AWS takes minutes to days, dStore seconds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.dynamodb_cases import Tables

WITHIN_S: Final = 30.0
YEAR_S: Final = 365 * 24 * 3_600
GUIDE: Final = "AWS guide, TTL, before you start"
ALTERNATOR: Final = "ScyllaDB Alternator test_ttl.py test_ttl_expiration"


def soon(value: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WITHIN_S
    while not value():
        assert time.monotonic() < deadline, "it never was"
        time.sleep(0.05)


def expiring(tables: Tables, attribute: str = "expires", **keys: str) -> str:
    """Make a table whose items expire, and wait until that is so everywhere."""
    name = tables.new(keys or {"p": "S", "c": "S"})
    enable(tables, name, attribute)
    return name


def enable(tables: Tables, name: str, attribute: str = "expires") -> None:
    """Let a table's items expire."""
    specification = {"AttributeName": attribute, "Enabled": True}
    request = {"TableName": name, "TimeToLiveSpecification": specification}
    tables.dynamodb.do("UpdateTimeToLive", request)
    soon(lambda: status(tables, name) == "ENABLED")


def status(tables: Tables, name: str) -> str:
    """Ask how far it is."""
    told = tables.dynamodb.do("DescribeTimeToLive", {"TableName": name})
    return str(told["TimeToLiveDescription"]["TimeToLiveStatus"])


def put(tables: Tables, table: str, **item: Any) -> None:
    """Put an item."""
    tables.dynamodb.do("PutItem", {"TableName": table, "Item": item})


def is_there(tables: Tables, table: str, **key: Any) -> bool:
    """Look for an item."""
    request = {"TableName": table, "Key": key, "ConsistentRead": True}
    return "Item" in tables.dynamodb.do("GetItem", request)


def number(value: object) -> dict[str, str]:
    """Spell a number."""
    return {"N": str(value)}


@pytest.fixture(scope="module")
def table(tables: Tables) -> str:
    """Make a table whose items expire by `expires`."""
    return expiring(tables)


NOW: Final = int(time.time())
GONE: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a-minute-ago": (number(NOW - 60), ALTERNATOR),
    "a-second-ago": (number(NOW - 1), GUIDE),
    "a-year-ago": (number(NOW - YEAR_S), GUIDE),
    "four-years-ago": (number(NOW - 4 * YEAR_S), GUIDE),
    "with-an-exponent": (number(f"{(NOW - 60) // 10}e1"), ALTERNATOR),
    "with-a-fraction": (number(f"{NOW - 60}.25"), ALTERNATOR),
    "with-zeros": (number(f"{NOW - 60}.000"), ALTERNATOR),
    "with-leading-zeros": (number(f"000{NOW - 60}"), "AWS guide, naming rules, numbers"),
    "with-a-plus": (number(f"+{NOW - 60}"), "AWS guide, naming rules, numbers"),
}
KEPT: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "in-an-hour": (number(NOW + 3_600), ALTERNATOR),
    "in-a-thousand-years": (number(NOW + 1_000 * YEAR_S), GUIDE),
    "in-milliseconds": (number((NOW - 60) * 1_000), GUIDE),
    "six-years-ago": (number(NOW - 6 * YEAR_S), GUIDE),
    "in-1975": (number(162_777_600), ALTERNATOR),
    "zero": (number(0), GUIDE),
    "negative": (number(-NOW), GUIDE),
    "tiny": (number("1E-130"), GUIDE),
    "huge": (number("9.9E+125"), GUIDE),
    "a-string": ({"S": str(NOW - 60)}, ALTERNATOR),
    "a-date": ({"S": "2020-01-01T00:00:00Z"}, GUIDE),
    "binary": ({"B": "MTYwMDAwMDAwMA=="}, GUIDE),
    "true": ({"BOOL": True}, GUIDE),
    "null": ({"NULL": True}, GUIDE),
    "a-list": ({"L": [number(NOW - 60)]}, GUIDE),
    "a-map": ({"M": {"expires": number(NOW - 60)}}, GUIDE),
    "a-set": ({"NS": [str(NOW - 60)]}, GUIDE),
}


@pytest.mark.parametrize("name", GONE)
def test_what_is_over_goes(tables: Tables, table: str, name: str) -> None:
    """A Number of seconds since 1970 that is past, up to five years, however it is spelled."""
    value, _source = GONE[name]
    put(tables, table, p={"S": "gone"}, c={"S": name}, expires=value)
    soon(lambda: not is_there(tables, table, p={"S": "gone"}, c={"S": name}))


def test_what_is_not_over_stays(tables: Tables, table: str) -> None:
    """Whatever else the attribute is, and if it is absent: an item put behind them goes first."""
    for name, (value, _) in KEPT.items():
        put(tables, table, p={"S": "kept"}, c={"S": name}, expires=value)
    put(tables, table, p={"S": "kept"}, c={"S": "absent"})
    put(tables, table, p={"S": "kept"}, c={"S": "nested"}, m={"M": {"expires": number(NOW - 60)}})
    for turn in range(2):  # what is due in this range, or was, has been looked for twice
        marker = {"p": {"S": "kept"}, "c": {"S": f"marker-{turn}"}}
        put(tables, table, **marker, expires=number(int(time.time()) - 1))
        soon(lambda marker=marker: not is_there(tables, table, **marker))  # type: ignore[misc]
    for name, source in [(name, source) for name, (_, source) in KEPT.items()]:
        assert is_there(tables, table, p={"S": "kept"}, c={"S": name}), (name, source)
    assert is_there(tables, table, p={"S": "kept"}, c={"S": "absent"})
    assert is_there(tables, table, p={"S": "kept"}, c={"S": "nested"})


def test_it_goes_in_its_time_and_not_before(tables: Tables, table: str) -> None:
    """An item is there, whole, until it expires (AWS guide: expired items are read until then)."""
    key, at_s = {"p": {"S": "in time"}, "c": {"S": "x"}}, int(time.time()) + 3
    put(tables, table, **key, expires=number(at_s))
    while is_there(tables, table, **key):
        assert time.time() < at_s + WITHIN_S
        time.sleep(0.05)
    assert time.time() >= at_s


def test_what_was_there_before_it_was_enabled_goes(tables: Tables) -> None:
    """Items are not asked when they were written (Alternator test_ttl_expiration, p0)."""
    name = tables.new({"p": "S"})
    for key in range(30):
        put(tables, name, p={"S": f"old-{key}"}, expires=number(NOW - 60))
        put(tables, name, p={"S": f"young-{key}"}, expires=number(NOW + 3_600))
    enable(tables, name)
    scan = {"TableName": name, "ConsistentRead": True, "Select": "COUNT"}
    soon(lambda: tables.dynamodb.do("Scan", scan)["Count"] == 30)
    assert is_there(tables, name, p={"S": "young-7"})


def test_what_is_put_off_stays(tables: Tables, table: str) -> None:
    """An update of the attribute before its time saves the item (AWS guide, TTL)."""
    key = {"p": {"S": "put off"}, "c": {"S": "x"}}
    put(tables, table, **key, expires=number(int(time.time()) + 2))
    tables.dynamodb.do(
        "UpdateItem",
        {
            "TableName": table,
            "Key": key,
            "UpdateExpression": "SET expires = :later",
            "ExpressionAttributeValues": {":later": number(NOW + 3_600)},
        },
    )
    time.sleep(4)
    assert is_there(tables, table, **key)


def test_what_loses_the_attribute_stays(tables: Tables, table: str) -> None:
    """Without the attribute nothing expires (AWS guide, TTL)."""
    key = {"p": {"S": "removed"}, "c": {"S": "x"}}
    put(tables, table, **key, expires=number(int(time.time()) + 2))
    remove = {"TableName": table, "Key": key, "UpdateExpression": "REMOVE expires"}
    tables.dynamodb.do("UpdateItem", remove)
    time.sleep(4)
    assert is_there(tables, table, **key)


@pytest.mark.parametrize(
    ("attribute", "keys"),
    [("p", {"p": "N"}), ("c", {"p": "S", "c": "N"}), ("c", {"p": "N", "c": "N"})],
    ids=["partition", "sort-behind-a-string", "sort-behind-a-number"],
)
def test_a_key_may_say_it(tables: Tables, attribute: str, keys: dict[str, str]) -> None:
    """A key of the table, if it is a number (Alternator test_ttl_expiration_hash, _range)."""
    name = expiring(tables, attribute, **keys)

    def key(at_s: int) -> dict[str, Any]:
        others = {each: {kind: "7"} for each, kind in keys.items()}
        return others | {attribute: number(at_s)}

    put(tables, name, **key(NOW - 60))
    put(tables, name, **key(NOW + 3_600))
    soon(lambda: not is_there(tables, name, **key(NOW - 60)))
    assert is_there(tables, name, **key(NOW + 3_600))


def test_a_key_that_is_no_number_says_nothing(tables: Tables) -> None:
    """It is taken all the same (Alternator test_ttl_expiration_hash_wrong_type)."""
    name = expiring(tables, "p", p="S")
    put(tables, name, p={"S": str(NOW - 60)})
    time.sleep(3)
    assert is_there(tables, name, p={"S": str(NOW - 60)})


def test_many_go(tables: Tables, table: str) -> None:
    """All of them, by batches (AWS guide, TTL: deleted without consuming write throughput)."""
    for start in range(0, 200, 25):
        requests = [
            {
                "PutRequest": {
                    "Item": {
                        "p": {"S": "many"},
                        "c": {"S": str(start + each)},
                        "expires": number(NOW - 60),
                    }
                }
            }
            for each in range(25)
        ]
        tables.dynamodb.do("BatchWriteItem", {"RequestItems": {table: requests}})
    query = {
        "TableName": table,
        "ConsistentRead": True,
        "Select": "COUNT",
        "KeyConditionExpression": "p = :p",
        "ExpressionAttributeValues": {":p": {"S": "many"}},
    }
    soon(lambda: tables.dynamodb.do("Query", query)["Count"] == 0)


def test_it_is_told_as_it_is(tables: Tables) -> None:
    """ENABLED with its attribute soon behind the change (DDB-TABLE-144, 145)."""
    name = expiring(tables)
    assert tables.dynamodb.do("DescribeTimeToLive", {"TableName": name}) == {
        "TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    }
