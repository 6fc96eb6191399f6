"""Calling the DynamoDB API: signed, one operation after the other, and again when told to wait."""

import os
import shlex
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import click

from dstore.base.entropy import SystemEntropy
from dstore.cli.aws_errors import AwsFailure, aws_failure
from dstore.cli.client import Client, Request, UrlPath
from dstore.cli.failures import ExitCode
from dstore.cli.options import asked
from dstore.cli.output import emit
from dstore.cli.problems import not_ours
from dstore.cli.signing import SERVICE, SignedConnection, find_signed

TARGET_PREFIX: Final = "DynamoDB_20120810"
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
# As AWS's SDKs do for DynamoDB: 10 tries, the pause doubling from 50 ms; with pauses of 5 s at most
# that is some 20 s.
TRIES_MAX: Final = 10
_PAUSE_S: Final = 0.05
_PAUSE_S_MAX: Final = 5.0
_FAILED: Final = 400


class DynamoDb:
    """One connection to the DynamoDB API, of one thread."""

    def __init__(self, connection: SignedConnection, http: Client, *, print_curl: bool) -> None:
        """Know the server; nothing is sent yet."""
        self._connection = connection
        self._http = http
        self.print_curl = print_curl

    def read(self, operation: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """Call an operation that changes nothing; it is tried again when that may help.

        Args:
            operation: AWS's name.
            members: of the request, as msgspec encodes them.
        Returns: the members of the answer.
        Raises: Failure: no server, no key, no answer in time; AwsFailure: an error was answered;
            Exit: with --print-curl, after the line is printed.
        """
        body = _encoded(members)
        return self._patient(operation, body, only_reads=True, is_repeatable=True)

    def write(
        self, operation: str, members: Mapping[str, Any], *, is_repeatable: bool = False
    ) -> dict[str, Any]:
        """Call an operation that changes something.

        Args:
            operation: AWS's name.
            members: of the request, as msgspec encodes them.
            is_repeatable: whether doing it twice is as good as once, so that it may be sent again
                after the server failed.
        Raises: as `read`.
        """
        body = _encoded(members)
        return self._patient(operation, body, only_reads=False, is_repeatable=is_repeatable)

    def _patient(
        self, operation: str, body: bytes, *, only_reads: bool, is_repeatable: bool
    ) -> dict[str, Any]:
        if self.print_curl:
            emit(self.curl_line(operation, body) + "\n")
            raise click.exceptions.Exit(ExitCode.OK)
        for attempt in range(1, TRIES_MAX):
            try:
                return self._call(operation, body, only_reads=only_reads)
            except AwsFailure as error:
                if not (error.is_throttled or (is_repeatable and error.is_of_server)):
                    raise
            pause(attempt)
        return self._call(operation, body, only_reads=only_reads)

    def _call(self, operation: str, body: bytes, *, only_reads: bool) -> dict[str, Any]:
        import msgspec

        signer = self._connection.require_signer()
        server = self._connection.server
        target = (urlsplit(server.url).path or "") + "/"
        named = [("Content-Type", _CONTENT_TYPE), ("X-Amz-Target", f"{TARGET_PREFIX}.{operation}")]
        headers = signer.headers(server.url, target, headers=named, body=body)
        request = Request(method="POST", path=UrlPath("/"), only_reads=only_reads)
        answer = self._http.exchange(request, target, headers=headers, body=body)
        if answer.status >= _FAILED:
            failure = aws_failure(
                answer.status,
                answer.headers,
                answer.body,
                key_source=signer.source,
                is_write=not only_reads,
            )
            raise failure or not_ours(server, f"{answer.status} without an error of AWS's kind")
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise not_ours(server, "something else than a JSON object") from None

    def curl_line(self, operation: str, body: bytes) -> str:
        """Spell a call as a shell command; curl signs, and reads the key from its stdin.

        An argument would show the secret to every user of the machine; printf is part of the shell.
        """
        words = [
            "printf",
            shlex.quote("user = %s:%s\\n"),
            '"$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"',
            "| curl -sS --fail-with-body -K -",
            "--aws-sigv4",
            shlex.quote(f"aws:amz:{self._connection.region}:{SERVICE}"),
            "-H",
            shlex.quote(f"Content-Type: {_CONTENT_TYPE}"),
            "-H",
            shlex.quote(f"X-Amz-Target: {TARGET_PREFIX}.{operation}"),
            "--data-binary",
            shlex.quote(body.decode()),
            shlex.quote(f"{self._connection.server.url}/"),
        ]
        return " ".join(words)


def dynamodb() -> DynamoDb:
    """Make a client of the DynamoDB API that the shared options of this command ask for."""
    return dynamodbs(1)[0]


def dynamodbs(count: int) -> list[DynamoDb]:
    """Make several, one for each thread; only this thread knows the command's options."""
    options, ctx = asked(), click.get_current_context()
    connection = find_signed(options, os.environ)
    made = []
    for _ in range(count):
        http = Client(connection.server, timeout_s=options.timeout_s, print_curl=False)
        ctx.call_on_close(http.close)
        made.append(DynamoDb(connection, http, print_curl=options.print_curl))
    return made


def pause(attempt: int) -> None:
    """Wait before another try.

    Args:
        attempt: how many have failed, 1 or more; the pause doubles with each, and is spread by
            chance, so that clients who were refused together don't come back together.
    """
    longest_s = min(_PAUSE_S * 2 ** (attempt - 1), _PAUSE_S_MAX)
    share = int.from_bytes(SystemEntropy().token(2)) / 65_535
    time.sleep(longest_s * (1 + share) / 2)


def _encoded(members: Mapping[str, Any]) -> bytes:
    import msgspec

    return msgspec.json.encode(members)
