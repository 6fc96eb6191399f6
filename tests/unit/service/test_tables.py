"""DynamoDB tables: made, set anew and deleted whole, and as they were after a restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from dstore.base.clock import US_PER_S
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.model.keys import KeyKind
from dstore.model.table_settings import (
    NO_SETTINGS,
    BillingMode,
    Index,
    ProjectionType,
    TableClass,
    TableSettings,
    Throughput,
    UnitPair,
)
from dstore.model.tables import Door, IdType, KeyAttribute, TableDefinition, TableId, index_keys
from dstore.service.directory import Declared
from dstore.service.node import Node
from dstore.service.tables import DAY_US, changed_throughput, decreases_today
from dstore.storage import table_records
from dstore.storage.range_files import FOLDER
from tests.unit.service.nodes import a_node

SETTINGS = TableSettings(
    billing=BillingMode.PROVISIONED,
    on_demand_since_us=7,
    throughput=Throughput(read_units=5, write_units=6, increased_at_us=1, decreases=2),
    on_demand=UnitPair(read_units=9),
    warm=UnitPair(read_units=12_000, write_units=4_000),
    table_class=TableClass.STANDARD_INFREQUENT_ACCESS,
    class_changed_at_us=8,
    is_protected=True,
    is_sse_asked=True,
    index_attributes=(
        KeyAttribute(name="x", kind=KeyKind.NUMBER),
        KeyAttribute(name="y", kind=KeyKind.BINARY),
    ),
    local_indexes=(
        Index(name="lsi", hash_keys=("p",), range_keys=("x",), projection=ProjectionType.ALL),
    ),
    global_indexes=(
        Index(
            name="gsi",
            hash_keys=("y",),
            range_keys=("x",),
            projection=ProjectionType.INCLUDE,
            included=("q", "a"),
            throughput=Throughput(read_units=1, write_units=1),
        ),
    ),
    tags={"stage": "é", "": ""},
)
DECLARED = Declared(
    name="both",
    partition=KeyAttribute(name="p", kind=KeyKind.STRING),
    sort=KeyAttribute(name="s", kind=KeyKind.NUMBER),
    settings=SETTINGS,
)


async def test_a_restart_keeps_all_of_a_definition(tmp_path: Path) -> None:
    """Keys, indexes, tags and every setting are read back as they were written."""
    data = tmp_path / "data"
    async with a_node(data) as node:
        await node.catalog.create_tenant("acme")
        made = await node.tables.create("acme", DECLARED)
        assert made.definition.door is Door.DYNAMODB
    async with a_node(data) as node:
        found = node.catalog.table("acme", "both").definition
        assert found == made.definition
        assert found.settings == SETTINGS
        assert found.keys == (DECLARED.partition, DECLARED.sort)


async def test_a_restart_keeps_what_was_set_later(tmp_path: Path) -> None:
    """A change is durable when it is answered, and touches nothing else of the table."""
    data = tmp_path / "data"
    async with a_node(data) as node:
        await node.catalog.create_tenant("acme")
        made = await node.tables.create("acme", DECLARED)
        after = await node.tables.update(
            "acme", "both", lambda one, _: replace(one.settings, is_protected=False, tags={})
        )
        assert after.definition.table_id == made.definition.table_id
        assert after.ranges == made.ranges
    async with a_node(data) as node:
        settings = node.catalog.table("acme", "both").definition.settings
        assert settings == replace(SETTINGS, is_protected=False, tags={})


async def test_records_from_before_settings_open(tmp_path: Path) -> None:
    """A data directory whose definitions have empty settings opens unchanged."""
    data = tmp_path / "data"
    async with a_node(data) as node:
        await node.catalog.create_tenant("acme")
        await node.catalog.create_table("acme", "old", id_type=IdType.STRING)
        await node._database.run(
            lambda db: db.execute(
                "UPDATE table_definition SET DEFINITION = "
                "json_replace(DEFINITION, '$.settings', json('{}'))"
            ).fetchall()
        )
    async with a_node(data) as node:
        assert node.catalog.table("acme", "old").definition.settings == NO_SETTINGS


async def test_a_name_is_taken_by_either_door(tmp_path: Path) -> None:
    """Neither door makes a table over one of the other's, nor takes it for its own."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        plain = replace(DECLARED, name="abc", sort=None, settings=NO_SETTINGS)
        await node.tables.create("acme", plain)
        for refused in (
            node.tables.create("acme", plain),
            node.catalog.create_table("acme", "abc", id_type=IdType.STRING),
        ):
            with pytest.raises(Refused) as caught:
                await refused
            assert caught.value.kind is RefusalKind.CONFLICT
        await node.catalog.create_table("acme", "v1-table", id_type=IdType.STRING)
        with pytest.raises(Refused, match="Table already exists: v1-table"):
            await node.tables.create("acme", replace(plain, name="v1-table"))


