"""Every error has an answer, and no answer tells more than it should."""

import inspect
import json

import pytest
from aiohttp import web

from dstore.api.http.problems import Problem, ProblemRaised, problem_answer, problem_of
from dstore.model import errors
from dstore.model.errors import (
    ConditionFailed,
    Corrupt,
    DStoreError,
    NotMine,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    Unknown,
)

SENTENCE = "Do something else."

INSTANCES: list[tuple[DStoreError, int, str]] = [
    (Refused(RefusalKind.INVALID, SENTENCE), 400, "invalid"),
    (Refused(RefusalKind.NOT_FOUND, SENTENCE), 404, "not-found"),
    (Refused(RefusalKind.CONFLICT, SENTENCE), 409, "conflict"),
    (Refused(RefusalKind.UNAUTHENTICATED, SENTENCE), 401, "unauthenticated"),
    (Refused(RefusalKind.FORBIDDEN, SENTENCE), 403, "forbidden"),
    (Refused(RefusalKind.TOO_LARGE, SENTENCE), 413, "too-large"),
    (Refused(RefusalKind.COLLECTION_FULL, SENTENCE), 409, "collection-full"),
    (Refused(RefusalKind.UNSUPPORTED_MEDIA_TYPE, SENTENCE), 415, "unsupported-media-type"),
    (Refused(RefusalKind.NOT_ACCEPTABLE, SENTENCE), 406, "not-acceptable"),
    (ConditionFailed(SENTENCE), 412, "condition-failed"),
    (Unavailable(UnavailableKind.OVERLOADED, SENTENCE), 503, "overloaded"),
    (Unavailable(UnavailableKind.NO_SPACE, SENTENCE), 507, "no-space"),
    (Unavailable(UnavailableKind.LOCKED, SENTENCE), 503, "locked"),
    (Unavailable(UnavailableKind.DRAINING, SENTENCE), 503, "draining"),
    (NotMine("range", 7), 503, "moved"),
    (Unavailable(UnavailableKind.UNREACHABLE, SENTENCE), 503, "unreachable"),
    (Unknown(SENTENCE), 500, "outcome-unknown"),
    (Corrupt(SENTENCE, file="f", where="page 1"), 500, "storage-damaged"),
]


@pytest.mark.parametrize(("error", "status", "name"), INSTANCES)
def test_error_has_its_status_and_type(error: DStoreError, status: int, name: str) -> None:
    """Clients react to these, so that they are a promise."""
    problem = problem_of(error)
    assert (problem.status, problem.name) == (status, name)
    assert problem.detail.endswith(".")


def test_every_error_of_the_model_is_mapped() -> None:
    """STYLE 2.7: a new error, or a new kind of one, needs its answer."""
    drawn = {
        found
        for _, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, DStoreError) and found is not DStoreError
    }
    assert {type(error) for error, *_ in INSTANCES} == drawn
    kinds = {error.kind for error, *_ in INSTANCES if isinstance(error, Refused | Unavailable)}
    assert kinds == {*RefusalKind, *UnavailableKind}


def test_stray_error_of_a_lower_layer_is_the_servers_fault() -> None:
    """A wrong key, for one, is to be met below; nothing may fall through the map."""

    class Stray(DStoreError):
        pass

    assert problem_of(Stray("the canary")).name == "internal-error"


def test_unauthenticated_says_how_to_authenticate() -> None:
    """RFC 9110 wants the header with every 401."""
    refused = Refused(RefusalKind.UNAUTHENTICATED, SENTENCE)
    assert problem_of(refused).headers == {"WWW-Authenticate": "Bearer"}


@pytest.mark.parametrize(
    ("retry_after_ms", "header"), [(1, "1"), (1_000, "1"), (1_001, "2"), (15_000, "15")]
)
def test_retry_after_is_rounded_up_to_seconds(retry_after_ms: int, header: str) -> None:
    """A client that retries too early is refused again."""
    error = Unavailable(UnavailableKind.OVERLOADED, SENTENCE, retry_after_ms=retry_after_ms)
    assert problem_of(error).headers == {"Retry-After": header}


def test_unexpected_error_tells_nothing_of_itself() -> None:
    """An exception's message may quote data, or a secret."""
    problem = problem_of(ValueError("the canary"))
    assert (problem.status, problem.name) == (500, "internal-error")
    assert b"canary" not in problem_answer(problem, request_id="r").body


def test_damage_does_not_tell_clients_the_place() -> None:
    """File names are the operator's business."""
    problem = problem_of(Corrupt(SENTENCE, file="tenants/acme.db", where="page 17"))
    body = problem_answer(problem, request_id="r").body
    assert b"acme" not in body
    assert b"17" not in body


def test_what_aiohttp_raises_is_a_problem_too() -> None:
    """Its text/plain pages would be the only answers of that form."""
    problem = problem_of(web.HTTPMethodNotAllowed("PUT", ["GET"]))
    assert (problem.status, problem.name) == (405, "method-not-allowed")
    assert problem.headers == {"Allow": "GET"}


def test_raised_problem_is_what_the_client_gets() -> None:
    """HTTP's own refusals are no errors of the model."""
    problem = Problem(name="teapot", title="T", status=418, detail="Use a pot.")
    assert problem_of(ProblemRaised(problem)) is problem


def test_answer_is_problem_json() -> None:
    """RFC 9457, its `instance` being the request id."""
    answer = problem_answer(
        Problem(name="a-b", title="T", status=409, detail="Do it.", closes=True), request_id="r-1"
    )
    assert json.loads(answer.body) == {
        "type": "urn:dstore:problem:a-b",
        "title": "T",
        "status": 409,
        "detail": "Do it.",
        "instance": "r-1",
    }
    assert answer.keep_alive is False
