"""Look into a data directory that no process uses, through dStore's own storage classes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.limits import MIB
from dstore.model.ranges import Table
from dstore.security.control_key import CONTROL_KEY_FILE, Sealed, load_or_create
from dstore.security.keys import ControlShare
from dstore.service.node import Node, NodeOptions, open_node
from dstore.storage.control import planes, tenants
from dstore.storage.control.opening import SQLITE_FILE
from dstore.storage.control.vaulted import open_own_store
from dstore.storage.range_files import FOLDER
from dstore.storage.vault.vault import Vault

if TYPE_CHECKING:
    import apsw

    from dstore.storage.range_file import RangeFile

Result = TypeVar("Result")

_SOUND: Final = "ok"


def look(data: Path, work: Callable[[Node], Awaitable[Result]]) -> Result:
    """Open the directory as a starting server would, run `work` on the node, and close it."""

    async def run() -> Result:
        node = await open_node(
            NodeOptions(
                directory=data,
                location="NA",
                page_cache_bytes=8 * MIB,
                entry_cache_bytes=1 << 20,
                open_files_max=64,
                free_disk_bytes_min=0,
                wal_pages_checkpoint=8_000,
            ),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            on_fatal=_fail,
        )
        try:
            await _unlock(node, data)
            return await work(node)
        finally:
            await node.close()

    return asyncio.run(run())


async def _unlock(node: Node, data: Path) -> None:
    """Give the node control's shares of its tenants' keys, if control lies beside it."""
    if not (data / SQLITE_FILE).exists():
        return
    vault = Vault(entropy=SystemEntropy(), page_cache_bytes=1 << 20)
    key = load_or_create(data / CONTROL_KEY_FILE, may_create=False, entropy=SystemEntropy())
    store = await open_own_store(data, key, vault=vault, on_fatal=_fail)
    async with store.snapshot() as tx:
        plane = await planes.get(tx)
        found = (await tenants.page(tx)).records
    await store.close()
    assert plane is not None
    for record in found:
        if record.name in node.holdings.tenants:
            share = key.open_key(record.sealed_key, what=Sealed.TENANT, record_id=record.uuid)
            node.holdings.set_control_share(
                record.name, ControlShare(control_plane=plane.uuid, key=share)
            )


def integrity(data: Path) -> dict[str, str]:
    """Check every database of the directory, in place: this recovers and folds their logs.

    Returns: what `PRAGMA integrity_check` says, by file name.
    """

    async def check(node: Node) -> dict[str, str]:
        said = {"node.db": await node._database.run(_integrity_of)}
        for file in await _files(node):
            said[file.path.name] = await file._in_thread(_integrity_of)
        return said

    return look(data, check)


def assert_sound(data: Path, copy: Path | None = None) -> None:
    """Fail unless every database is sound; with `copy` a copy made there is judged instead."""
    if copy is not None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(data, copy)
    said = integrity(copy or data)
    assert set(said.values()) == {_SOUND}, said


def range_files(data: Path) -> list[Path]:
    """List every file below the folder of the ranges."""
    return sorted(path for path in (data / FOLDER).rglob("*") if path.is_file())


def overflow_pages(data: Path, table: str) -> list[int]:
    """Tell which pages of a table of tenant `default` hold the long values of its entries."""

    async def pages(node: Node) -> list[int]:
        file = await _only_file(node, node.catalog.table("default", table))
        return await file._in_thread(
            lambda connection: [
                row[0]
                for row in connection.execute(
                    "SELECT pageno FROM dbstat WHERE name = 'v1' AND pagetype = 'overflow'"
                )
            ]
        )

    return look(data, pages)


def range_path(data: Path, table: str) -> Path:
    """Tell in which file the entries of a table of tenant `default` are."""

    async def path(node: Node) -> Path:
        return (await _only_file(node, node.catalog.table("default", table))).path

    return look(data, path)


async def _files(node: Node) -> list[RangeFile]:
    return [await node.holdings.open(held.ref) for held in node.holdings.ranges.values()]


async def _only_file(node: Node, table: Table) -> RangeFile:
    [ref] = table.ranges.refs
    return await node.holdings.open(ref)


def _integrity_of(connection: apsw.Connection) -> str:
    return ",".join(str(row[0]) for row in connection.execute("PRAGMA integrity_check"))


def _fail(error: BaseException) -> None:
    raise AssertionError("storage called its failure fatal") from error
