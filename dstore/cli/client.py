"""One HTTP call after the other, with the standard library: no event loop to start.

Whatever goes wrong becomes a `Failure` with a sentence. For a write two cases are kept apart: the
request never left, or nobody knows whether it was carried out.
"""

import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Final, NewType
from urllib.parse import quote, urlencode, urlsplit

import click

from dstore import __version__
from dstore.base.clock import NS_PER_S, SystemClock
from dstore.base.limits import MIB
from dstore.cli import connection as connections
from dstore.cli.bodies import read_body
from dstore.cli.connection import Connection, Surface
from dstore.cli.curl import BodyFile, curl_line
from dstore.cli.failures import ExitCode, Failure
from dstore.cli.options import asked
from dstore.cli.output import emit
from dstore.cli.problems import failure_of, not_ours

UrlPath = NewType("UrlPath", str)
"""A URL's path, its parts percent-encoded."""

# Beyond what any answer has (a page of a listing ends near 1 MiB), so that a stranger on the port
# can't fill the memory.
ANSWER_BYTES_MAX: Final = 64 * MIB
_READ_BYTES: Final = 64 * 1_024
_FAILED: Final = 400
JSON: Final[Mapping[str, str]] = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked; the body is bytes, or a file that is read when the request is sent."""

    method: str
    path: UrlPath
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | BodyFile | None = field(default=None, repr=False)
    repeat_with: str | None = None  # options that make a second try safe
    hints: Mapping[int, str] = field(default_factory=dict)  # by status: what to type instead
    only_reads: bool = False  # though its method is not GET
    takes_away: bool = False  # so that a conflict means that something is still needed

    @property
    def is_write(self) -> bool:
        """Tell whether carrying it out changes anything."""
        return self.method != "GET" and not self.only_reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server said; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def path_of(*parts: str) -> UrlPath:
    """Join the parts of a path, each percent-encoded, behind the name of the API's version."""
    # A part "." or ".." would be resolved by whoever handles URLs between here and there.
    encoded = (p.replace(".", "%2E") if p in {".", ".."} else quote(p, safe="") for p in parts)
    return UrlPath("/" + "/".join(encoded))


