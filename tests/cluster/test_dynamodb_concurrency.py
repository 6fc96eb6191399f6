"""Many clients of the DynamoDB API at once: nothing is lost, and a race has one winner.

The server is a process of its own; each client is a thread with a connection of its own, which
begins when all the others do.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pytest

from tests.support.dynamodb import DynamoDB, endpoint_of
from tests.support.dynamodb_cases import definition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.server import Server

CLIENTS: Final = 64
EACH: Final = 8
COUNTERS: Final = 3
RACES: Final = 6
TABLE: Final = "races"
LOST: Final = "ConditionalCheckFailedException"
T = TypeVar("T")


@pytest.fixture(scope="module")
def dynamodb(server: Server) -> Iterator[DynamoDB]:
    """Give a client that 64 threads share, each with a connection, and make the table."""
    made = DynamoDB(endpoint_of(server, "dynamodb-races"), connections=CLIENTS)
    with closing(made):
        made.do("CreateTable", definition(TABLE, {"p": "S"}))
        yield made


def together(work: Callable[[int], T], clients: int = CLIENTS) -> list[T]:
    """Do the work in all clients, which start at once. Returns: their results, in order."""
    start = threading.Barrier(clients)

    def begin(number: int) -> T:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(clients) as threads:
        return list(threads.map(begin, range(clients)))


def key(name: str) -> dict[str, Any]:
    """Spell the key of an item."""
    return {"p": {"S": name}}


def item(dynamodb: DynamoDB, name: str) -> dict[str, Any]:
    """Read an item."""
    request = {"TableName": TABLE, "Key": key(name), "ConsistentRead": True}
    found: dict[str, Any] = dynamodb.do("GetItem", request)["Item"]
    return found


@pytest.mark.parametrize(
    "expression",
    ["ADD n :one", "SET n = if_not_exists(n, :zero) + :one"],
    ids=["add", "set"],
)
def test_counters_lose_nothing(dynamodb: DynamoDB, expression: str) -> None:
    """64 clients increment shared counters; every value is returned to exactly one of them."""
    values = {":one": {"N": "1"}} | ({":zero": {"N": "0"}} if ":zero" in expression else {})

    def count(number: int) -> list[tuple[str, int]]:
        seen = []
        for turn in range(EACH):
            name = f"{expression[:3]}-{(number + turn) % COUNTERS}"
            answer = dynamodb.do(
                "UpdateItem",
                {
                    "TableName": TABLE,
                    "Key": key(name),
                    "UpdateExpression": expression,
                    "ExpressionAttributeValues": values,
                    "ReturnValues": "UPDATED_NEW",
                },
            )
            seen.append((name, int(answer["Attributes"]["n"]["N"])))
        return seen

    seen = sorted(pair for pairs in together(count) for pair in pairs)
    names = [f"{expression[:3]}-{number}" for number in range(COUNTERS)]
    totals = {name: int(item(dynamodb, name)["n"]["N"]) for name in names}
    assert sum(totals.values()) == CLIENTS * EACH
    assert seen == [(name, value) for name in names for value in range(1, totals[name] + 1)]


def test_conditional_puts_elect_one(dynamodb: DynamoDB) -> None:
    """Of 64 puts that want to be the first, one is; the others are told whose item it is."""
    for race in range(RACES):

        def run(number: int, race: int = race) -> str | None:
            answer = dynamodb.call(
                "PutItem",
                {
                    "TableName": TABLE,
                    "Item": {**key(f"race-{race}"), "winner": {"N": str(number)}},
                    "ConditionExpression": "attribute_not_exists(p)",
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                },
            )
            if answer.status == 200:
                return None
            assert answer.error == LOST
            told: str = answer.body["Item"]["winner"]["N"]
            return told

        results = together(run)
        assert results.count(None) == 1
        winner = str(results.index(None))
        assert item(dynamodb, f"race-{race}")["winner"] == {"N": winner}
        assert {told for told in results if told is not None} == {winner}


def test_compare_and_set_elects_one_a_round(dynamodb: DynamoDB) -> None:
    """Clients that read, then write if nobody else has written, count without a gap."""
    dynamodb.do("PutItem", {"TableName": TABLE, "Item": {**key("cas"), "n": {"N": "0"}}})
    clients = 16

    def climb(_: int) -> int:
        won = 0
        for _ in range(EACH):
            before = item(dynamodb, "cas")["n"]
            answer = dynamodb.call(
                "UpdateItem",
                {
                    "TableName": TABLE,
                    "Key": key("cas"),
                    "UpdateExpression": "SET n = n + :one",
                    "ConditionExpression": "n = :before",
                    "ExpressionAttributeValues": {":one": {"N": "1"}, ":before": before},
                },
            )
            assert answer.status == 200 or answer.error == LOST
            won += answer.status == 200
        return won

    assert sum(together(climb, clients)) == int(item(dynamodb, "cas")["n"]["N"]) > 0


def test_deletes_take_once(dynamodb: DynamoDB) -> None:
    """Of 64 deletes that ask for the old item, one gets it."""
    dynamodb.do("PutItem", {"TableName": TABLE, "Item": {**key("prize"), "a": {"S": "x"}}})
    request = {"TableName": TABLE, "Key": key("prize"), "ReturnValues": "ALL_OLD"}
    answers = together(lambda _: dynamodb.do("DeleteItem", request))
    assert [answer for answer in answers if answer] == [
        {"Attributes": {**key("prize"), "a": {"S": "x"}}}
    ]


def test_updates_of_one_item_keep_each_other(dynamodb: DynamoDB) -> None:
    """Clients that set attributes of their own in one item, and add to one set, all stay."""

    def own(number: int) -> None:
        dynamodb.do(
            "UpdateItem",
            {
                "TableName": TABLE,
                "Key": key("shared"),
                "UpdateExpression": "SET #own = :n ADD members :m",
                "ExpressionAttributeNames": {"#own": f"a{number}"},
                "ExpressionAttributeValues": {
                    ":n": {"N": str(number)},
                    ":m": {"SS": [f"m{number}"]},
                },
            },
        )

    together(own)
    found = item(dynamodb, "shared")
    assert sorted(found.pop("members")["SS"]) == sorted(f"m{number}" for number in range(CLIENTS))
    assert found == key("shared") | {f"a{n}": {"N": str(n)} for n in range(CLIENTS)}


def test_one_creates_the_table(dynamodb: DynamoDB) -> None:
    """Of clients that create a table of one name, one does; the others find it in use."""
    request = definition("elected", {"p": "S"})
    answers = together(lambda _: dynamodb.call("CreateTable", request), 16)
    assert [answer.status for answer in answers].count(200) == 1
    assert {answer.error for answer in answers if answer.status != 200} == {
        "ResourceInUseException"
    }
