"""The audit log is a chain: what was changed in it shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dstore.base.limits import AUDIT_TEXT_CHARS_MAX
from dstore.model.errors import Corrupt
from dstore.storage.control import audit
from dstore.storage.control.records import AuditEntry
from dstore.storage.control.store import ControlStore
from tests.support.control_records import NOW_US

ENTRY = AuditEntry(
    at_us=NOW_US, actor="aaaaaaaaaaaa", action="node.remove", subject="node-1", result="done"
)


async def _fill(store: ControlStore, count: int) -> None:
    async with store.transaction() as tx:
        for number in range(count):
            await audit.append(tx, replace(ENTRY, at_us=NOW_US + number))


async def _verify(store: ControlStore) -> int:
    last, checked = None, 0
    async with store.snapshot() as tx:
        while (found := await audit.verify(tx, after=last, limit=4)) is not None:
            last, checked = found, found.sequence
    return checked


async def test_the_log_is_numbered_listed_and_verified(store: ControlStore) -> None:
    """Without gaps, newest first in pages, and whole."""
    await _fill(store, 10)
    async with store.snapshot() as tx:
        first = await audit.page(tx, limit=6)
        rest = await audit.page(tx, limit=6, after=first.after)
    listed = [each.sequence for each in (*first.records, *rest.records)]
    assert listed == list(range(10, 0, -1))
    assert rest.after is None
    assert await _verify(store) == 10


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE audit SET actor = 'nobody' WHERE sequence = 5",
        "UPDATE audit SET at_us = at_us + 1 WHERE sequence = 1",
        "DELETE FROM audit WHERE sequence = 5",
        "DELETE FROM audit WHERE sequence = 1",
        "UPDATE audit SET digest = (SELECT digest FROM audit WHERE sequence = 4)",
    ],
)
async def test_a_change_breaks_the_chain(store: ControlStore, damage: str) -> None:
    """Edited, removed, replaced: found, with its place."""
    await _fill(store, 10)
    async with store.transaction() as tx:
        await tx.change(damage)
    with pytest.raises(Corrupt):
        await _verify(store)


async def test_long_texts_are_cut(store: ControlStore) -> None:
    """A client's text cannot fill the disk, and what was cut still verifies."""
    async with store.transaction() as tx:
        record = await audit.append(tx, replace(ENTRY, subject="x" * 100_000))
    assert len(record.entry.subject) == AUDIT_TEXT_CHARS_MAX + 3
    assert await _verify(store) == 1
