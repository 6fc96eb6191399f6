"""Ranges come and go as control decides, however often it is asked for, and after crashes."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dstore.model.errors import NotMine, RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.model.ranges import RangeRef, even_ranges
from dstore.model.table_settings import TableSettings
from dstore.model.tables import Door, IdType, TableDefinition, TableId, v1_key
from dstore.security.keys import ControlShare, Key256
from dstore.service.entry_writes import create
from dstore.service.node import Node
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.storage import table_records
from dstore.storage.node_database import NodeDatabase
from dstore.storage.orphans import ORPHANS
from dstore.storage.range_files import FOLDER, RangeFiles
from tests.unit.service.nodes import a_node

TENANT, TENANT_ID = "acme", "7e1a0000-0000-4000-8000-000000000001"
PLANE, OTHER_PLANE = "plane", "other-plane"
DEFINITION = TableDefinition(
    tenant=TENANT,
    name="entries",
    table_id=TableId("7ab1e000-0000-4000-8000-000000000001"),
    partition=v1_key(IdType.STRING),
    door=Door.V1,
    created_at_us=1,
)
LEFT, RIGHT = [
    RangeRef(range_id=f"{number}a000000-0000-4000-8000-000000000001", epoch=3, low=low, high=high)
    for number, (low, high) in enumerate(even_ranges(2))
]
BOTH = (LEFT, RIGHT)


@asynccontextmanager
async def a_member(directory: Path, *, share: ControlShare | None = None) -> AsyncIterator[Node]:
    """Open a node that holds the tenant."""
    async with a_node(directory) as node:
        await node.duties.ensure_tenant(TENANT, tenant_id=TENANT_ID, share=share)
        yield node


async def write(node: Node, name: str) -> None:
    key = node.items.locate(TENANT, "entries", name)
    await node.items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))


async def names(node: Node) -> int:
    """Count the entries by reading them."""
    return len((await node.items.list(TENANT, "entries", after=b"", limit=100)).entries)


def files(directory: Path) -> set[str]:
    """Name the ranges of which there are files in place."""
    return {path.name.split(".")[0] for path in (directory / FOLDER).glob("??/*")}


async def test_a_duty_done_twice_is_done_once(tmp_path: Path) -> None:
    """Control's decisions are carried out again and again; entries must survive that."""
    data = tmp_path / "data"
    async with a_member(data) as node:
        for ref in (*BOTH, *BOTH):
            assert await node.duties.ensure_range(DEFINITION, ref) == ref
        for number in range(20):
            await write(node, f"k{number}")
        assert await node.duties.ensure_range(DEFINITION, LEFT) == LEFT
        await node.duties.ensure_tenant(TENANT, tenant_id=TENANT_ID)
        assert await names(node) == 20
    async with a_member(data) as node:
        assert await node.duties.ensure_range(DEFINITION, RIGHT) == RIGHT
        assert await names(node) == 20
        for ref in (*BOTH, *BOTH):
            await node.duties.drop_range(ref.range_id)
        assert files(data) == set()
        assert not node.holdings.tenant(TENANT).tables
        await node.duties.drop_tenant(TENANT, tenant_id=TENANT_ID)
        await node.duties.drop_tenant(TENANT, tenant_id=TENANT_ID)
        assert not node.holdings.tenants


async def test_what_is_not_held_is_not_taken_for_empty(tmp_path: Path) -> None:
    """A node with half of a table refuses the other half, in pages and lists too."""
    async with a_member(tmp_path / "data") as node:
        await node.duties.ensure_range(DEFINITION, LEFT)
        answers = set[object]()
        for number in range(20):
            key = node.items.locate(TENANT, "entries", f"k{number}")
            try:
                answers.add(await node.items.read(key))
            except NotMine:
                answers.add("elsewhere")
        assert answers == {None, "elsewhere"}
        with pytest.raises(NotMine):
            await names(node)
        await node.duties.ensure_range(DEFINITION, RIGHT)
        assert await names(node) == 0
        await node.duties.drop_range(LEFT.range_id)
        with pytest.raises(NotMine):
            await names(node)


