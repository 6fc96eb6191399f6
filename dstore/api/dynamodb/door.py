"""The door of the DynamoDB API: `POST /`, from the bytes of a request to those of its answer.

The order of complaints is DynamoDB's: body too large, content type, JSON, target, signature, the
members' types and bounds, and then what the operation itself has to say. Only a body that is large
or compressed costs so much to decode that its sender must be known first; and so much memory that
strangers, whose signature names no access key of ours, are told so before it is read. An operation
is a value in `actions/`; nothing here knows one by name.
"""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs
from multidict import istr

from dstore.api.dynamodb import json_members, shapes
from dstore.api.dynamodb.action import Call
from dstore.api.dynamodb.actions import ACTIONS
from dstore.api.dynamodb.answers import (
    AMZ_JSON,
    JSON,
    answer,
    content_type_of,
    error_answer,
)
from dstore.api.dynamodb.authentication import Authentication
from dstore.api.dynamodb.cors import preflight_headers
from dstore.api.dynamodb.errors import AwsError, serialization, unknown_operation
from dstore.api.dynamodb.health import health
from dstore.api.dynamodb.replies import encode, encode_short, is_short
from dstore.api.dynamodb.request_ids import REQUEST_ID_HEADER, AwsRequestIds
from dstore.api.http.answer import Answer
from dstore.api.http.body import arrived_body, discard_body, inflate_body, receive_body
from dstore.api.http.problems import ProblemRaised
from dstore.api.http.request_context import context_of
from dstore.api.http.route import Dialect, Route
from dstore.base.limits import (
    AWS_BODY_BYTES_MAX,
    AWS_BODY_CHUNKS_MAX,
    AWS_BODY_STREAMS_MAX,
    BODY_DISCARDED_BYTES_MAX,
    BODY_TIMEOUT_S,
    INLINE_JSON_BYTES_MAX,
)
from dstore.base.threads import in_thread
from dstore.expressions import ExpressionError
from dstore.service.access import require_same_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from dstore.api.dynamodb.action import Action, Members
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.service.access import Principal
    from dstore.service.use_cases import UseCases

SURFACE: Final = "dynamodb"  # in metrics and logs

_TARGET: Final = istr("X-Amz-Target")
_INVOCATION: Final = istr("amz-sdk-invocation-id")
_CONTENT_TYPES: Final = frozenset({AMZ_JSON, JSON})
_TOO_LARGE: Final = 413
# The operations of the other service behind this door; every other name is DynamoDB's own.
_OF_STREAMS: Final = frozenset({"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"})
_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def dynamodb_routes(
    cases: UseCases,
    *,
    clock: Clock,
    entropy: Entropy,
    actions: Mapping[str, Action] = ACTIONS,
) -> tuple[Route, ...]:
    """Bind the DynamoDB API to use cases.

    Args:
        cases: what it does.
        clock: tells whether a signature has expired.
        entropy: for request ids.
        actions: the operations by name.
    """
    dialect = Dialect(
        surface=SURFACE,
        id_header=REQUEST_ID_HEADER,
        request_id_of=AwsRequestIds(entropy).of,
        render_error=error_answer,
        expected=(AwsError, ExpressionError),
    )
    door = Door(cases, clock=clock, actions=actions)
    return (
        Route(
            method="POST", path="/", handler=door.serve, operation="no_operation", dialect=dialect
        ),
        Route(
            method="GET",
            path="/",
            handler=health,
            operation="health",
            is_vital=True,
            dialect=dialect,
        ),
        Route(
            method="OPTIONS", path="/", handler=preflight, operation="preflight", dialect=dialect
        ),
    )


