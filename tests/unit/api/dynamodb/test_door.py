"""What the door makes of a request before and after an operation runs."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dstore.api.dynamodb.action import Call, Reply
from dstore.api.dynamodb.actions import ACTIONS
from dstore.api.dynamodb.door import _target_of
from dstore.api.dynamodb.errors import resource_not_found, validation
from dstore.base.limits import AWS_BODY_BYTES_MAX
from dstore.model.errors import (
    ConditionFailed,
    Corrupt,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    Unknown,
)
from dstore.security.credentials import AccessKey, AccessKeyId
from dstore.service.access import Principal
from tests.unit.api.dynamodb.doors import AMZ_JSON, REGION, a_door, action, checked, name_of

NO_OPERATION = b"<UnknownOperationException/>\n"


def raising(error: Exception) -> Any:
    """Make what an operation does: fail."""

    async def fail(_call: Call) -> Reply:
        raise error

    return action("Fail", fail)


def returning(reply: Reply) -> Any:
    """Make an operation that answers this."""

    async def give(_call: Call) -> Reply:
        return reply

    return action("Give", give)


async def test_an_operation_gets_tenant_region_and_members(tmp_path: Path) -> None:
    """The access key names the tenant, its signature the region; nothing else does."""
    async with a_door(tmp_path) as door:
        reply = await door.do("EchoTheCall", b'{"TableName":"t"}')
    assert reply.status == 200
    assert reply.headers["content-type"] == AMZ_JSON
    assert json.loads(reply.body) == {
        "Members": {"TableName": "t"},
        "Tenant": "acme",
        "Region": REGION,
    }


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        (AMZ_JSON, AMZ_JSON),
        ("application/json", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("Application/X-Amz-Json-1.0;x=y", AMZ_JSON),
    ],
)
async def test_the_content_type_comes_back(tmp_path: Path, given: str, answered: str) -> None:
    """On success and on failure; some clients refuse anything else."""
    async with a_door(tmp_path) as door:
        for operation, status in (("EchoTheCall", 200), ("Nothing", 400)):
            reply = await door.do(operation, content_type=given)
            assert (reply.status, reply.headers["content-type"]) == (status, answered)


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\nContent-Length: 2\nContent-Type: text/plain",
        "POST / HTTP/1.1\nContent-Length: 2",
        "POST / HTTP/1.1\nContent-Length: 2\nContent-Type: application/x-amz-json-1.1",
        "PUT / HTTP/1.1\nContent-Length: 2\nContent-Type: application/json",
        "DELETE /?x=y HTTP/1.1",
        "OPTIONS / HTTP/1.1",
        "PROPFIND / HTTP/1.1",
    ],
)
async def test_what_is_no_request_of_an_operation(tmp_path: Path, head: str) -> None:
    """A method or content type of something else gets what DynamoDB sends: 404 and a stump."""
    async with a_door(tmp_path) as door:
        body = b"{}" if "Content-Length" in head else b""
        reply = checked(await door.server.ask(head, body))
    assert (reply.status, reply.body) == (404, NO_OPERATION)
    assert reply.headers["x-amz-crc32"] == "3552371480"


@pytest.mark.parametrize(
    ("body", "headers", "name"),
    [
        (b"{", {"X-Amz-Target": "nobody"}, "SerializationException"),
        (b"{}", {"X-Amz-Target": "nobody"}, "UnknownOperationException"),
        (b"{}", {}, "MissingAuthenticationTokenException"),
        (b"", {}, "MissingAuthenticationTokenException"),
        (b'{"TableName":7}', {}, "MissingAuthenticationTokenException"),
    ],
)
async def test_the_order_of_complaints(
    tmp_path: Path, body: bytes, headers: dict[str, str], name: str
) -> None:
    """Of several faults DynamoDB tells the first: JSON, target, signature, members."""
    async with a_door(tmp_path) as door:
        reply = await door.do("EchoTheCall", body, headers=headers, signed=False)
    assert (reply.status, name_of(reply)) == (400, name)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nul", b'{"TableName":["t"]}', b"\xff"])
async def test_a_signed_body_that_is_no_request(tmp_path: Path, body: bytes) -> None:
    """What cannot be read as the operation's members is a SerializationException."""
    async with a_door(tmp_path) as door:
        reply = await door.do("EchoTheCall", body)
    assert (reply.status, name_of(reply)) == (400, "SerializationException")


