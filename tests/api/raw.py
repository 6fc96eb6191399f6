"""Requests byte by byte, for what a library would not send."""

from __future__ import annotations

import socket
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tests.api.contract import check
from tests.support.http_client import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S: Final = 20.0


def exchange(url: str, request: bytes) -> Answer:
    """Send these bytes on a connection of their own; read one answer; check it.

    The sending side stays open, as of a client that has more to send.
    """
    method, target = (request.split(b" ", 2)[n].decode("latin-1") for n in range(2))
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    with socket.create_connection((address.hostname, address.port), timeout=_TIMEOUT_S) as line:
        line.sendall(request)
        with HTTPResponse(line, method=method) as response:
            response.begin()
            answer = Answer(
                status=response.status,
                headers={name.lower(): value for name, value in response.getheaders()},
                body=response.read(),
            )
    check(method, target, answer)
    return answer


def head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Spell a request's head; names and values as they are."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode()