async def test_an_epoch_rises_and_never_falls(tmp_path: Path) -> None:
    """A message that was late must not put a range back."""
    data = tmp_path / "data"
    async with a_member(data) as node:
        await node.duties.ensure_range(DEFINITION, LEFT)
        later = replace(LEFT, epoch=9)
        assert await node.duties.ensure_range(DEFINITION, later) == later
        assert await node.duties.ensure_range(DEFINITION, LEFT) == later
        assert node.holdings.table(TENANT, "entries").ranges.refs == (later,)
    async with a_member(data) as node:
        assert node.holdings.table(TENANT, "entries").ranges.refs == (later,)


async def test_a_definition_follows_control(tmp_path: Path) -> None:
    """Settings change with the next decision that carries them, and stay."""
    data = tmp_path / "data"
    changed = replace(DEFINITION, settings=TableSettings(is_protected=True))
    async with a_member(data) as node:
        await node.duties.ensure_range(DEFINITION, LEFT)
        await node.duties.ensure_range(changed, LEFT)
        assert node.holdings.table(TENANT, "entries").definition == changed
    async with a_member(data) as node:
        assert node.holdings.table(TENANT, "entries").definition == changed


@pytest.mark.parametrize(
    ("definition", "ref"),
    [
        (replace(DEFINITION, table_id=TableId("another")), RIGHT),
        (replace(DEFINITION, name="other", table_id=TableId("another")), LEFT),
        (DEFINITION, replace(LEFT, high=LEFT.high - 1)),
        (DEFINITION, replace(LEFT, range_id="overlapping")),
        (DEFINITION, replace(RIGHT, low=LEFT.high)),
    ],
)
async def test_a_decision_that_contradicts_what_is_held_changes_nothing(
    tmp_path: Path, definition: TableDefinition, ref: RangeRef
) -> None:
    """Ranges never overlap (I8), and a late message must not cost another table its entries."""
    async with a_member(tmp_path / "data") as node:
        await node.duties.ensure_range(DEFINITION, LEFT)
        with pytest.raises(Refused) as refused:
            await node.duties.ensure_range(definition, ref)
        assert refused.value.kind is RefusalKind.CONFLICT
        with pytest.raises(Refused):
            await node.duties.ensure_tenant(TENANT, tenant_id="another")
        await node.duties.drop_tenant(TENANT, tenant_id="another")
        assert [held.ref for held in node.holdings.ranges.values()] == [LEFT]


async def test_a_range_comes_back_empty(tmp_path: Path) -> None:
    """A range that was given up may be placed here again, in the same process too."""
    data = tmp_path / "data"
    async with a_member(data) as node:
        for ref in BOTH:
            await node.duties.ensure_range(DEFINITION, ref)
        for number in range(20):
            await write(node, f"k{number}")
        before = await names(node)
        await node.duties.drop_range(LEFT.range_id)
        await node.duties.ensure_range(DEFINITION, LEFT)
        assert 0 < await names(node) < before


async def crashed_at_each_step(
    data: Path, monkeypatch: pytest.MonkeyPatch, do: Callable[[Node], Awaitable[Any]]
) -> list[Path]:
    """Do something, copying the directory as a kill would leave it before and after each step."""
    copies: list[Path] = []

    def copy() -> None:
        copies.append(data.with_name(f"copy{len(copies)}"))
        shutil.copytree(data, copies[-1])

    def stepwise(owner: type, name: str) -> None:
        real = getattr(owner, name)

        async def step(*arguments: Any, **named: Any) -> Any:
            copy()
            result = await real(*arguments, **named)
            copy()
            return result

        monkeypatch.setattr(owner, name, step)

    async with a_member(data) as node:
        with monkeypatch.context():
            stepwise(RangeFiles, "create")
            stepwise(RangeFiles, "delete")
            stepwise(NodeDatabase, "run")
            await do(node)
        monkeypatch.undo()
    assert len(copies) >= 4
    return copies


