"""DeleteTable, case by case; every case names the public source of its answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, definition, name_of, run
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_table_names import named_table_cases

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "DeleteTable"


@pytest.mark.parametrize("case", [*retypes(OP), *named_table_cases(OP)], ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """A name that is none, or of no table, is refused."""
    run(tables, OP, case)


def test_a_table_is_deleted(tables: Tables) -> None:
    """It is answered DELETING, then is gone with its items (AWS API page)."""
    name = tables.new({"p": "S"})
    item = {"p": {"S": "a"}}
    tables.dynamodb.do("PutItem", {"TableName": name, "Item": item})
    described = tables.dynamodb.do(OP, {"TableName": name})["TableDescription"]
    assert (described["TableName"], described["TableStatus"]) == (name, "DELETING")
    tables.wait_gone(name)
    answer = tables.dynamodb.call("GetItem", {"TableName": name, "Key": item})
    assert (answer.error, answer.message) == (
        "ResourceNotFoundException",
        "Requested resource not found",
    )
    tables.dynamodb.do("CreateTable", definition(name, {"p": "S"}))
    tables.wait_active(name)
    assert tables.dynamodb.do("GetItem", {"TableName": name, "Key": item}) == {}


def test_a_protected_table_stays(tables: Tables) -> None:
    """Deletion protection refuses it until it is taken off (AWS guide, deletion protection)."""
    name = tables.new({"p": "S"}, DeletionProtectionEnabled=True)
    answer = tables.dynamodb.call(OP, {"TableName": name})
    assert answer.error == "ValidationException"
    assert answer.message == (
        "Resource cannot be deleted as it is currently protected against deletion. Disable "
        "deletion protection first."
    )
    tables.dynamodb.do("UpdateTable", {"TableName": name, "DeletionProtectionEnabled": False})
    tables.wait_active(name)
    described = tables.dynamodb.do(OP, {"TableName": name})["TableDescription"]
    assert described["TableStatus"] == "DELETING"


def test_deleted_while_in_use(tables: Tables) -> None:
    """Who works with a table that goes is told that it is not there; its successor is empty.

    ResourceNotFoundException: API reference, GetItem, PutItem, Query, Scan.
    """
    name, stop = tables.new_name(), threading.Event()
    dynamodb, found = tables.dynamodb, set[str]()

    def use(number: int) -> None:
        key = {"p": {"S": f"of-{number}"}}
        requests: tuple[tuple[str, dict[str, Any]], ...] = (
            ("PutItem", {"Item": key | {"a": {"S": "x" * 1_000}}}),
            ("GetItem", {"Key": key}),
            ("UpdateItem", {"Key": key, "UpdateExpression": "REMOVE a"}),
            ("Scan", {}),
            ("DeleteItem", {"Key": key}),
        )
        while not stop.is_set():
            for operation, members in requests:
                found.add(dynamodb.call(operation, {"TableName": name} | members).error)

    with ThreadPoolExecutor(4) as threads:
        working = [threads.submit(use, number) for number in range(4)]
        try:
            for _ in range(6):
                dynamodb.do("CreateTable", definition(name, {"p": "S"}))
                tables.wait_active(name)
                for number in range(20):
                    item = {"p": {"S": str(number)}}
                    dynamodb.do("PutItem", {"TableName": name, "Item": item})
                dynamodb.do(OP, {"TableName": name})
                tables.wait_gone(name)
        finally:
            stop.set()
        for one in working:
            one.result()
    assert found <= {"", "ResourceNotFoundException"}
    dynamodb.do("CreateTable", definition(name, {"p": "S"}))
    tables.wait_active(name)
    assert dynamodb.do("Scan", {"TableName": name})["ScannedCount"] == 0
