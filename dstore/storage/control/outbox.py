"""Writes to etcd that follow from a transaction, so that store and etcd cannot drift apart.

Whoever changes what etcd shows appends the writes in the same transaction. The leader publishes
them, in order, as often as it takes:

    1. Read `control/published` (linearizable): the sequence up to which etcd has everything.
    2. `pending(tx, after=that)`: the next batches, whole.
    3. One etcd transaction: if the leader's key is still ours (its create_revision) and
       `control/published` is what was read, do the writes and set `control/published`.
    4. `forget(tx, through=…)`: rows that etcd has. If this is lost, step 1 makes up for it.

So a crash anywhere repeats a step and no effect, an unknown outcome is looked up by step 1, and a
leader that was deposed writes nothing late. A publication with a `mod_revision` that no longer
fits is for its publisher to report: somebody else decided meanwhile.

The sequence comes from a counter's row, which stays locked until the transaction ends; PostgreSQL's
own sequences number rows in another order than that of the commits, and a publisher would skip one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dstore.base.limits import CONTROL_PAGE_MAX, OUTBOX_BATCH_MAX
from dstore.storage.control.records import OutboxRecord, Publication
from dstore.storage.control.store import Row, Transaction

_SELECT: Final = "SELECT sequence, batch, key, value, mod_revision FROM outbox"


async def append(tx: Transaction, publications: Sequence[Publication]) -> int:
    """Add writes that become visible together, each to a key of its own.

    Args:
        tx: the transaction that they follow from.
        publications: 1 to OUTBOX_BATCH_MAX; etcd refuses two writes of one key in a transaction.
    Returns: the last one's sequence, to wait for.
    """
    assert 1 <= len(publications) <= OUTBOX_BATCH_MAX, len(publications)
    assert len({each.key for each in publications}) == len(publications), "one write a key"
    counted = await tx.rows(
        "UPDATE counter SET last = last + $1 WHERE name = 'outbox' RETURNING last",
        len(publications),
    )
    last: int = counted[0][0]
    batch = last - len(publications) + 1
    for place, each in enumerate(publications):
        await tx.change(
            "INSERT INTO outbox (sequence, batch, key, value, mod_revision) "
            "VALUES ($1, $2, $3, $4, $5)",
            batch + place,
            batch,
            each.key,
            each.value,
            each.mod_revision,
        )
    return last


async def pending(
    tx: Transaction, *, after: int = 0, limit: int = OUTBOX_BATCH_MAX
) -> tuple[OutboxRecord, ...]:
    """Read what is next, in order; no batch is cut in two.

    Args:
        tx: any transaction.
        after: a sequence; those up to it are left out.
        limit: of writes, OUTBOX_BATCH_MAX <= limit <= CONTROL_PAGE_MAX.
    """
    assert OUTBOX_BATCH_MAX <= limit <= CONTROL_PAGE_MAX, limit
    found = await tx.rows(
        f"{_SELECT} WHERE sequence > $1 ORDER BY sequence LIMIT {limit + 1}", after
    )
    records = [_record(row) for row in found]
    if len(records) > limit:  # the one too many tells whether the last batch is whole
        cut = records.pop().batch
        records = [each for each in records if each.batch != cut]
    return tuple(records)


async def forget(tx: Transaction, *, through: int) -> int:
    """Remove what etcd has, up to a sequence. Returns: how many."""
    return await tx.change("DELETE FROM outbox WHERE sequence <= $1", through)


async def depth(tx: Transaction) -> int:
    """Count what waits; it grows while etcd is away."""
    counted = await tx.rows("SELECT COUNT(*) FROM outbox")
    count: int = counted[0][0]
    return count


async def last(tx: Transaction) -> int:
    """Read the newest sequence given out, published or not; 0 before the first."""
    counted = await tx.rows("SELECT last FROM counter WHERE name = 'outbox'")
    sequence: int = counted[0][0]
    return sequence


def _record(row: Row) -> OutboxRecord:
    sequence, batch, key, value, mod_revision = row
    return OutboxRecord(
        sequence=sequence,
        batch=batch,
        publication=Publication(key=key, value=value, mod_revision=mod_revision),
    )
