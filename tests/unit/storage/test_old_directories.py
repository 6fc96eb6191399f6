"""Directories that an earlier dStore made open unchanged, and keep what they hold."""

from __future__ import annotations

from pathlib import Path

import apsw

from dstore.model.tables import IdType
from dstore.service.entry_writes import create
from dstore.service.node import Node
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.storage.node_keys import STANDALONE
from dstore.storage.schema import Schema, newest
from tests.support.nodes import stored_item
from tests.unit.service.nodes import a_node

TENANT, TABLES = "acme", ("one", "two")


def _undo_steps(connection: apsw.Connection) -> None:
    """Make a node database what `node_0001.sql` alone makes of it; nothing else was different."""
    connection.execute("ALTER TABLE tenant DROP COLUMN TENANT_ID")
    for column in (
        "EPOCH",
        "ENROLMENT",
        "DRAWN_UNDER",
        "PLACEMENT",
        "PLACEMENT_EPOCH",
        "PLACEMENT_REVISION",
        "SCRUBBED_AT_US",
    ):
        connection.execute(f"ALTER TABLE range_of_table DROP COLUMN {column}")
    connection.pragma("user_version", 1)


def _columns(connection: apsw.Connection) -> list[str]:
    return [str(row[1]) for row in connection.execute("PRAGMA table_info(range_of_table)")]


def _version(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version"))


async def test_a_directory_of_one_range_a_table(tmp_path: Path) -> None:
    """Its tables have one range of all hashes, in the first epoch, under the node's own keys."""
    data = tmp_path / "data"
    async with a_node(data) as node:
        await node.catalog.create_tenant(TENANT)
        for table in TABLES:
            await node.catalog.create_table(TENANT, table, id_type=IdType.STRING)
            await _write(node, table, "old")
        before = {name: node.catalog.table(TENANT, name) for name in TABLES}
        uuid = node.catalog.tenant(TENANT).uuid
        await node._database.run(_undo_steps)
        assert "EPOCH" not in await node._database.read(_columns)
    for _ in range(2):
        async with a_node(data) as node:
            assert await node._database.read(_version) == newest(Schema.NODE)
            assert node.catalog.tenant(TENANT).uuid == uuid
            assert {held.enrolment for held in node.holdings.ranges.values()} == {STANDALONE}
            for table in TABLES:
                assert node.catalog.table(TENANT, table) == before[table]
                key = node.items.locate(TENANT, table, "old")
                assert await stored_item(node, key) == {"a": {"S": "old"}}
    async with a_node(data) as node:
        await _write(node, "one", "new")
        assert node.catalog.quantity(node.catalog.table(TENANT, "one")) == 2


async def _write(node: Node, table: str, name: str) -> None:
    key = node.items.locate(TENANT, table, name)
    apply = create({"a": {"S": name}}, key=key, preconditions=NO_PRECONDITIONS)
    await node.items.write(key, apply)
