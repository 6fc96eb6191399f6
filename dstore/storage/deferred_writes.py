"""The queue of writes that were accepted with 202: durable before the answer, kept until told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw


@dataclass(frozen=True, slots=True, kw_only=True)
class DeferredRow:
    """One accepted write. `outcome` is None while it waits; both blobs are the service's."""

    request_id: str
    tenant: str
    request: bytes
    outcome: bytes | None
    time_us: int


def enqueue(connection: apsw.Connection, row: DeferredRow) -> None:
    """Add a write behind all others."""
    connection.execute(
        "INSERT INTO deferred (ID, TENANT, REQUEST, OUTCOME, TIME_US) VALUES (?, ?, ?, NULL, ?)",
        (row.request_id, row.tenant, row.request, row.time_us),
    )


def waiting(connection: apsw.Connection) -> tuple[DeferredRow, ...]:
    """Read what waits, in the order of acceptance."""
    return _read(connection, "WHERE OUTCOME IS NULL ORDER BY SEQ", ())


def find(connection: apsw.Connection, tenant: str, request_id: str) -> DeferredRow | None:
    """Find a tenant's write by its id."""
    rows = _read(connection, "WHERE ID = ? AND TENANT = ?", (request_id, tenant))
    return rows[0] if rows else None


def finish(
    connection: apsw.Connection, done: Sequence[tuple[str, bytes]], *, forget_before_us: int
) -> None:
    """Store outcomes as (request id, outcome), and forget those told long enough."""
    connection.executemany("UPDATE deferred SET OUTCOME = ?2 WHERE ID = ?1", done)
    connection.execute(
        "DELETE FROM deferred WHERE OUTCOME IS NOT NULL AND TIME_US < ?", (forget_before_us,)
    )


def _read(
    connection: apsw.Connection, where: str, values: tuple[str, ...]
) -> tuple[DeferredRow, ...]:
    columns = "SELECT ID, TENANT, REQUEST, OUTCOME, TIME_US FROM deferred "
    rows: list[tuple[Any, ...]] = connection.execute(columns + where, values).fetchall()
    return tuple(
        DeferredRow(
            request_id=row[0], tenant=row[1], request=row[2], outcome=row[3], time_us=row[4]
        )
        for row in rows
    )