@pytest.mark.parametrize(
    "target",
    [
        "",
        "EchoTheCall",
        "DynamoDB_20111205.EchoTheCall",
        "DynamoDBStreams_20120810.EchoTheCall",
        "DynamoDB_20120810.echothecall",
        "DynamoDB_20120810.EchoTheCall.",
        "DynamoDB_20120810.",
    ],
)
async def test_unknown_targets(tmp_path: Path, target: str) -> None:
    """An operation is known by its whole target, letter by letter."""
    async with a_door(tmp_path) as door:
        reply = await door.do("EchoTheCall", headers={"X-Amz-Target": target})
    assert (reply.status, json.loads(reply.body)) == (
        400,
        {"__type": "com.amazon.coral.service#UnknownOperationException"},
    )


def test_the_two_services_behind_the_door() -> None:
    """Streams have a prefix of their own, although they are reached at the same place."""
    assert _target_of("PutItem") == "DynamoDB_20120810.PutItem"
    assert _target_of("GetRecords") == "DynamoDBStreams_20120810.GetRecords"
    assert all(name == action.name for name, action in ACTIONS.items())


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (validation("No."), 400, "ValidationException"),
        (resource_not_found(), 400, "ResourceNotFoundException"),
        (Refused(RefusalKind.CONFLICT, "There."), 400, "ResourceInUseException"),
        (Refused(RefusalKind.FORBIDDEN, "No."), 400, "AccessDeniedException"),
        (ConditionFailed(), 400, "ConditionalCheckFailedException"),
        (Unavailable(UnavailableKind.NO_SPACE, "Full."), 503, "ServiceUnavailable"),
        (Unknown("Perhaps."), 500, "InternalServerError"),
    ],
)
async def test_failures_that_are_answers(
    tmp_path: Path, error: Exception, status: int, name: str
) -> None:
    """They are told and not logged, with their status, checksum and request id."""
    with capture_logs() as events:
        async with a_door(tmp_path, raising(error), request_log="none") as door:
            reply = await door.do("Fail")
    assert (reply.status, name_of(reply)) == (status, name)
    assert reply.headers["content-type"] == AMZ_JSON
    assert [event["event"] for event in events if event["event"] == "request_failed"] == []


async def test_a_failed_condition_shows_the_item_that_was_asked_for(tmp_path: Path) -> None:
    """ReturnValuesOnConditionCheckFailure: ALL_OLD puts the item beside the message."""
    item = {"id": {"S": "a"}}
    async with a_door(tmp_path, raising(ConditionFailed(previous=item))) as door:
        reply = await door.do("Fail")
    assert json.loads(reply.body) == {
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
        "Item": item,
    }


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (ValueError("the canary"), "request_failed"),
        (Corrupt("Broken.", file="a.db", where="page 3"), "storage_damaged"),
    ],
)
async def test_failures_of_our_own(tmp_path: Path, error: Exception, event: str) -> None:
    """They are logged by operation, and told without a word of what they say."""
    with capture_logs() as events:
        async with a_door(tmp_path, raising(error), request_log="none") as door:
            reply = await door.do("Fail")
    assert (reply.status, name_of(reply)) == (500, "InternalServerError")
    assert b"canary" not in reply.body
    (logged,) = [one for one in events if one["event"] == event]
    assert (logged["route"], logged["operation"]) == ("/", "fail")