async def test_a_protected_table_is_not_deleted(tmp_path: Path) -> None:
    """Protection holds at both doors until it is lifted."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        await node.tables.create("acme", DECLARED)
        for delete in (node.tables.delete, node.catalog.delete_table):
            with pytest.raises(Refused, match="protected against deletion"):
                await delete("acme", "both")
        await node.tables.update(
            "acme", "both", lambda one, _: replace(one.settings, is_protected=False)
        )
        await node.tables.delete("acme", "both")
        with pytest.raises(Refused):
            node.catalog.table("acme", "both")


async def test_changes_of_one_table_come_one_after_another(tmp_path: Path) -> None:
    """Of tags set at once by many, none is lost."""

    async def tag(node: Node, key: str) -> None:
        await node.tables.update(
            "acme", "abc", lambda one, _: replace(one.settings, tags={**one.settings.tags, key: ""})
        )

    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        await node.tables.create("acme", replace(DECLARED, name="abc", settings=NO_SETTINGS))
        keys = [str(number) for number in range(32)]
        await asyncio.gather(*(tag(node, key) for key in keys))
        assert sorted(node.catalog.table("acme", "abc").definition.settings.tags) == sorted(keys)


async def test_what_is_refused_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a refusal of the change itself nor one of the disk leaves it half done."""

    def refuse(_definition: TableDefinition, _now_us: int) -> TableSettings:
        raise Refused(RefusalKind.INVALID, "no")

    def no_space(*_: object) -> None:
        raise Unavailable(UnavailableKind.NO_SPACE, "The disk is full.")

    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        await node.tables.create("acme", DECLARED)
        with pytest.raises(Refused, match="no"):
            await node.tables.update("acme", "both", refuse)
        monkeypatch.setattr(table_records, "update_table", no_space)
        with pytest.raises(Unavailable):
            await node.tables.update("acme", "both", lambda _one, _: NO_SETTINGS)
        assert node.catalog.table("acme", "both").definition.settings == SETTINGS
        monkeypatch.setattr(table_records, "insert_table", no_space)
        with pytest.raises(Unavailable):
            await node.tables.create("acme", replace(DECLARED, name="other"))
        assert len(list((tmp_path / "data" / FOLDER).glob("??/*.db"))) == 1


async def test_a_cancelled_change_goes_on(tmp_path: Path) -> None:
    """What the database has committed and memory must not differ because a client went away."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        await node.tables.create("acme", DECLARED)
        asked = asyncio.get_running_loop().create_task(
            node.tables.update("acme", "both", lambda one, _: replace(one.settings, tags={}))
        )
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await node.catalog.settle()
        assert node.catalog.table("acme", "both").definition.settings.tags == {}


async def test_a_table_takes_room_on_the_disk(tmp_path: Path) -> None:
    """Its size is that of its files, which are there before there is an item."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        table = await node.tables.create("acme", DECLARED)
        assert node.catalog.size_bytes(table) > 0
        await node.tables.update(
            "acme", "both", lambda one, _: replace(one.settings, is_protected=False)
        )
        await node.tables.delete("acme", "both")
        assert node.catalog.size_bytes(table) == 0


def test_index_keys() -> None:
    """Every use of an attribute as an index's key is listed, and no key of the table is."""
    definition = TableDefinition(
        tenant="acme",
        name="both",
        table_id=TableId("1"),
        partition=DECLARED.partition,
        sort=DECLARED.sort,
        door=Door.DYNAMODB,
        created_at_us=0,
        settings=SETTINGS,
    )
    assert [
        (key.attribute, key.kind, key.index, key.is_partition) for key in index_keys(definition)
    ] == [
        ("x", KeyKind.NUMBER, "lsi", False),
        ("y", KeyKind.BINARY, "gsi", True),
        ("x", KeyKind.NUMBER, "gsi", False),
    ]


def test_throughput_is_dated_and_decreases_are_counted() -> None:
    """NumberOfDecreasesToday counts those of one UTC day."""
    start = Throughput(read_units=5, write_units=5)
    noon = 100 * DAY_US + DAY_US // 2
    up = changed_throughput(start, 6, 5, now_us=noon)
    assert (up.increased_at_us, up.decreased_at_us, decreases_today(up, now_us=noon)) == (
        noon,
        None,
        0,
    )
    down = changed_throughput(up, 1, 9, now_us=noon + US_PER_S)
    assert (down.increased_at_us, down.decreased_at_us) == (noon + US_PER_S, noon + US_PER_S)
    again = changed_throughput(down, 1, 8, now_us=noon + 2 * US_PER_S)
    assert decreases_today(again, now_us=noon + 3 * US_PER_S) == 2
    assert decreases_today(again, now_us=noon + DAY_US) == 0
    tomorrow = changed_throughput(again, 1, 7, now_us=noon + DAY_US)
    assert decreases_today(tomorrow, now_us=noon + DAY_US) == 1