class Door:
    """Every operation at one path."""

    def __init__(self, cases: UseCases, *, clock: Clock, actions: Mapping[str, Action]) -> None:
        """Take the operations, each under its target."""
        self._cases = cases
        self._authentication = Authentication(cases.access, clock)
        self._targets = {
            _target_of(action.name): (action, _CAPITAL.sub("_", action.name).lower())
            for action in actions.values()
        }

    async def serve(self, request: web.Request) -> Answer:
        """Answer one request. Raises: whatever `error_answer` renders."""
        headers = request.headers
        if headers.get(hdrs.CONTENT_TYPE) != AMZ_JSON:  # what every SDK sends
            _check_content_type(request)
        sent = arrived_body(request, bytes_max=AWS_BODY_BYTES_MAX)
        if sent is None:
            sent = await _body_of(request, partial(self._check_sender, request))
        if len(sent) <= INLINE_JSON_BYTES_MAX and hdrs.CONTENT_ENCODING not in headers:
            members = _members_of(sent)
            digest = hashlib.sha256(sent).hexdigest()
            action, principal = self._asked(request, digest)
            if members is None:
                raise serialization()
            shapes.check(action.shape, members)
            body_bytes = len(sent)
        else:
            digest = await in_thread(lambda: hashlib.sha256(sent).hexdigest())
            action, principal = self._asked(request, digest)
            members, body_bytes = await _large_members(request, sent, action)
            require_same_tenant(principal, self._cases.directory)  # behind all that time, too
        assert principal.tenant is not None, "an access key is a tenant's"
        reply = await action.run(
            Call(
                cases=self._cases,
                principal=principal,
                tenant=principal.tenant,
                region=principal.region,
                members=members,
                body_bytes=body_bytes,
                host=request.host,
                action=action.name,
                invocation=headers.get(_INVOCATION, ""),
                body_sha256=digest,
            )
        )
        body, checksum = encode_short(reply) if is_short(reply) else await encode(reply)
        return answer(request, body, checksum=checksum)

    def _asked(self, request: web.Request, body_sha256: str) -> tuple[Action, Principal]:
        """Find what is asked for, and by whom. Raises: AwsError."""
        action = self._action_of(request)
        return action, self._authentication.principal_of(request, body_sha256=body_sha256)

    def _check_sender(self, request: web.Request) -> None:
        """Refuse a request that `_asked` is going to refuse whatever its body. Raises: AwsError."""
        self._action_of(request)
        self._authentication.check_sender(request)

    def _action_of(self, request: web.Request) -> Action:
        found = self._targets.get(request.headers.get(_TARGET, ""))
        if found is None:
            raise unknown_operation()
        action, context_of(request).operation = found
        return action


async def preflight(request: web.Request) -> Answer:
    """Tell a browser that its script may send what it wants to."""
    if hdrs.ORIGIN not in request.headers:
        raise no_operation()
    return Answer(headers=preflight_headers(request))


def no_operation() -> AwsError:
    """Make what a request gets that cannot be one of an operation: a method, a content type."""
    return unknown_operation(status=404)


def _check_content_type(request: web.Request) -> None:
    if request.body_exists and content_type_of(request) not in _CONTENT_TYPES:
        raise no_operation()


async def _body_of(request: web.Request, check_sender: Callable[[], None]) -> bytes:
    """Receive the body as it was sent.

    If it is too large, or large and a stranger's, let its sender come to the answer.
    """
    try:
        return await receive_body(
            request,
            bytes_max=AWS_BODY_BYTES_MAX,
            chunks_max=AWS_BODY_CHUNKS_MAX,
            before_large=check_sender,
        )
    except (ProblemRaised, AwsError) as raised:
        if isinstance(raised, AwsError) or raised.problem.status == _TOO_LARGE:
            context_of(request).release()
            await discard_body(
                request, bytes_max=BODY_DISCARDED_BYTES_MAX, timeout_s=BODY_TIMEOUT_S
            )
        raise


def _members_of(body: bytes) -> Members | None:
    """Decode a body; an empty one is complained of later, hence None."""
    return json_members.decode(body) if body else None


async def _large_members(request: web.Request, sent: bytes, action: Action) -> tuple[Members, int]:
    """Inflate, decode and check a body that is large or compressed, once its sender is known.

    Returns: the members, and the body's bytes once inflated.
    """
    body = await inflate_body(
        request, sent, bytes_max=AWS_BODY_BYTES_MAX, streams_max=AWS_BODY_STREAMS_MAX
    )

    def read() -> Members:
        members = _members_of(body)
        if members is None:
            raise serialization()
        shapes.check(action.shape, members)
        return members

    members = await in_thread(read) if len(body) > INLINE_JSON_BYTES_MAX else read()
    return members, len(body)


def _target_of(operation: str) -> str:
    service = "DynamoDBStreams" if operation in _OF_STREAMS else "DynamoDB"
    return f"{service}_20120810.{operation}"
