"""Schema steps: once, in order, by one process at a time; a later dStore's store is left alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from dstore.model.errors import Corrupt, DStoreError
from dstore.storage.control import tables, tenants
from dstore.storage.control.components import NODES
from dstore.storage.control.store import ControlStore
from dstore.storage.control.upgrade import bring_up_to_date
from tests.contract.control_store.conftest import Site
from tests.support.control_records import node, table, tenant, whole_range

ROOT = Path(__file__).parents[3]
FIRST = "CREATE TABLE grown (a BIGINT NOT NULL);\nINSERT INTO grown (a) VALUES (1);\n"
SECOND = "-- A step; it has a semicolon in its comment.\nUPDATE grown SET a = a + 1;\n"
BROKEN = "UPDATE grown SET a = a + 1;\nUPDATE absent SET a = 1;\n"

OPEN = """
import asyncio, sys
from pathlib import Path
from dstore.storage.control.opening import open_store

async def main():
    sys.stdin.readline()
    store = await open_store(sys.argv[1], directory=Path(sys.argv[2]), on_fatal=print)
    await store.close()

print("ready", flush=True)
asyncio.run(main())
"""


async def _steps(store: ControlStore, *steps: str) -> int:
    async with store.transaction() as tx:
        present = await tx.rows("SELECT COUNT(*) FROM schema_step")
        own = [""] * present[0][0]  # the steps of this version are done
        return await bring_up_to_date(tx, steps=[*own, *steps])


async def _grown(store: ControlStore) -> int:
    async with store.snapshot() as tx:
        found = await tx.rows("SELECT a FROM grown")
    value: int = found[0][0]
    return value


def _open_in_processes(site: Site) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, site.address, str(site.directory)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], ended


async def test_processes_that_start_together_upgrade_once(site: Site) -> None:
    """Each of them opens an empty store at the same moment, and all of them succeed."""
    await asyncio.to_thread(_open_in_processes, site)
    async with (await site.open()).snapshot() as tx:
        steps = await tx.rows("SELECT number FROM schema_step ORDER BY number")
    assert [row[0] for row in steps] == list(range(1, len(steps) + 1))


async def test_two_opens_in_one_process_upgrade_once(site: Site) -> None:
    """The same, closer together than processes come."""
    await asyncio.gather(*(site.open() for _ in range(4)))


async def test_steps_are_applied_in_order_and_once(store: ControlStore) -> None:
    """A store two versions old arrives at the newest, and stays as it is after that."""
    async with store.transaction() as tx:
        counted = await tx.rows("SELECT COUNT(*) FROM schema_step")
    present: int = counted[0][0]
    assert await _steps(store, FIRST, SECOND) == 2
    assert await _grown(store) == 2
    async with store.transaction() as tx:
        assert await bring_up_to_date(tx, steps=[""] * present + [FIRST, SECOND]) == 0
    assert await _grown(store) == 2


async def test_a_step_that_fails_leaves_nothing_of_it(store: ControlStore) -> None:
    """Half a step would be a schema that no version knows."""
    with pytest.raises(DStoreError):
        await _steps(store, FIRST, BROKEN)
    assert await _steps(store, FIRST) == 1
    assert await _grown(store) == 1


async def test_a_newer_schema_is_refused_untouched(site: Site) -> None:
    """Going back a version needs a decision, not a guess."""
    store = await site.open()
    async with store.transaction() as tx:
        await tenants.insert(tx, tenant())
        await tx.change("INSERT INTO schema_step (number) VALUES (9999)")
    with pytest.raises(Corrupt, match="newer dStore"):
        await site.open()
    async with store.snapshot() as tx:
        assert await tenants.get(tx, "acme") == tenant()


async def test_ranges_of_before_there_were_replicas_have_one(site: Site) -> None:
    """The node that has a range alone is found as its one replica after the step."""
    store = await site.open()
    made = table()
    async with store.transaction() as tx:
        await NODES.insert(tx, node())
        await tenants.insert(tx, tenant())
        await tables.insert(tx, made, [whole_range(made)])
        before = await tables.replicas(tx, made.table_id)
        await tx.change("DROP INDEX table_definition_by_base")
        await tx.change("ALTER TABLE table_definition DROP COLUMN base_id")
        await tx.change("DROP TABLE range_split")
        await tx.change("DROP TABLE range_replica")
        await tx.change("DELETE FROM schema_step WHERE number >= 6")
    async with (await site.open()).snapshot() as tx:
        assert await tables.replicas(tx, made.table_id) == before
        assert [each.node for each in before] == ["node-1"]


def test_the_steps_of_this_version_are_in_the_package() -> None:
    """A wheel without its SQL would fail at an operator's, not here."""
    names = sorted(
        path.name for path in (ROOT / "dstore" / "storage" / "control" / "schema").iterdir()
    )
    assert names == [f"{number + 1:04}.sql" for number in range(len(names))]
