"""A control dies in the middle: what it acknowledged is there, the rest is not, nor is a lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dstore.storage.control import tenants
from dstore.storage.control.store import ControlStore, Key
from tests.contract.control_store.conftest import Site
from tests.support.control_records import tenant

ROOT = Path(__file__).parents[3]

WRITE = """
import asyncio, sys
from pathlib import Path
from dstore.storage.control import tenants
from dstore.storage.control.opening import open_store
from tests.support.control_records import tenant

async def main():
    store = await open_store(sys.argv[1], directory=Path(sys.argv[2]), on_fatal=print)
    if sys.argv[3] == "open":
        async with store.transaction() as tx:
            await tenants.insert(tx, tenant("uncommitted"))
            print("open", flush=True)
            await asyncio.sleep(60)
    number = 0
    while True:
        async with store.transaction() as tx:
            await tenants.insert(tx, tenant(f"first-{number:05}"))
            await tenants.insert(tx, tenant(f"second-{number:05}"))
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""


def _start(site: Site, what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, site.address, str(site.directory), what],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ended(process: subprocess.Popen[str]) -> str:
    """Return what a killed process had still printed.

    Not by `communicate`, which reads past what `readline` has buffered.
    """
    assert process.stdout is not None
    with process.stdout as printed:
        rest = printed.read()
    process.wait(timeout=30)
    return rest


async def _names(store: ControlStore) -> set[str]:
    names: set[str] = set()
    after: Key | None = None
    async with store.snapshot() as tx:
        while True:
            page = await tenants.page(tx, after=after)
            names |= {each.name for each in page.records}
            after = page.after
            if after is None:
                return names


async def test_a_kill_in_mid_transaction_leaves_nothing_and_no_lock(site: Site) -> None:
    """SIGKILL with the store's lock held: the next control goes on at once."""
    store = await site.open()
    process = _start(site, "open")
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    process.kill()
    _ended(process)
    async with store.transaction(timeout_s=5) as tx:
        await tenants.insert(tx, tenant())
    assert await _names(store) == {"acme"}


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
async def test_a_kill_among_many_commits_loses_none_that_was_acknowledged(
    site: Site, acknowledged: int
) -> None:
    """I1: what was answered is there after SIGKILL, and every transaction is whole."""
    process = _start(site, "commit")
    assert process.stdout is not None
    for _ in range(acknowledged):
        process.stdout.readline()
    process.kill()
    rest = _ended(process)
    told = acknowledged + rest.count("\n")
    names = await _names(await site.open())
    first = {name.removeprefix("first-") for name in names if name.startswith("first-")}
    second = {name.removeprefix("second-") for name in names if name.startswith("second-")}
    assert first == second
    assert first >= {f"{number:05}" for number in range(told)}
    assert len(first) <= told + 1
