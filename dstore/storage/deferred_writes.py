"""The queue of writes that were accepted with 202: durable before the answer, kept until told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dstore.model.errors import RefusalKind, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw


@dataclass(frozen=True, slots=True, kw_only=True)
class DeferredRow:
    """One accepted write; the blobs are the service's.

    Attributes:
        request_id: under which the client asks.
        tenant: the tenant's name.
        request: what was asked, sealed; empty once it is done.
        outcome: None while it waits.
        time_us: before that it surely was not done: when it was accepted, or it is known of later.
            Once it is done, when that was.
    """

    request_id: str
    tenant: str
    request: bytes = field(repr=False)
    outcome: bytes | None
    time_us: int


def enqueue(connection: apsw.Connection, row: DeferredRow, *, tenant_uuid: str) -> None:
    """Add a write behind all others.

    Raises: Refused: the tenant was deleted meanwhile; nothing of it may come after.
    """
    known = connection.execute(
        "SELECT 1 FROM tenant WHERE NAME = ? AND UUID = ?", (row.tenant, tenant_uuid)
    ).fetchall()
    if not known:
        raise Refused(RefusalKind.NOT_FOUND, "The tenant was deleted before the write came.")
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


def finish(connection: apsw.Connection, done: Sequence[tuple[str, bytes]], *, time_us: int) -> None:
    """Store outcomes as (request id, outcome), told from now on, and drop what was asked."""
    connection.executemany(
        "UPDATE deferred SET OUTCOME = ?2, REQUEST = x'', TIME_US = ?3 WHERE ID = ?1",
        [(request_id, outcome, time_us) for request_id, outcome in done],
    )


def note_undone(connection: apsw.Connection, *, request_ids: Sequence[str], time_us: int) -> None:
    """Note of writes that wait that they were not done before a wall time."""
    connection.executemany(
        "UPDATE deferred SET TIME_US = max(TIME_US, ?2) WHERE ID = ?1 AND OUTCOME IS NULL",
        [(request_id, time_us) for request_id in request_ids],
    )


def forget(connection: apsw.Connection, *, before_us: int, limit: int) -> int:
    """Delete up to `limit` outcomes of writes done before `before_us`. Returns: how many."""
    connection.execute(
        "DELETE FROM deferred WHERE SEQ IN (SELECT SEQ FROM deferred "
        "WHERE OUTCOME IS NOT NULL AND TIME_US < ? ORDER BY TIME_US LIMIT ?)",
        (before_us, limit),
    )
    return connection.changes()


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
