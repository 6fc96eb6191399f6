"""A node with a few tables to put items into, and a short way to call its operations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dstore.api.dynamodb.errors import aws_error_of
from dstore.model.tables import IdType
from dstore.service.node import Node
from dstore.service.use_cases import UseCases
from tests.support.nodes import open_in
from tests.unit.api.dynamodb.calling import TENANT, called

HASH, RANGE, BINARY, INDEXED, V1 = "hash", "range", "binary", "indexed", "v1table"

Ask = Callable[..., Awaitable[Any]]


def _keys(*keys: tuple[str, str]) -> dict[str, Any]:
    kinds = ("HASH", "RANGE")
    return {
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in keys
        ],
        "KeySchema": _schema(*[name for name, _ in keys[: len(kinds)]]),
        "BillingMode": "PAY_PER_REQUEST",
    }


def _schema(*names: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": name, "KeyType": kind}
        for name, kind in zip(names, ("HASH", "RANGE"), strict=False)
    ]


@asynccontextmanager
async def item_tables(directory: Path) -> AsyncIterator[Node]:
    """Open a node with tables of every sort of key."""
    async with open_in(directory) as node:
        await make_item_tables(node)
        yield node


async def make_item_tables(cases: UseCases) -> None:
    """Make a tenant with tables of every sort of key."""
    await cases.registrar.create_tenant(TENANT)
    await cases.registrar.create_table(TENANT, V1, id_type=IdType.STRING)
    everything = {"ProjectionType": "ALL"}
    indexed = _keys(("pk", "S"), ("sk", "S"), ("lk", "S"), ("gk", "B"))
    indexed["LocalSecondaryIndexes"] = [
        {"IndexName": "local", "KeySchema": _schema("pk", "lk"), "Projection": everything}
    ]
    indexed["GlobalSecondaryIndexes"] = [
        {"IndexName": "by_lk", "KeySchema": _schema("lk"), "Projection": everything},
        {"IndexName": "by_gk", "KeySchema": _schema("gk"), "Projection": everything},
    ]
    for name, definition in (
        (HASH, _keys(("id", "S"))),
        (RANGE, _keys(("pk", "S"), ("sk", "N"))),
        (BINARY, _keys(("id", "B"))),
        (INDEXED, indexed),
    ):
        await called(cases, "CreateTable", TableName=name, **definition)


@pytest.fixture(name="node")
async def node_fixture(tmp_path: Path) -> AsyncIterator[Node]:
    """A node with the tables."""
    async with item_tables(tmp_path) as node:
        yield node


async def refused(node: UseCases, operation: str, /, **members: Any) -> tuple[str, str]:
    """Call an operation that must fail. Returns: the error's name and its sentence."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the wire would render
        await called(node, operation, **members)
    error = aws_error_of(caught.value)
    return error.name, error.text or ""


async def validation(node: UseCases, operation: str, /, **members: Any) -> str:
    """Call an operation that must be a ValidationException. Returns: its sentence."""
    name, text = await refused(node, operation, **members)
    assert name == "ValidationException", (name, text)
    return text


async def stored(node: UseCases, table: str, **key: Any) -> Any:
    """Read an item; None if there is none."""
    return (await called(node, "GetItem", TableName=table, Key=key)).get("Item")