async def test_taking_a_range_on_is_made_up_for_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stopped: the next try has the range, whole and empty, and the others' entries."""
    data = tmp_path / "data"
    async with a_member(data) as node:
        await node.duties.ensure_range(DEFINITION, LEFT)
        for number in range(20):
            try:
                await write(node, f"k{number}")
            except NotMine:
                continue
        kept = node.holdings.counts.sum()
    copies = await crashed_at_each_step(
        data, monkeypatch, lambda node: node.duties.ensure_range(DEFINITION, RIGHT)
    )
    for copied in copies:
        async with a_member(copied) as node:
            await node.duties.ensure_range(DEFINITION, RIGHT)
            assert await names(node) == kept
            assert files(copied) == {ref.range_id for ref in BOTH}
            for number in range(100, 120):
                await write(node, f"k{number}")
        for _ in range(2):
            async with a_member(copied) as node:  # what was set aside does not come back
                assert await names(node) == kept + 20
    assert any((copied / FOLDER / ORPHANS).exists() for copied in copies)


async def test_giving_a_range_up_is_made_up_for_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stopped: the range is there whole, or its file is left without a key."""
    data = tmp_path / "data"
    async with a_member(data) as node:
        for ref in BOTH:
            await node.duties.ensure_range(DEFINITION, ref)
        for number in range(20):
            await write(node, f"k{number}")
    copies = await crashed_at_each_step(
        data, monkeypatch, lambda node: node.duties.drop_range(LEFT.range_id)
    )
    held = set()
    for copied in copies:
        async with a_member(copied) as node:
            held.add(len(node.holdings.ranges))
            if LEFT.range_id in node.holdings.ranges:
                assert await names(node) == 20
            await node.duties.drop_range(LEFT.range_id)
            assert files(copied) == {RIGHT.range_id}
            assert list(node.holdings.ranges) == [RIGHT.range_id]
    assert held == {1, 2}


async def test_a_refused_record_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control asks again and again on a full disk, which must not fill it further."""

    def no_space(*_: object) -> Any:
        raise Unavailable(UnavailableKind.NO_SPACE, "The disk is full.")

    data = tmp_path / "data"
    async with a_member(data) as node:
        await node.duties.ensure_range(DEFINITION, LEFT)
        with monkeypatch.context() as full:
            full.setattr(table_records, "insert_ranges", no_space)
            with pytest.raises(Unavailable):
                await node.duties.ensure_range(DEFINITION, RIGHT)
        assert files(data) == {LEFT.range_id}
        await node.duties.ensure_range(DEFINITION, RIGHT)
        assert await names(node) == 0


async def test_files_wait_for_controls_share(tmp_path: Path) -> None:
    """I4: without control's share, or with another's, a node's own disk opens no entry."""
    data = tmp_path / "data"
    share = ControlShare(control_plane=PLANE, key=Key256(bytes(range(32))))
    async with a_member(data, share=share) as node:
        await node.duties.ensure_range(DEFINITION, replace(LEFT, high=RIGHT.high))
        await write(node, "k")
    wrong = Key256(bytes(range(1, 33)))
    for given in (None, ControlShare(control_plane=OTHER_PLANE, key=share.key)):
        async with a_member(data, share=given) as node:
            with pytest.raises(Unavailable) as locked:
                await names(node)
            assert locked.value.kind is UnavailableKind.LOCKED
            assert "waiting for control" in locked.value.message
            node.holdings.set_control_share(TENANT, share)
            assert await names(node) == 1
    async with a_member(data, share=ControlShare(control_plane=PLANE, key=wrong)) as node:
        with pytest.raises(Unavailable) as locked:
            await names(node)
        assert locked.value.kind is UnavailableKind.LOCKED
    assert repr(share.key) not in repr(share)


async def test_joining_wraps_a_files_key_anew(tmp_path: Path) -> None:
    """What a stand-alone node held is behind control's share afterwards, and the entries stay."""
    data = tmp_path / "data"
    share = ControlShare(control_plane=PLANE, key=Key256(bytes(range(32))))
    async with a_node(data) as node:
        await node.catalog.create_tenant(TENANT)
        await node.catalog.create_table(TENANT, "entries", id_type=IdType.STRING, ranges=2)
        await write(node, "k")
        for held in list(node.holdings.ranges.values()):
            await node.holdings.rewrap(held.range_id, share)
        assert await names(node) == 1
    async with a_node(data) as node:
        with pytest.raises(Unavailable, match="waiting for control"):
            await names(node)
        node.holdings.set_control_share(TENANT, share)
        assert await names(node) == 1