class Client:
    """Call one server; `call()` opens the connection when it is needed and keeps it."""

    def __init__(self, connection: Connection, *, timeout_s: float, print_curl: bool) -> None:
        """Know the server; nothing is sent yet."""
        self._server = connection
        self._timeout_s = timeout_s
        self._print_curl = print_curl
        self._clock = SystemClock()
        self._http: HTTPConnection | None = None

    def call(self, request: Request) -> Answer:
        """Send a request and wait for the answer.

        Raises: Failure: there is no token, no server, no answer in time, or the answer is an error;
            Exit: with --print-curl, after the line is printed.
        """
        query = urlencode(request.query)
        resource = request.path + (f"?{query}" if query else "")
        if self._print_curl:
            url = self._server.url + resource
            emit(curl_line(request.method, url, request.headers, body=request.body) + "\n")
            raise click.exceptions.Exit(ExitCode.OK)
        token = connections.require_token(self._server)
        body = read_body(request.body) if isinstance(request.body, BodyFile) else request.body
        headers = {
            "Accept": "application/json, application/problem+json",
            "Authorization": f"Bearer {token}",
            **request.headers,
        }
        target = urlsplit(self._server.url).path + resource
        answer = self.exchange(request, target, headers=headers, body=body)
        if answer.status >= _FAILED:
            raise failure_of(
                answer.status,
                answer.headers,
                answer.body,
                server=self._server,
                hint=request.hints.get(answer.status),
                takes_away=request.takes_away,
            )
        return answer

    def exchange(
        self, request: Request, target: str, *, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Send what is ready to be sent, and wait for the answer, be it an error's.

        Args:
            request: what is asked, for the words when it fails.
            target: path and query.
            headers: all but the length of the body.
            body: as it travels.
        Raises: Failure: there is no server, or no answer in time.
        """
        deadline_ns = self._clock.monotonic_ns() + int(self._timeout_s * NS_PER_S)
        http = self._connected()
        sent = {"User-Agent": f"dstore/{__version__}", **headers}
        try:
            return self._exchange(http, request.method, target, sent, body, deadline_ns)
        except TimeoutError:
            raise self._no_answer(request) from None
        except (OSError, HTTPException) as error:
            raise self._broken_off(request, error) from None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._http is not None:
            self._http.close()

    def _connected(self) -> HTTPConnection:
        if self._http is not None:
            return self._http
        url = urlsplit(self._server.url)
        assert url.hostname is not None, self._server.url
        if url.scheme == "https":
            self._http = HTTPSConnection(
                url.hostname, url.port, timeout=self._timeout_s, context=_trust()
            )
        else:
            self._http = HTTPConnection(url.hostname, url.port, timeout=self._timeout_s)
        try:
            self._http.connect()
        except (OSError, UnicodeError) as error:  # a name that is no host name is a UnicodeError
            raise self._unreachable(error) from None
        return self._http

    def _exchange(  # noqa: PLR0917 - the one place where a call is all of these
        self,
        http: HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline_ns: int,
    ) -> Answer:
        try:
            http.request(method, target, body=body, headers=dict(headers))
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a body early answers and closes; the answer may be there.
            if http.sock is None or body is None:
                raise
            return self._received(_response(http, method), http, deadline_ns)
        return self._received(http.getresponse(), http, deadline_ns)

    def _received(self, response: HTTPResponse, http: HTTPConnection, deadline_ns: int) -> Answer:
        chunks: list[bytes] = []
        size = 0
        while chunk := response.read1(_READ_BYTES):
            chunks.append(chunk)
            size += len(chunk)
            if size > ANSWER_BYTES_MAX:
                raise not_ours(self._server, "an endless answer")
            left_ns = deadline_ns - self._clock.monotonic_ns()
            if left_ns <= 0:
                raise TimeoutError
            if http.sock is not None:
                http.sock.settimeout(left_ns / NS_PER_S)
        if response.length:
            raise IncompleteRead(b"", response.length)
        response.close()  # read1 leaves it open, and the connection can't be used again
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=names, body=b"".join(chunks))

    def _unreachable(self, error: OSError | UnicodeError) -> Failure:
        server, flag = self._server.url, self._server.surface.flag
        match error:
            case TimeoutError():
                return Failure(
                    f"{server} did not accept a connection within {self._timeout_s:g} s; nothing "
                    "was sent.",
                    exit_code=ExitCode.TIMEOUT,
                )
            case ssl.SSLCertVerificationError():
                return Failure(
                    f"The certificate of {server} is not trusted ({error.verify_message}): name "
                    "the file of its CA in SSL_CERT_FILE."
                )
            case ssl.SSLError():
                return Failure(f"{server} does not speak TLS; try it with http://.")
            case _:
                reason = getattr(error, "strerror", None) or "it is no host name"
                return Failure(
                    f"Nothing answers at {server} ({reason.lower()}): start the server with dstore "
                    f"serve, or say where it is with {flag}."
                )

    def _no_answer(self, request: Request) -> Failure:
        waited = f"{self._server.url} did not answer within {self._timeout_s:g} s."
        if not request.is_write:
            return Failure(
                f"{waited} Try again, or wait longer with --timeout.", exit_code=ExitCode.TIMEOUT
            )
        return Failure(f"{waited} {_unknown(request)}", exit_code=ExitCode.TIMEOUT)

    def _broken_off(self, request: Request, error: OSError | HTTPException) -> Failure:
        if not isinstance(error, OSError | IncompleteRead):  # RemoteDisconnected is an OSError
            return not_ours(self._server, "something that is not HTTP")
        broken = f"The connection to {self._server.url} broke off."
        if not request.is_write:
            return Failure(f"{broken} Try again.")
        return Failure(f"{broken} {_unknown(request)}", exit_code=ExitCode.TIMEOUT)


def _unknown(request: Request) -> str:
    """Say aloud what nobody knows, and how to find out."""
    if request.repeat_with is None:
        again = "Look whether it happened, or repeat the command"
    else:
        again = f"Repeat it within 15 min with {request.repeat_with}, and it is done once"
    return f"The outcome is unknown: the server may have done it or not. {again}."


def _response(http: HTTPConnection, method: str) -> HTTPResponse:
    """Read the answer to a request that was not sent whole, which http.client does not offer."""
    response = HTTPResponse(http.sock, method=method)
    response.begin()
    return response


@cache
def _trust() -> ssl.SSLContext:
    """Trust what the machine trusts; SSL_CERT_FILE and SSL_CERT_DIR are OpenSSL's own variables."""
    return ssl.create_default_context()


def json_request(method: str, path: UrlPath, document: Mapping[str, object]) -> Request:
    """Make a request with a JSON body that holds no secret."""
    body = json.dumps(document).encode()
    return Request(method=method, path=path, headers=JSON, body=body)


def client(surface: Surface) -> Client:
    """Make the client that the shared options of this command ask for."""
    options = asked()
    connection = connections.find(surface, options, os.environ)
    made = Client(connection, timeout_s=options.timeout_s, print_curl=options.print_curl)
    click.get_current_context().call_on_close(made.close)
    return made
