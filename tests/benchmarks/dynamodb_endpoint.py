"""An endpoint that speaks DynamoDB: signed requests to it, one by one or as bytes for wrk."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from dstore.security.credentials import AccessKey
from dstore.security.sigv4 import sign

REGION: Final = "us-east-1"
_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.05
_ACTIVE_S: Final = 10.0


INDEX: Final = "of-benchmark"


def schema_of(keys: dict[str, str]) -> list[dict[str, str]]:
    """Write a key schema; `keys` are attribute → kind, the partition key first."""
    return [
        {"AttributeName": attribute, "KeyType": role}
        for attribute, role in zip(keys, ("HASH", "RANGE"), strict=False)
    ]


def definitions_of(keys: dict[str, str]) -> list[dict[str, str]]:
    """Write the definitions of attributes."""
    return [{"AttributeName": a, "AttributeType": kind} for a, kind in keys.items()]


def index_of(keys: dict[str, str]) -> dict[str, Any]:
    """Write a global index of these keys that holds all attributes."""
    return {
        "IndexName": INDEX,
        "KeySchema": schema_of(keys),
        "Projection": {"ProjectionType": "ALL"},
    }


class Unanswered(Exception):
    """The endpoint refused what the benchmark needs; the message is its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server under measurement.

    Attributes:
        name: for the printed table.
        url: scheme, host and port.
        key: signs.
        pid: of its process, for the profiler.
        admin_url: where dStore tells its metrics.
    """

    name: str
    url: str
    key: AccessKey = field(repr=False)
    pid: int
    admin_url: str | None = None

    @property
    def host(self) -> str:
        """Return host and port, as the Host header has them."""
        return urlsplit(self.url).netloc

    def request(self, operation: str, members: dict[str, Any]) -> bytes:
        """Return one signed request as it travels; it is good for 15 minutes."""
        headers, body = self._signed(operation, members)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return f"POST / HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def call(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        """Send one request over a connection of its own. Raises: Unanswered: not 200."""
        connection = http.client.HTTPConnection(self.host, timeout=_TIMEOUT_S)
        try:
            headers, body = self._signed(operation, members)
            connection.request("POST", "/", body=body, headers=dict(headers))
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise Unanswered(f"{self.name}: {operation} {answer.status} {said.decode()}")
        decoded: dict[str, Any] = json.loads(said)
        return decoded

    def make_table(
        self, name: str, keys: dict[str, str], *, index: dict[str, str] | None = None
    ) -> None:
        """Make a table and wait until it is active.

        Args:
            name: the table's.
            keys: attribute → kind, the partition key first.
            index: the same of a global index that holds all attributes, `INDEX`.
        """
        members = {
            "TableName": name,
            "KeySchema": schema_of(keys),
            "AttributeDefinitions": definitions_of(keys | (index or {})),
            "BillingMode": "PAY_PER_REQUEST",
        }
        if index is not None:
            members["GlobalSecondaryIndexes"] = [index_of(index)]
        self.call("CreateTable", members)
        self.await_active(name)

    def await_active(self, name: str) -> None:
        """Wait until a table is there. Raises: Unanswered: it takes too long."""
        deadline = time.monotonic() + _ACTIVE_S
        while self.call("DescribeTable", {"TableName": name})["Table"]["TableStatus"] != "ACTIVE":
            if time.monotonic() > deadline:
                raise Unanswered(f"{self.name}: {name} is not ACTIVE after {_ACTIVE_S} s")
            time.sleep(_POLL_S)

    def _signed(
        self, operation: str, members: dict[str, Any]
    ) -> tuple[list[tuple[str, str]], bytes]:
        body = json.dumps(members, separators=(",", ":")).encode()
        headers = [
            ("Host", self.host),
            ("Content-Type", "application/x-amz-json-1.0"),
            ("X-Amz-Target", f"DynamoDB_20120810.{operation}"),
        ]
        added = sign(
            method="POST",
            target="/",
            headers=headers,
            body_sha256=hashlib.sha256(body).hexdigest(),
            access_key=self.key,
            region=REGION,
            service="dynamodb",
            now_us=time.time_ns() // 1_000,
        )
        return [*headers, *added], body
