"""The outbox: what etcd must show, in the order of commits, published once in effect."""

from __future__ import annotations

import asyncio
import random

import pytest

from dstore.base.limits import OUTBOX_BATCH_MAX
from dstore.storage.control import outbox
from dstore.storage.control.records import Publication
from dstore.storage.control.store import ControlStore
from tests.contract.control_store.conftest import Site


class Died(Exception):
    """The publisher's process ended here."""


class Etcd:
    """As much of etcd as the algorithm of `outbox` needs: a transaction, and where it got to."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.published = 0
        self.writes: list[str] = []

    def commit(self, publications: list[Publication], *, expected: int, through: int) -> None:
        """Write all, if nobody published meanwhile."""
        if self.published != expected:
            return
        for each in publications:
            self.writes.append(each.key)
            if each.value is None:
                self.values.pop(each.key, None)
            else:
                self.values[each.key] = each.value
        self.published = through


async def _publish(store: ControlStore, etcd: Etcd, *, dies_at: int) -> None:
    """Take one round; `dies_at` 1 to 3 ends it after the read, the write, or the clean-up."""
    known = etcd.published
    async with store.snapshot() as tx:
        records = await outbox.pending(tx, after=known)
    if dies_at == 1:
        raise Died
    if records:
        etcd.commit(
            [each.publication for each in records], expected=known, through=records[-1].sequence
        )
    if dies_at == 2:
        raise Died
    async with store.transaction() as tx:
        await outbox.forget(tx, through=etcd.published)
        if dies_at == 3:
            raise Died


async def test_a_publisher_that_dies_anywhere_loses_and_repeats_nothing(site: Site) -> None:
    """Two controls write, publishers die at every step; etcd ends as the store says, in order."""
    stores = [await site.open(), await site.open()]
    etcd = Etcd()
    chance = random.Random(4)
    expected: list[str] = []

    async def write(number: int) -> None:
        async with stores[number % 2].transaction() as tx:
            key = f"key-{number % 7}"
            await outbox.append(tx, [Publication(key=key, value=b"%d" % number)])
            expected.append(key)  # the lock makes this the order of commits

    for round_number in range(12):
        await asyncio.gather(*(write(round_number * 4 + each) for each in range(4)))
        for _ in range(2):
            try:
                await _publish(stores[round_number % 2], etcd, dies_at=chance.randrange(5))
            except Died:
                continue
    await _publish(stores[0], etcd, dies_at=0)
    assert etcd.writes == expected
    async with stores[1].snapshot() as tx:
        assert await outbox.pending(tx) == ()
        assert await outbox.depth(tx) == 0
        assert await outbox.last(tx) == etcd.published == 48


async def test_what_is_rolled_back_is_not_published(store: ControlStore) -> None:
    """Etcd follows the store: no write without its transaction, and no hole in the numbers."""

    async def fail() -> None:
        async with store.transaction() as tx:
            await outbox.append(tx, [Publication(key="a", value=b"1")])
            raise Died

    with pytest.raises(Died):
        await fail()
    async with store.transaction() as tx:
        assert await outbox.append(tx, [Publication(key="b", value=None, mod_revision=5)]) == 1
    async with store.snapshot() as tx:
        (record,) = await outbox.pending(tx)
    assert record.publication == Publication(key="b", value=None, mod_revision=5)


async def test_a_batch_is_never_cut(store: ControlStore) -> None:
    """The ranges of a table become visible together or not at all."""
    sizes = (60, 60, OUTBOX_BATCH_MAX, 1, 1)
    async with store.transaction() as tx:
        for size in sizes:
            await outbox.append(tx, [Publication(key=f"k{n}", value=b"") for n in range(size)])
    taken = []
    after = 0
    async with store.snapshot() as tx:
        while records := await outbox.pending(tx, after=after):
            taken.append(len(records))
            after = records[-1].sequence
            assert len({each.batch for each in records}) == len(
                [each for each in records if each.batch == each.sequence]
            )
    assert taken == [60, 60, 100, 2]


async def test_a_batch_that_etcd_would_refuse_is_a_mistake(store: ControlStore) -> None:
    """Empty, too long, or two writes of one key: caught where it is made."""
    same = Publication(key="k", value=b"")
    many = [Publication(key=f"k{n}", value=b"") for n in range(OUTBOX_BATCH_MAX + 1)]
    async with store.transaction() as tx:
        for wrong in ([], many, [same, same]):
            with pytest.raises(AssertionError):
                await outbox.append(tx, wrong)


async def test_numbers_go_on_after_everything_was_forgotten(store: ControlStore) -> None:
    """A sequence is never given out twice, or a publisher would skip its second use."""
    for expected in (1, 2, 3):
        async with store.transaction() as tx:
            assert await outbox.append(tx, [Publication(key="a", value=b"")]) == expected
            await outbox.forget(tx, through=expected)
