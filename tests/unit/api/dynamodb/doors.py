"""The DynamoDB door on a real node, with operations made for the occasion, and a client of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from dstore.api.dynamodb.action import Action, Call, Reply
from dstore.api.dynamodb.door import dynamodb_routes
from dstore.api.dynamodb.shape_scalars import String
from dstore.api.dynamodb.shapes import Structure
from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.security.credentials import AccessKey, AccessKeyId
from dstore.security.sigv4 import sign
from dstore.service.node import Node
from tests.unit.api.http.serving import Reply as HttpReply
from tests.unit.api.http.serving import Served, served
from tests.unit.service.nodes import a_node

AMZ_JSON: Final = "application/x-amz-json-1.0"
TARGET: Final = "DynamoDB_20120810."
REGION: Final = "eu-north-1"
_CODED_ID: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUV"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorClient:
    """Sends requests to a door, signed unless they are told not to be."""

    server: Served
    node: Node
    key: AccessKey

    async def do(
        self,
        operation: str,
        body: bytes = b"{}",
        *,
        headers: Mapping[str, str] | None = None,
        drop: frozenset[str] = frozenset(),
        content_type: str = AMZ_JSON,
        signed: bool = True,
        target: str = "/",
        now_us: int | None = None,
        **options: float,
    ) -> HttpReply:
        """Send one request; `headers` overrule the usual ones after signing, `drop` leaves out."""
        sent = {"Content-Type": content_type, "X-Amz-Target": TARGET + operation}
        if signed:
            sent |= self.signature(sent, body, target=target, now_us=now_us)
        sent |= {"Content-Length": str(len(body))}
        sent |= headers or {}
        lines = "".join(f"\n{name}: {value}" for name, value in sent.items() if name not in drop)
        return checked(await self.server.ask(f"POST {target} HTTP/1.1{lines}", body, **options))

    def signature(
        self,
        sent: Mapping[str, str],
        body: bytes,
        *,
        target: str = "/",
        now_us: int | None = None,
        service: str = "dynamodb",
    ) -> dict[str, str]:
        """Return the headers that sign a request."""
        return dict(
            sign(
                method="POST",
                target=target,
                headers=[("Host", "test"), *sent.items()],
                body_sha256=hashlib.sha256(body).hexdigest(),
                access_key=self.key,
                region=REGION,
                service=service,
                now_us=SystemClock().wall_us() if now_us is None else now_us,
            )
        )


def checked(reply: HttpReply) -> HttpReply:
    """Hold an answer against what is true of all of them."""
    assert "x-request-id" not in reply.headers
    request_id = reply.headers["x-amzn-requestid"]
    assert len(request_id) == 52, request_id
    assert set(request_id) <= set(_CODED_ID), request_id
    if "access-control-max-age" not in reply.headers:  # a preflight has no body to check
        assert int(reply.headers["x-amz-crc32"]) == crc32(reply.body)
    return reply


def name_of(reply: HttpReply) -> str:
    """Return the name of an error, whose body must be well-formed."""
    error = json.loads(reply.body)
    namespace, _, name = str(error["__type"]).partition("#")
    assert namespace.startswith("com.amazon"), error
    return name


def action(name: str, run: Any) -> Action:
    """Make an operation that takes a TableName."""
    return Action(name=name, shape=Structure(members={"TableName": String()}), run=run)


async def echo(call: Call) -> Reply:
    """Answer what the door found out."""
    return {"Members": call.members, "Tenant": call.tenant, "Region": call.region}


@asynccontextmanager
async def a_door(directory: Path, *operations: Action, **options: Any) -> AsyncIterator[DoorClient]:
    """Serve `Echo` and the given operations for the tenant acme."""
    actions = {one.name: one for one in (action("EchoTheCall", echo), *operations)}
    async with a_node(directory) as node:
        await node.catalog.create_tenant("acme")
        record, secret = await node.access.create_access_key("acme")
        routes = dynamodb_routes(
            node, clock=SystemClock(), entropy=SystemEntropy(), actions=actions
        )
        async with served(routes, **options) as server:
            key = AccessKey(id=AccessKeyId(record.id), secret=secret)
            yield DoorClient(server=server, node=node, key=key)
