"""The audit log: what was done, by whom, in an order that cannot be changed unnoticed.

Each record's digest is SHA-256 over the digest before it and its own content. Whoever can write
the database can forge the whole rest of a chain; whoever kept a digest elsewhere notices.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, fields
from typing import Final

import msgspec

from dstore.base.limits import AUDIT_TEXT_CHARS_MAX, CONTROL_PAGE_MAX
from dstore.model.errors import Corrupt
from dstore.storage.control.records import AuditEntry, AuditRecord
from dstore.storage.control.store import Key, Page, Row, Transaction

_ENTRY_COLUMNS: Final = ", ".join(field.name for field in fields(AuditEntry))
_SELECT: Final = f"SELECT sequence, {_ENTRY_COLUMNS}, digest FROM audit"  # noqa: S608 - our own names
_NO_DIGEST: Final = bytes(32)  # before the first


async def append(tx: Transaction, entry: AuditEntry) -> AuditRecord:
    """Add an entry, in the transaction that does what it tells; longer texts are cut.

    Returns: its place; the digest may be kept elsewhere.
    """
    last = await tx.rows(f"{_SELECT} ORDER BY sequence DESC LIMIT 1")
    previous = _record(last[0]) if last else None
    kept = AuditEntry(
        at_us=entry.at_us,
        actor=_cut(entry.actor),
        action=_cut(entry.action),
        subject=_cut(entry.subject),
        result=_cut(entry.result),
        details=_cut(entry.details),
    )
    record = _chained(previous, kept)
    await tx.change(
        f"INSERT INTO audit (sequence, {_ENTRY_COLUMNS}, digest) "  # noqa: S608 - our own names
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        record.sequence,
        *astuple(kept),
        record.digest,
    )
    return record


async def page(
    tx: Transaction, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[AuditRecord]:
    """List the log, the newest first; `after` is (sequence,)."""
    assert 1 <= limit <= CONTROL_PAGE_MAX
    below = (1 << 63) - 1 if after is None else after[0]
    found = await tx.rows(
        f"{_SELECT} WHERE sequence < $1 ORDER BY sequence DESC LIMIT {limit + 1}", below
    )
    records = tuple(_record(row) for row in found[:limit])
    return Page(records=records, after=(records[-1].sequence,) if len(found) > limit else None)


async def verify(
    tx: Transaction, *, after: AuditRecord | None = None, limit: int = CONTROL_PAGE_MAX
) -> AuditRecord | None:
    """Check the next part of the chain.

    Args:
        tx: the transaction.
        after: the last record checked; None begins at the first.
        limit: of records, 1 <= limit <= CONTROL_PAGE_MAX.
    Returns: the last record checked now; None if there are no more.
    Raises: Corrupt: a record is missing, or is not what was appended.
    """
    assert 1 <= limit <= CONTROL_PAGE_MAX
    found = await tx.rows(
        f"{_SELECT} WHERE sequence > $1 ORDER BY sequence LIMIT {limit}",
        0 if after is None else after.sequence,
    )
    previous = after
    for record in map(_record, found):
        if record != _chained(previous, record.entry):
            raise Corrupt(
                "The audit log is not as it was written.",
                file="control",
                where=f"audit record {record.sequence}",
            )
        previous = record
    return previous if found else None


def _chained(previous: AuditRecord | None, entry: AuditEntry) -> AuditRecord:
    sequence = 1 if previous is None else previous.sequence + 1
    content = msgspec.json.encode([sequence, *astuple(entry)])
    chain = _NO_DIGEST if previous is None else previous.digest
    return AuditRecord(
        sequence=sequence, entry=entry, digest=hashlib.sha256(chain + content).digest()
    )


def _record(row: Row) -> AuditRecord:
    sequence, at_us, actor, action, subject, result, details, digest = row
    entry = AuditEntry(
        at_us=at_us, actor=actor, action=action, subject=subject, result=result, details=details
    )
    return AuditRecord(sequence=sequence, entry=entry, digest=digest)


def _cut(text: str) -> str:
    return text if len(text) <= AUDIT_TEXT_CHARS_MAX else text[:AUDIT_TEXT_CHARS_MAX] + "..."
