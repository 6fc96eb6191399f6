"""ListTables, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, name_of, run, violated
from tests.support.dynamodb_members import NAME_PATTERN
from tests.support.dynamodb_retypes import retypes

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "ListTables"
SOURCE: Final = "dynalite test/listTables.js"
START: Final = "exclusiveStartTableName"


def broken(name: str, request: dict[str, Any], *violations: tuple[object, str, str]) -> Case:
    """Make a case of constraints of the model."""
    return Case(name=name, request=request, error=violated(*violations), source=SOURCE)


CASES: Final = [
    *retypes(OP),
    broken(
        "limit-0", {"Limit": 0}, (0, "limit", "Member must have value greater than or equal to 1")
    ),
    broken(
        "limit-101",
        {"Limit": 101},
        (101, "limit", "Member must have value less than or equal to 100"),
    ),
    broken(
        "start-empty",
        {"ExclusiveStartTableName": ""},
        ("", START, NAME_PATTERN),
        ("", START, "Member must have length greater than or equal to 3"),
    ),
    broken(
        "start-of-2",
        {"ExclusiveStartTableName": "ab"},
        ("ab", START, "Member must have length greater than or equal to 3"),
    ),
    broken(
        "start-of-256",
        {"ExclusiveStartTableName": "a" * 256},
        ("a" * 256, START, "Member must have length less than or equal to 255"),
    ),
    broken("start-pattern", {"ExclusiveStartTableName": "abc;"}, ("abc;", START, NAME_PATTERN)),
    broken(
        "start-pattern-and-length",
        {"ExclusiveStartTableName": ";"},
        (";", START, NAME_PATTERN),
        (";", START, "Member must have length greater than or equal to 3"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """What the model forbids is refused."""
    run(tables, OP, case)


def own(tables: Tables, listed: list[str]) -> list[str]:
    """Pick the shared tables of this session."""
    return [name for name in listed if name.startswith(f"{tables.prefix}.shared-")]


def shared(tables: Tables) -> list[str]:
    """Name the shared tables of this session, in the order of a listing."""
    return sorted(own(tables, list(tables.names.values())))


def listed(tables: Tables, **request: Any) -> list[str]:
    """List to the end, page by page."""
    found: list[str] = []
    start: dict[str, str] = {}
    for _ in range(200):
        answer = tables.dynamodb.do(OP, {**request, **start})
        assert answer.keys() <= {"TableNames", "LastEvaluatedTableName"}
        found += answer["TableNames"]
        if "LastEvaluatedTableName" not in answer:
            return found
        assert answer["LastEvaluatedTableName"] == answer["TableNames"][-1]
        start = {"ExclusiveStartTableName": answer["LastEvaluatedTableName"]}
    raise AssertionError("the list does not end")


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_are_the_whole(tables: Tables, limit: int) -> None:
    """Pages of any limit list every table once, in the order of names (AWS API page)."""
    start = {"ExclusiveStartTableName": f"{tables.prefix}.shared-"}
    found: list[str] = []
    for _ in range(100):
        answer = tables.dynamodb.do(OP, {**start, "Limit": limit})
        found += answer["TableNames"]
        if len(own(tables, found)) == len(shared(tables)):
            break
        start = {"ExclusiveStartTableName": answer["LastEvaluatedTableName"]}
    assert own(tables, found) == shared(tables)


def test_all_at_once(tables: Tables) -> None:
    """Without a limit a page has up to 100 names (AWS API page)."""
    assert own(tables, listed(tables)) == shared(tables)


def test_a_start_that_is_no_table(tables: Tables) -> None:
    """The list goes on behind a name that no table has (dynalite test/listTables.js)."""
    first, *rest = shared(tables)
    answer = tables.dynamodb.do(OP, {"ExclusiveStartTableName": f"{first}0", "Limit": 1})
    assert answer["TableNames"] == rest[:1]


def test_a_start_is_not_listed(tables: Tables) -> None:
    """The list goes on behind the start (AWS API page)."""
    first, second, *_ = shared(tables)
    answer = tables.dynamodb.do(OP, {"ExclusiveStartTableName": first, "Limit": 1})
    assert answer == {"TableNames": [second], "LastEvaluatedTableName": second}
