"""The total map from errors to `application/problem+json` (RFC 9457).

Every answer to a failed request is made here. `problem_of` is pure and total: what it does not know
is an internal error, of which the client learns nothing but its request id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from dstore.api.http.answer import Answer
from dstore.model.errors import (
    ConditionFailed,
    Corrupt,
    DStoreError,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    Unknown,
)

PROBLEM_JSON: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:dstore:problem:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One failed request as its client sees it.

    `name` is the kebab-case end of the type's URN, `title` is the same for every problem of a type,
    `detail` is the sentence that says what to do.
    """

    name: str
    title: str
    status: int
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False  # the connection can't be used after it


class ProblemRaised(Exception):
    """A refusal that only HTTP knows (a method, a header, a timeout): raise it with its problem."""

    def __init__(self, problem: Problem) -> None:
        """Carry what the client is told."""
        super().__init__(problem.name)
        self.problem = problem


_REFUSALS: Final[Mapping[RefusalKind, tuple[int, str]]] = {
    RefusalKind.INVALID: (400, "The request is not valid"),
    RefusalKind.NOT_FOUND: (404, "There is no such thing"),
    RefusalKind.CONFLICT: (409, "The request conflicts with what is there"),
    RefusalKind.UNAUTHENTICATED: (401, "The request is not authenticated"),
    RefusalKind.FORBIDDEN: (403, "The request is not allowed"),
    RefusalKind.TOO_LARGE: (413, "The request is too large"),
    RefusalKind.COLLECTION_FULL: (409, "There are too many bytes under one partition key"),
    RefusalKind.UNSUPPORTED_MEDIA_TYPE: (415, "The content type or encoding is not supported"),
    RefusalKind.NOT_ACCEPTABLE: (406, "No acceptable content type is on offer"),
}

_SHORTAGES: Final[Mapping[UnavailableKind, tuple[int, str]]] = {
    UnavailableKind.OVERLOADED: (503, "The server is overloaded"),
    UnavailableKind.NO_SPACE: (507, "The server's disk is full"),
    UnavailableKind.LOCKED: (503, "The keys of the data are not at hand"),
    UnavailableKind.DRAINING: (503, "The server is about to stop"),
    UnavailableKind.MOVED: (503, "The range of the entry is moving"),
    UnavailableKind.UNREACHABLE: (503, "What the request needs does not answer"),
}


_INTERNAL: Final = Problem(
    name="internal-error",
    title="The server failed",
    status=500,
    detail="The server made a mistake, which is logged under this request id; report it to the "
    "operator if it persists.",
)


def problem_of(error: BaseException) -> Problem:
    """Tell what a client is told about an error."""
    match error:
        case ProblemRaised():
            return error.problem
        case DStoreError():
            return _problem_of_ours(error)
        case web.HTTPException() if error.status >= HTTPStatus.BAD_REQUEST:
            return _problem_of_aiohttps(error)
        case _:
            return _INTERNAL


def problem_answer(problem: Problem, *, request_id: str) -> Answer:
    """Render a problem as an answer."""
    answer = Answer(
        problem_body(problem, request_id=request_id),
        status=problem.status,
        content_type=PROBLEM_JSON,
        headers=problem.headers,
    )
    if problem.closes:
        answer.force_close()
    return answer


def problem_body(problem: Problem, *, request_id: str) -> bytes:
    """Render a problem; its `instance` is the request id, under which the logs have more."""
    members: dict[str, str | int] = {
        "type": TYPE_PREFIX + problem.name,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
    }
    if request_id:
        members["instance"] = request_id
    return msgspec.json.encode(members)


def _problem_of_ours(error: DStoreError) -> Problem:
    match error:
        case Refused():
            status, title = _REFUSALS[error.kind]
            needs_credentials = error.kind is RefusalKind.UNAUTHENTICATED
            return Problem(
                name=_kebab(error.kind),
                title=title,
                status=status,
                detail=error.message,
                headers={"WWW-Authenticate": "Bearer"} if needs_credentials else {},
            )
        case ConditionFailed():
            return Problem(
                name="condition-failed",
                title="A condition of the request is false",
                status=412,
                detail=error.message,
            )
        case Unavailable():
            status, title = _SHORTAGES[error.kind]
            return Problem(
                name=_kebab(error.kind),
                title=title,
                status=status,
                detail=error.message,
                headers=_retry_after(error.retry_after_ms),
            )
        case Unknown():
            return Problem(
                name="outcome-unknown",
                title="The outcome of the write is unknown",
                status=500,
                detail=error.message,
            )
        case Corrupt():
            # Neither the file nor the place: they are the operator's, and stand in the log.
            return Problem(
                name="storage-damaged",
                title="Stored data is damaged",
                status=500,
                detail="Stored data that this request needs is damaged; nothing of it is returned. "
                "Tell the operator the request id.",
            )
        case _:
            # An error of a lower layer that was to be translated or handled there: a bug.
            return _INTERNAL


def _problem_of_aiohttps(error: web.HTTPException) -> Problem:
    """Translate what aiohttp raises by itself, its headers (Allow) included."""
    phrase = HTTPStatus(error.status).phrase
    return Problem(
        name=phrase.lower().replace(" ", "-"),
        title=phrase,
        status=error.status,
        detail=f"HTTP says: {phrase.lower()}; correct the request and send it again.",
        headers={"Allow": error.headers["Allow"]} if "Allow" in error.headers else {},
        closes=error.keep_alive is False,
    )


def _retry_after(retry_after_ms: int | None) -> Mapping[str, str]:
    """Round up to the header's whole seconds."""
    if retry_after_ms is None:
        return {}
    return {"Retry-After": str(-(-retry_after_ms // 1_000))}


def _kebab(word: str) -> str:
    return word.replace("_", "-")
