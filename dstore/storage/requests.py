"""Requests that were done already: a retry under the same id is answered, not applied (I9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.base.clock import US_PER_S
from dstore.base.deferred_limits import REQUEST_KEPT_S
from dstore.base.limits import REQUEST_RETENTION_S, REQUESTS_TRIMMED

if TYPE_CHECKING:
    import apsw

_FIND = (
    "SELECT ANSWER FROM request "
    "WHERE PRINCIPAL = ? AND REQUEST_ID = ? AND ORDINAL = ? AND DIGEST = ? AND TIME_US >= ?"
)
_REMEMBER = (
    "INSERT INTO request (PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST, SEQ, ANSWER, TIME_US) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) "
    # One past its time that is not trimmed yet gives way to its namesake.
    "ON CONFLICT DO UPDATE SET SEQ = excluded.SEQ, ANSWER = excluded.ANSWER, "
    "TIME_US = excluded.TIME_US"
)
_TRIM = (
    "DELETE FROM request WHERE (PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST) IN "
    "(SELECT PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST FROM request WHERE TIME_US < ? "
    "ORDER BY TIME_US LIMIT ?)"
)


_RETENTION_US: Final = REQUEST_RETENTION_S * US_PER_S
_KEPT_US: Final = REQUEST_KEPT_S * US_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestName:
    """Which request a write belongs to.

    `principal` scopes the id to who sent it; `ordinal` counts the writes of one request from 0;
    `digest` is of the request's content: the same id with other content is another request.
    `accepted_us` is when a request came that waited before it was done (wall time); what was
    remembered since is its own answer, however long it waited, as long as it is there: it is kept
    for REQUEST_KEPT_S. None: it came just now.
    `is_brief` asks for no row of its own: it is remembered with many others (`brief_names`), so
    that under full load it is known for minutes only.
    """

    principal: str
    request_id: str
    digest: bytes
    ordinal: int = 0
    accepted_us: int | None = None
    is_brief: bool = False


class RequestAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What is needed to answer a request again."""

    existed: bool
    version: str | None


def find(connection: apsw.Connection, name: RequestName, *, time_us: int) -> RequestAnswer | None:
    """Return the answer of a request that was done within REQUEST_RETENTION_S, or None.

    `time_us` is the wall time now.
    """
    came_us = time_us if name.accepted_us is None else name.accepted_us
    since_us = came_us - _RETENTION_US
    rows: list[tuple[Any, ...]] = connection.execute(
        _FIND, (name.principal, name.request_id, name.ordinal, name.digest, since_us)
    ).fetchall()
    return msgspec.json.decode(rows[0][0], type=RequestAnswer) if rows else None


def remember(
    connection: apsw.Connection, name: RequestName, *, answer: RequestAnswer, seq: int, time_us: int
) -> None:
    """Store a request's answer in the write's own transaction, and drop a few that are too old."""
    connection.execute(
        _REMEMBER,
        (
            name.principal,
            name.request_id,
            name.ordinal,
            name.digest,
            seq,
            msgspec.json.encode(answer),
            time_us,
        ),
    )
    connection.execute(_TRIM, (time_us - _KEPT_US, REQUESTS_TRIMMED))
