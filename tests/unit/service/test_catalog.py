"""Tenants and tables come and go whole, whatever fails or is cancelled on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.model.tables import IdType
from dstore.service.access import Principal
from dstore.service.entry_writes import create
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.storage import node_records, table_records
from dstore.storage.range_files import FOLDER, RangeFiles
from tests.unit.service.nodes import a_node


def _no_space(*_: object) -> Any:
    raise Unavailable(UnavailableKind.NO_SPACE, "The disk is full.")


async def test_credentials_die_with_their_tenant_whatever_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant of the same name that comes later must not be reached by its predecessor's."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        await node.catalog.create_table("acme", "abc", id_type=IdType.STRING)
        _, token = await node.access.create_token("acme")
        key, _ = await node.access.create_access_key("acme")
        monkeypatch.setattr(RangeFiles, "delete", _no_space)
        monkeypatch.setattr(type(node._database), "shred", _no_space)
        await node.catalog.delete_tenant("acme", force=True)
        assert node.shredder.has_failed
        await node.catalog.create_tenant("acme")
        with pytest.raises(Refused, match="not valid"):
            node.access.bearer(f"Bearer {token}")
        assert node.access.access_keys("acme") == []
        assert node.access.tokens("acme") == []
        await node.access.import_access_key("acme", key.id, "another-secret")


async def test_a_former_tenants_client_changes_nothing_of_the_next_one(tmp_path: Path) -> None:
    """However long its requests wait for their turn, whatever the operator does meanwhile."""
    async with a_node(tmp_path / "data") as node:
        catalog = node.catalog
        await catalog.create_tenant("acme")
        await catalog.create_table("acme", "abc", id_type=IdType.STRING)
        client = Principal(tenant="acme", credential="DSAK", tenant_id=catalog.tenant("acme").uuid)
        _, *asked = await asyncio.gather(
            catalog.delete_tenant("acme", force=True),
            catalog.create_tenant("acme"),
            catalog.create_table("acme", "abc", id_type=IdType.STRING),
            catalog.create_table("acme", "alien", id_type=IdType.STRING, by=client),
            catalog.delete_table("acme", "abc", by=client),
            catalog.set_table("acme", "abc", lambda it: it.settings, by=client),
            return_exceptions=True,
        )
        assert list(catalog.tenant("acme").tables) == ["abc"]
        for refused in asked[-3:]:
            assert isinstance(refused, Refused)
            assert refused.kind is RefusalKind.NOT_FOUND


async def test_a_cancelled_deletion_goes_on(tmp_path: Path) -> None:
    """What the database has committed and memory must not differ because a client went away."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        _, token = await node.access.create_token("acme")
        asked = asyncio.get_running_loop().create_task(
            node.catalog.delete_tenant("acme", force=False)
        )
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await node.catalog.settle()
        assert list(node.catalog.tenant_names()) == []
        with pytest.raises(Refused):
            node.access.bearer(f"Bearer {token}")


async def test_a_shred_that_failed_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys left in the log by an error or a kill are cut from it later, or at the next start."""
    data = tmp_path / "data"
    wal = data / "node.db-wal"
    async with a_node(data) as node:
        await node.catalog.create_tenant("acme")
        with monkeypatch.context() as broken:
            broken.setattr(type(node._database), "shred", _no_space)
            await node.catalog.delete_tenant("acme", force=False)
            assert await node._database.read(node_records.shred_due) == 1
            assert wal.stat().st_size > 0
            await node.catalog.create_tenant("other")
            await node.catalog.create_table("other", "abc", id_type=IdType.STRING)
            await node.catalog.delete_table("other", "abc")
            assert not await node.shredder.shred_if_due()
        assert await node.shredder.shred_if_due()
        assert not node.shredder.has_failed
        assert await node._database.read(node_records.shred_due) == 0
        await node._database.run(node_records.note_shred_due)  # as a kill would leave it
    async with a_node(data) as node:
        assert await node._database.read(node_records.shred_due) == 0


async def test_a_key_deleted_while_the_log_is_cut_stays_due(tmp_path: Path) -> None:
    """The note of a later deletion must not be taken away with that of an earlier one."""
    async with a_node(tmp_path / "data") as node:
        database = node._database
        await database.run(node_records.note_shred_due)
        seen = await database.read(node_records.shred_due)
        await database.run(node_records.note_shred_due)
        await database.run(lambda db: node_records.clear_shred_due(db, seen))
        assert await database.read(node_records.shred_due) == 2


async def test_a_table_found_before_its_deletion_is_not_opened_after(tmp_path: Path) -> None:
    """A request between finding and opening must not bring a deleted file back to life."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        table, _ = await node.catalog.create_table("acme", "abc", id_type=IdType.STRING)
        await node.catalog.delete_table("acme", "abc")
        with pytest.raises(Refused) as refused:
            await node.walks.listing(table, after=b"", limit=1)
        assert refused.value.kind is RefusalKind.NOT_FOUND
        await node.catalog.create_table("acme", "abc", id_type=IdType.STRING)
        with pytest.raises(Refused):
            await node.walks.listing(table, after=b"", limit=1)


