"""Tables with items for tests of Query and Scan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dstore.api.dynamodb.errors import aws_error_of
from dstore.model.errors import DStoreError
from dstore.service.node import Node
from dstore.service.use_cases import UseCases
from tests.unit.api.dynamodb.calling import TENANT, called
from tests.unit.service.nodes import a_node

ITEMS = 5


@asynccontextmanager
async def page_tables(directory: Path) -> AsyncIterator[Node]:
    """Open a node with the empty table `plain` (p), and `sorted` (p, n; indexes `local`, `global`).

    `sorted` has the items p = "a", n = 0 to 4, each with x = n, text = "even" or "odd".
    """
    async with a_node(directory) as node:
        await make_page_tables(node)
        yield node


async def make_page_tables(node: UseCases) -> None:
    """Make those tables."""
    await node.registrar.create_tenant(TENANT)
    await called(
        node,
        "CreateTable",
        TableName="plain",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
    )
    await called(
        node,
        "CreateTable",
        TableName="sorted",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "p", "AttributeType": "S"},
            {"AttributeName": "n", "AttributeType": "N"},
            {"AttributeName": "x", "AttributeType": "N"},
        ],
        KeySchema=[
            {"AttributeName": "p", "KeyType": "HASH"},
            {"AttributeName": "n", "KeyType": "RANGE"},
        ],
        LocalSecondaryIndexes=[index("local", "p", "x")],
        GlobalSecondaryIndexes=[index("global", "x")],
    )
    for number in range(ITEMS):
        await called(node, "PutItem", TableName="sorted", Item=item(number))


def index(name: str, partition: str, *sort: str) -> dict[str, Any]:
    """Describe an index that holds keys only."""
    return {
        "IndexName": name,
        "Projection": {"ProjectionType": "KEYS_ONLY"},
        "KeySchema": [
            {"AttributeName": partition, "KeyType": "HASH"},
            *({"AttributeName": one, "KeyType": "RANGE"} for one in sort),
        ],
    }


def item(number: int) -> dict[str, Any]:
    """Make one of the items of `sorted`."""
    return {
        **key(number),
        "x": {"N": str(number)},
        "text": {"S": "odd" if number % 2 else "even"},
    }


def key(number: int) -> dict[str, Any]:
    """Make the key of an item of `sorted`."""
    return {"p": {"S": "a"}, "n": {"N": str(number)}}


async def said(node: UseCases, operation: str, members: dict[str, Any]) -> str:
    """Run an operation that is refused. Returns: the error's name and text."""
    with pytest.raises(DStoreError) as raised:
        await called(node, operation, **members)
    error = aws_error_of(raised.value)
    return f"{error.name}: {error.text}"


def invalid(text: str) -> str:
    """Expect a ValidationException."""
    return f"ValidationException: {text}"