async def test_requests_are_counted_and_logged_by_operation(tmp_path: Path) -> None:
    """Under a surface of their own: v1 has a create_table too."""
    with capture_logs() as events:
        async with a_door(tmp_path, request_log="all") as door:
            first = await door.do("EchoTheCall")
            await door.do("EchoTheCall", signed=False)
            await door.do("Nobody")
            page = door.server.metrics.render().decode()
    for operation, status in (
        ("echo_the_call", 200),
        ("echo_the_call", 400),
        ("no_operation", 400),
    ):
        labels = f'operation="{operation}",status="{status}",surface="dynamodb"'
        assert f"dstore_requests_total{{{labels}}} 1.0" in page
    lines = [event for event in events if event["event"] == "request"]
    assert [line["operation"] for line in lines] == [
        "echo_the_call",
        "echo_the_call",
        "no_operation",
    ]
    assert {(line["surface"], line["route"]) for line in lines} == {("dynamodb", "/")}
    assert first.status == 200


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (None, b""),
        ({}, b"{}"),
        (b'{"made":"elsewhere"}', b'{"made":"elsewhere"}'),
        ({"Items": [], "Count": 0}, b'{"Items":[],"Count":0}'),
        ({"Items": [{"a": {"S": "é"}}, {}]}, '{"Items":[{"a":{"S":"é"}},{}]}'),
        ({"Responses": {}}, b'{"Responses":{}}'),
        ({"Responses": {"t": [{"a": 1}], "u": []}}, b'{"Responses":{"t":[{"a":1}],"u":[]}}'),
    ],
)  # fmt: skip
async def test_replies(tmp_path: Path, reply: Reply, body: bytes | str) -> None:
    """A map becomes JSON, bytes go as they are, nothing is an empty body with a content type."""
    async with a_door(tmp_path, returning(reply)) as door:
        answer = await door.do("Give")
    expected = body.encode() if isinstance(body, str) else body
    assert (answer.status, answer.body) == (200, expected)
    assert answer.headers["content-type"] == AMZ_JSON
    assert answer.headers["content-length"] == str(len(expected))


async def test_a_large_reply(tmp_path: Path) -> None:
    """Piece by piece it is the same JSON, and its checksum is right."""
    reply = {"Responses": {"t": [{"a": {"S": "x" * 300_000}}] * 20}, "UnprocessedKeys": {}}
    async with a_door(tmp_path, returning(reply)) as door:
        answer = await door.do("Give", wait_s=10.0)
    assert json.loads(answer.body) == reply


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b'{"TableName":"t"}', mtime=0)),
        ("gzip", gzip.compress(b'{"TableName"', mtime=0) + gzip.compress(b':"t"}', mtime=0)),
        ("deflate", zlib.compress(b'{"TableName":"t"}')),
        ("identity", b'{"TableName":"t"}'),
    ],
)
async def test_compressed_bodies(tmp_path: Path, coding: str, packed: bytes) -> None:
    """The signature covers what was sent; as with AWS the coding itself may be unsigned."""
    async with a_door(tmp_path) as door:
        reply = await door.do("EchoTheCall", packed, headers={"Content-Encoding": coding})
    assert json.loads(reply.body)["Members"] == {"TableName": "t"}


@pytest.mark.parametrize(
    ("coding", "packed", "status"),
    [
        ("gzip", b"{}", 400),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-1], 400),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"junk", 400),
        ("br", b"{}", 400),
        ("gzip, gzip", b"{}", 400),
        ("gzip", gzip.compress(bytes(AWS_BODY_BYTES_MAX + 1), mtime=0), 413),
    ],
)
async def test_bodies_that_do_not_inflate(
    tmp_path: Path, coding: str, packed: bytes, status: int
) -> None:
    """They are the client's fault, and never more than the bound comes out of one."""
    async with a_door(tmp_path) as door:
        headers = {"Content-Encoding": coding}
        reply = await door.do("EchoTheCall", packed, headers=headers, wait_s=10.0)
    assert reply.status == status
    assert name_of(reply) in {"ValidationException", "SerializationException"} or status == 413


async def test_large_bodies_are_decoded_elsewhere(tmp_path: Path) -> None:
    """A body of some megabytes is answered like any other."""
    async with a_door(tmp_path) as door:
        body = b'{"TableName":"t"' + b" " * 3_000_000 + b"}"
        reply = await door.do("EchoTheCall", body, wait_s=10.0)
    assert reply.status == 200


@pytest.mark.parametrize("length", ["1000000", None])
async def test_strangers_are_refused_before_their_large_bodies_come(
    tmp_path: Path, length: str | None
) -> None:
    """Sixteen megabytes for each connection are not for who has no access key."""
    stranger = AccessKey(id=AccessKeyId("DSAKSTRANGERSTRANGER"), secret="secret" * 5)
    drop = frozenset({"Content-Length"} if length is None else ())
    framing = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": length}
    body = b"ffff\r\n" + b" " * 65_535 + b"\r\n" + b"ff\r\n" + b" " * 255 + b"\r\n"
    sent = framing | {"Expect": "100-continue"}  # who is refused need not go on
    async with a_door(tmp_path) as door:
        unsigned = await door.do(
            "EchoTheCall", body, signed=False, headers=sent, drop=drop, wait_s=5.0
        )
        unknown = await replace(door, key=stranger).do(
            "EchoTheCall", body, headers=sent, drop=drop, wait_s=5.0
        )
        nothing = await door.do("Nothing", body, headers=sent, drop=drop, wait_s=5.0)
        assert door.server.admission.body_bytes == 0
    assert [name_of(one) for one in (unsigned, unknown, nothing)] == [
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
        "UnknownOperationException",
    ]