async def test_a_table_that_is_not_recorded_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks again and again on a full disk must not fill it further."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        monkeypatch.setattr(table_records, "insert_table", _no_space)
        with pytest.raises(Unavailable):
            await node.catalog.create_table("acme", "abc", id_type=IdType.STRING)
        assert not list((tmp_path / "data" / FOLDER).glob("??/*"))


async def test_a_nearly_full_disk_takes_no_table_and_no_tenant(tmp_path: Path) -> None:
    """They write like entries do; what exists already is still answered."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        await node.catalog.create_table("acme", "abc", id_type=IdType.STRING)
    async with a_node(tmp_path / "data", free_disk_bytes_min=1 << 60) as node:
        with pytest.raises(Unavailable):
            await node.catalog.create_tenant("other")
        with pytest.raises(Unavailable):
            await node.catalog.create_table("acme", "other", id_type=IdType.STRING)
        await node.catalog.create_tenant("acme")
        await node.catalog.delete_table("acme", "abc")


async def test_names_asked_for_leave_nothing_behind(tmp_path: Path) -> None:
    """A client that makes names up must not fill the memory."""
    async with a_node(tmp_path / "data") as node:
        for number in range(20):
            with pytest.raises(Refused):
                await node.catalog.create_table(f"no-{number}", "abc", id_type=IdType.STRING)
            with pytest.raises(Refused):
                await node.catalog.delete_tenant(f"no-{number}", force=True)
        await node.catalog.create_tenant("acme")
        assert node.holdings.changes.names == 0


async def test_counts_survive_the_closing_of_a_file(tmp_path: Path) -> None:
    """A table is counted right while its file is open, closed, and after a restart."""
    data = tmp_path / "data"
    async with a_node(data) as node:
        await node.catalog.create_tenant("acme")
        await node.catalog.create_table("acme", "abc", id_type=IdType.STRING)
        for name in ("one", "two"):
            entry = node.items.locate("acme", "abc", name)
            apply = create({}, key=entry, preconditions=NO_PRECONDITIONS)
            await node.items.write(entry, apply, request=None)
        assert node.catalog.quantity(node.catalog.table("acme", "abc")) == 2
        assert node.catalog.entry_count() == 2
        await node.files.close()
        assert node.catalog.quantity(node.catalog.table("acme", "abc")) == 2
    async with a_node(data) as node:
        assert node.files.open_count == 0
        assert node.catalog.quantity(node.catalog.table("acme", "abc")) == 2
        assert node.catalog.entry_count() == 2
        await node.catalog.delete_table("acme", "abc")
        assert node.catalog.entry_count() == 0


async def test_entries_are_counted_out_with_their_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count that is taken while the table is being deleted must not stay behind."""
    async with a_node(tmp_path / "data") as node:
        catalog = node.catalog
        await catalog.create_tenant("acme")
        await catalog.create_table("acme", "abc", id_type=IdType.STRING)
        key = node.items.locate("acme", "abc", "one")
        await node.items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))
        run = type(node._database).run
        counts: list[int] = []

        async def run_and_count(*arguments: Any) -> Any:
            result = await run(*arguments)
            counts.append(catalog.entry_count())
            return result

        monkeypatch.setattr(type(node._database), "run", run_and_count)
        await catalog.delete_table("acme", "abc")
        assert counts[0] == 1
        assert catalog.entry_count() == 0
