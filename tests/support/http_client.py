"""A small synchronous HTTP client with keep-alive, for tests that talk to a real server.

    client = server.client()                                  # carries the operator's token
    answer = client.put("/v1/tenant/default/table/things", {"idType": "String"})
    assert answer.status == 201
    assert client.get("/v1/tenant/default/table/things").json()["idType"] == "String"

It never repeats a request by itself: a connection that breaks before the whole answer is there is
`NoAnswer`, after which nobody knows whether the request was done; the next request opens a new
connection. A client belongs to one thread.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
PROBLEM: Final = "application/problem+json"
TIMEOUT_S: Final = 20.0
IDLE_S: Final = 30.0  # well below the server's 75 s


class NoAnswer(Exception):
    """The connection was refused or broke: whether the request was done, nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The kebab-case name of the problem; asserts that the answer is one, well-formed."""
        assert self.headers.get("content-type") == PROBLEM, (self.status, self.body)
        described = self.json()
        assert described["status"] == self.status
        assert {"type", "title", "detail"} <= described.keys()
        urn: str = described["type"]
        assert urn.startswith("urn:dstore:problem:"), urn
        return urn.removeprefix("urn:dstore:problem:")


class Client:
    """One keep-alive connection to one surface."""

    def __init__(self, url: str, *, token: str | None, timeout_s: float = TIMEOUT_S) -> None:
        """Connect at the first request.

        Args:
            url: as in DSTORE_URL or DSTORE_ADMIN_URL.
            token: sent as bearer; None sends no credential.
            timeout_s: for each step of the exchange; then `NoAnswer`.
        """
        address = urlsplit(url).netloc
        self._connection = HTTPConnection(address, timeout=timeout_s)
        self._token = token
        self._used_at_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and read its whole answer.

        Args:
            method: in capitals.
            path: already percent-encoded, with the query.
            body: None for none, bytes and text as they are, anything else as JSON.
            content_type: sent if there is a body.
            headers: further ones; they overrule the client's own.
        Raises: NoAnswer.
        """
        sent: dict[str, str] = {}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        content: bytes | None = None
        if body is not None:
            sent["Content-Type"] = content_type
            content = _encoded(body)
        sent |= headers or {}
        idle_s = time.monotonic() - self._used_at_s
        if idle_s > IDLE_S:  # the server may be about to end the connection
            self._connection.close()
        try:
            self._connection.request(method, path, content, sent)
            response = self._connection.getresponse()
            received = response.read()
        except (OSError, HTTPException) as error:
            with suppress(OSError):
                self._connection.close()
            raise NoAnswer(f"{method} {path}: {type(error).__name__}: {error}") from error
        self._used_at_s = time.monotonic()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=received,
        )

    def get(self, path: str, **options: Any) -> Answer:
        """GET; see `request`."""
        return self.request("GET", path, **options)

    def put(self, path: str, body: object = None, **options: Any) -> Answer:
        """PUT; see `request`."""
        return self.request("PUT", path, body, **options)

    def post(self, path: str, body: object = None, **options: Any) -> Answer:
        """POST; see `request`."""
        return self.request("POST", path, body, **options)

    def merge(self, path: str, patch: object, **options: Any) -> Answer:
        """POST a merge patch; see `request`."""
        return self.request("POST", path, patch, content_type=MERGE_PATCH, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        """DELETE; see `request`."""
        return self.request("DELETE", path, **options)


def _encoded(body: object) -> bytes:
    match body:
        case bytes():
            return body
        case str():
            return body.encode()
        case _:
            return json.dumps(body).encode()
