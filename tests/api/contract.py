"""What holds for every answer of the API, checked at every request that a test here makes.

`CheckedClient` is the usual client; each answer must be one that /openapi.json describes (status,
content type, schema), carry the common headers, never be a 5xx, and, if it is a refusal, be a
problem that says what to do and quotes at most 40 characters of what was sent.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import jsonschema_rs

from dstore.api.v1.openapi import openapi
from tests.support.http_client import JSON, PROBLEM, TIMEOUT_S, Answer, Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROBLEM_MEMBERS: Final = {"type", "title", "status", "detail", "instance"}
QUOTED_CHARS_MAX: Final = 40
DETAIL_CHARS_MAX: Final = 600  # 40 quoted characters, each escaped to 10, and a sentence
_DESCRIPTION: Final = openapi()
_BODYLESS: Final = {204, 304}


class CheckedClient(Client):
    """A client that asserts the contract at every answer."""

    def __init__(self, url: str, *, token: str | None, timeout_s: float = TIMEOUT_S) -> None:
        """Keep the two for tests that build a request by hand; see `Client`."""
        super().__init__(url, token=token, timeout_s=timeout_s)
        self.url = url
        self.token = token

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send, read, check; see `Client.request`."""
        answer = super().request(method, path, body, content_type=content_type, headers=headers)
        check(method, path, answer)
        return answer


def entry(table: str, entry_id: str) -> str:
    """Spell an entry's path: the ID percent-encoded whole."""
    return f"{table}/id/{quote(entry_id, safe='')}"


def check(method: str, target: str, answer: Answer) -> None:
    """Hold one answer against the contract."""
    where = (method, target[:200], answer.status, answer.body[:500])
    assert answer.status < 500, where
    for name in ("x-request-id", "date", "server"):
        assert answer.headers.get(name), (where, name)
    if "content-type" in answer.headers:
        assert answer.headers["x-content-type-options"] == "nosniff", where
        assert answer.headers["cache-control"] == "no-store", where
    if method == "HEAD" or answer.status in _BODYLESS:
        assert answer.body == b"", where
    elif answer.status >= 400:
        check_problem(target, answer)
    check_described(method, target, answer)


def check_problem(target: str, answer: Answer) -> None:
    """Hold a refusal against RFC 9457 and the house's promises."""
    where = (target[:200], answer.status, answer.body[:500])
    assert answer.headers["content-type"] == PROBLEM, where
    described = answer.json()
    assert described.keys() == PROBLEM_MEMBERS, where
    assert described["type"].startswith("urn:dstore:problem:"), where
    assert described["title"], where
    assert described["status"] == answer.status, where
    assert described["instance"] == answer.headers["x-request-id"], where
    detail = described["detail"]
    assert detail.endswith("."), where
    assert 20 <= len(detail) <= DETAIL_CHARS_MAX, where
    assert detail.isascii(), where
    for part in re.split(r"[/?&=]", target):
        shown = unquote(part)
        if len(shown) > QUOTED_CHARS_MAX:
            assert ascii(shown[: QUOTED_CHARS_MAX + 1])[1:-1] not in detail, where


def check_described(method: str, target: str, answer: Answer) -> None:
    """Hold an answer against the operation that /openapi.json describes, if it has one."""
    operation = operation_of(method, target.partition("?")[0])
    if operation is None:
        return
    where = (operation["operationId"], answer.status, answer.body[:500])
    assert str(answer.status) in operation["responses"], where
    described = operation["responses"][str(answer.status)]
    for name in described.get("headers", {}):
        assert name.lower() in answer.headers, (where, name)
    content = described.get("content", {})
    if not content:
        assert answer.body == b"", where
    elif method != "HEAD":
        media_type = answer.headers["content-type"]
        assert media_type in content, where
        reference = content[media_type]["schema"]["$ref"]
        errors = [error.message for error in schema_errors(reference, answer.body)]
        assert not errors, (where, errors)


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """Find what describes a request; HEAD is described by GET."""
    segments = path.split("/")
    for template, described in _DESCRIPTION["paths"].items():
        parts = template.split("/")
        if len(parts) == len(segments) and all(
            (part.startswith("{") and segment) or part == segment
            for part, segment in zip(parts, segments, strict=True)
        ):
            verb = "get" if method == "HEAD" else method.lower()
            found: dict[str, Any] | None = described.get(verb)
            return found
    return None


def schema_errors(reference: str, body: bytes) -> Iterator[jsonschema_rs.ValidationError]:
    """Validate a body; numbers of entries are read as floats, whose digits other tests look at."""
    return _validator(reference).iter_errors(json.loads(body, parse_int=_readable))


@cache
def _validator(reference: str) -> jsonschema_rs.Draft202012Validator:
    components = _DESCRIPTION["components"]
    return jsonschema_rs.Draft202012Validator({"$ref": reference, "components": components})


def _readable(digits: str) -> float:
    """Keep the numbers that a validator can hold."""
    return int(digits) if len(digits) < 15 else 0.5