async def test_a_stranger_may_send_a_large_body_to_its_end(tmp_path: Path) -> None:
    """Who does not wait for a 100 reads the answer behind its body, and not a broken pipe."""
    async with a_door(tmp_path) as door:
        reply = await door.do("EchoTheCall", b" " * 3_000_000, signed=False, wait_s=5.0)
    assert name_of(reply) == "MissingAuthenticationTokenException"


async def test_failures_before_the_handler_are_told_as_awss(tmp_path: Path) -> None:
    """An overloaded or draining process, or headers too large, speak the door's language."""
    async with a_door(tmp_path, requests_max=1) as door:
        door.server.admission.requests = 1
        busy = await door.do("EchoTheCall")
        healthy = await door.server.ask("GET / HTTP/1.1")
        door.server.admission.requests = 0
        lines = "".join(f"\nX-{n}: {'v' * 4_000}" for n in range(5))
        large = checked(await door.server.ask(f"POST / HTTP/1.1{lines}"))
        door.server.admission.is_draining = True
        draining = await door.do("EchoTheCall")
        ill = checked(await door.server.ask("GET / HTTP/1.1"))
    assert [(one.status, name_of(one)) for one in (busy, draining, ill)] == [
        (503, "ServiceUnavailable")
    ] * 3
    assert (large.status, name_of(large)) == (400, "BadRequest")
    assert healthy.status == 200


async def test_the_health_of_the_host(tmp_path: Path) -> None:
    """GET / is answered to whoever asks, and names the host that was asked."""
    async with a_door(tmp_path) as door:
        reply = checked(await door.server.ask("GET / HTTP/1.1"))
        odd = await door.server.send(b"GET / HTTP/1.1\r\nHost: <a>\r\nConnection: close\r\n\r\n")
    assert (reply.status, reply.body) == (200, b"healthy: test ")
    assert b"healthy: dstore " in odd


async def test_other_paths_are_not_the_doors(tmp_path: Path) -> None:
    """Everything but `/` stays as it was."""
    async with a_door(tmp_path) as door:
        reply = await door.server.ask("GET /nowhere HTTP/1.1")
    assert (reply.status, reply.problem) == (404, "not-found")
    assert "x-amzn-requestid" not in reply.headers


CORS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date",
}


def _cors(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


async def test_scripts_of_other_origins(tmp_path: Path) -> None:
    """Whoever names an Origin is allowed; without one nothing is said."""
    ask = "\nAccess-Control-Request-Method: dog\nAccess-Control-Request-Headers: cat, meerkat"
    async with a_door(tmp_path) as door:
        for origin, expected in (("\nOrigin: http://example.com", CORS), ("", {})):
            for head in ("GET /", "POST /", "DELETE /"):
                reply = checked(await door.server.ask(f"{head} HTTP/1.1{origin}{ask}"))
                assert _cors(reply.headers) == expected, head
        reply = checked(await door.server.ask(f"OPTIONS / HTTP/1.1\nOrigin: x{ask}"))
        plain = checked(await door.server.ask("OPTIONS / HTTP/1.1\nOrigin: x"))
        evil = checked(
            await door.server.ask(
                "OPTIONS / HTTP/1.1\nOrigin: x\nAccess-Control-Request-Headers: <script>"
            )
        )
    assert (reply.status, reply.body) == (200, b"")
    assert _cors(reply.headers) == CORS | {
        "access-control-allow-headers": "cat, meerkat",
        "access-control-allow-methods": "dog",
        "access-control-max-age": "172800",
    }
    assert (
        _cors(plain.headers) == _cors(evil.headers) == CORS | {"access-control-max-age": "172800"}
    )


def test_a_principal_by_token_has_no_region() -> None:
    """Only signatures name one."""
    assert Principal(tenant="acme", credential="t").region == ""
