"""From an error answer to the sentence and the exit status of the command."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from dstore.cli.connection import Connection, Surface
from dstore.cli.failures import ExitCode, Failure
from dstore.model.refusal_texts import ENTRY_EXISTS, NO_SUCH_ENTRY, NO_SUCH_PATH

_OUTCOME_UNKNOWN: Final = "urn:dstore:problem:outcome-unknown"
_EXCERPT_CHARS_MAX: Final = 1_000  # of a stranger's detail
# The API speaks of methods, which nobody types here.
_IN_OUR_WORDS: Final[Mapping[str, str]] = {
    NO_SUCH_ENTRY: "There is no such item; dstore item put stores a new one.",
    ENTRY_EXISTS: "The item exists; dstore item replace stores another in its place.",
}


def failure_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    server: Connection,
    hint: str | None = None,
    takes_away: bool = False,
) -> Failure:
    """Translate an answer of 400 or above; its `detail` is the sentence.

    Args:
        status: of the answer.
        headers: of the answer, names in lower case.
        body: of the answer.
        server: who gave it.
        hint: what to type, where `detail` does not say it.
        takes_away: whether the command would have destroyed something, or taken a part of the
            cluster away: then a conflict says that it is still needed.
    """
    problem = _problem(body)
    if problem is None:
        return not_ours(server, f"{status} {_phrase(status)} without a problem document")
    detail = problem["detail"][:_EXCERPT_CHARS_MAX]
    if detail == NO_SUCH_PATH:
        return _no_such_path(server)
    sentence = _IN_OUR_WORDS.get(detail, detail)
    request_id = problem.get("instance")
    if hint is not None:
        sentence += f" (Here: {hint}.)"
    if status == HTTPStatus.UNAUTHORIZED:
        sentence += f" (The token is from {server.token_source}.)"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and request_id:
        sentence += f" (Request id {request_id}.)"
    retry_after = headers.get("retry-after", "")
    if retry_after.isdecimal():
        sentence += f" Try again in {retry_after} s."
    if takes_away and status == HTTPStatus.CONFLICT:
        return Failure(sentence, exit_code=ExitCode.UNSAFE)
    return Failure(sentence, exit_code=exit_code_of(status, problem.get("type", "")))


def exit_code_of(status: int, problem_type: str = "") -> ExitCode:
    """Translate an HTTP status to what the shell sees."""
    if status < HTTPStatus.BAD_REQUEST:
        return ExitCode.OK
    if problem_type == _OUTCOME_UNKNOWN:
        return ExitCode.TIMEOUT
    match status:
        case HTTPStatus.NOT_FOUND:
            return ExitCode.NOT_FOUND
        case HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.GATEWAY_TIMEOUT:
            return ExitCode.TIMEOUT
        case _:
            return ExitCode.FAILED


def not_ours(server: Connection, what: str) -> Failure:
    """Make the failure of an answer that no dStore gives."""
    return Failure(
        f"{server.url} answered with {what}, which is not dStore's {server.surface} API: check "
        f"{server.surface.flag}."
    )


def _no_such_path(server: Connection) -> Failure:
    """Make the failure of a dStore that has not what was asked: another one than is meant."""
    wanted = "give --admin-url of a control" if server.surface is Surface.ADMIN else "check --url"
    return Failure(
        f"{server.url} is dStore, and not what answers this: {wanted}.",
        exit_code=ExitCode.NOT_FOUND,
    )


def _problem(body: bytes) -> dict[str, str] | None:
    """Read the texts of a problem document; None if the body is none."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(problem, dict) or not isinstance(problem.get("detail"), str):
        return None
    return {name: value for name, value in problem.items() if isinstance(value, str)}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
