"""A DynamoDB client for black-box tests: boto3 on the wire, any JSON as the body.

    dynamodb = DynamoDB(endpoint)
    answer = dynamodb.call("PutItem", {"TableName": "t", "Item": {"p": {"S": "1"}}})
    assert (answer.status, answer.body) == (200, {})

boto3 builds, signs and sends the request and parses the answer as it does for everybody; only the
body is replaced before it is signed, so that a test may send what boto3 would not serialise. What
holds for every answer is checked at every call: CRC32, request id, content type, an error's
`__type`, and that botocore's model of the operation knows every member of the answer.
"""

from __future__ import annotations

import json
import re
import threading
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.server import Server

TIMEOUT_S: Final = 30
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_REQUEST_ID: Final = re.compile(r"[A-Z0-9=]{52}")
_TYPE: Final = re.compile(r"com\.amazon(aws)?\.[a-z0-9.]+#[A-Za-z]+")
# The service once sent it without saying so in its model; dynalite still does.
_UNMODELLED: Final = {"TableThroughputModeSummary"}
# What boto3 looks into to choose an endpoint must be there.
_LOOKED_AT: Final[Mapping[str, Any]] = {
    "BatchGetItem": {"RequestItems": {}},
    "BatchWriteItem": {"RequestItems": {}},
}
_JSON_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "double": (int, float),
    "float": (int, float),
    "timestamp": (int, float),
    "blob": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a DynamoDB answers, and who asks."""

    url: str
    key_id: str
    secret: str
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, as it stood on the wire; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    body: dict[str, Any]

    @property
    def error(self) -> str:
        """The error's name without its namespace, "" of a success."""
        return str(self.body.get("__type", "")).rpartition("#")[2]

    @property
    def message(self) -> str | None:
        """The error's sentence; three names spell the member with a capital."""
        return self.body.get("message", self.body.get("Message"))


class DynamoDB:
    """A client that many threads may share."""

    def __init__(self, endpoint: Endpoint, *, connections: int = 10) -> None:
        """Connect at the first call; nothing is ever retried."""
        self.endpoint = endpoint
        self.boto = boto3.session.Session().client(
            "dynamodb",
            endpoint_url=endpoint.url,
            region_name=endpoint.region,
            aws_access_key_id=endpoint.key_id,
            aws_secret_access_key=endpoint.secret,
            config=Config(
                parameter_validation=False,
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=TIMEOUT_S,
                read_timeout=TIMEOUT_S,
                max_pool_connections=connections,
            ),
        )
        self._call = threading.local()
        self.boto.meta.events.register_first("before-call.dynamodb", self._replace_body)
        self.boto.meta.events.register_first("after-call.dynamodb", self._keep_answer)

    def call(self, operation: str, request: Mapping[str, Any] | str | bytes) -> Answer:
        """Send a request; text and bytes go as they are. Returns: the answer, checked."""
        match request:
            case bytes():
                body = request
            case str():
                body = request.encode()
            case _:
                body = json.dumps(request).encode()
        self._call.body = body
        try:
            self.boto._make_api_call(operation, _LOOKED_AT.get(operation, {}))
        except ClientError:
            pass
        finally:
            self._call.body = None
        answer: Answer = self._call.answer
        check(operation, answer)
        return answer

    def do(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request that must succeed. Returns: the answer's body."""
        answer = self.call(operation, request)
        assert answer.status == 200, (operation, answer.body)
        return answer.body

    def close(self) -> None:
        """Close the connections."""
        self.boto.close()

    def _replace_body(self, params: dict[str, Any], **_: object) -> None:
        # A call of `boto` itself, as tests of a stock SDK's calls make it, keeps its own body.
        body = getattr(self._call, "body", None)
        if body is not None:
            params["body"] = body

    def _keep_answer(self, http_response: Any, **_: object) -> None:
        raw = http_response.content
        self._call.answer = Answer(
            status=http_response.status_code,
            headers={name.lower(): value for name, value in http_response.headers.items()},
            raw=raw,
            body=json.loads(raw) if raw.startswith(b"{") else {},
        )


def endpoint_of(server: Server, tenant: str) -> Endpoint:
    """Make a tenant of a dStore server and an access key for it. Returns: where it answers."""
    with server.client() as client, server.admin() as admin:
        assert client.put(f"/v1/tenant/{tenant}").status == 201
        key = admin.post(f"/admin/v1/tenant/{tenant}/access-key").json()
    url = server.env()["DSTORE_URL"]
    return Endpoint(url=url, key_id=key["id"], secret=key["secret"])


def check(operation: str, answer: Answer) -> None:
    """Hold an answer against what every SDK relies on."""
    where = (operation, answer.status, answer.headers, answer.raw[:500])
    assert answer.status in {200, 400}, where
    assert _REQUEST_ID.fullmatch(answer.headers.get("x-amzn-requestid", "")), where
    assert answer.headers.get("x-amz-crc32") == str(zlib.crc32(answer.raw)), where
    assert answer.headers.get("content-type") == _CONTENT_TYPE, where
    if answer.status == 200:
        problem = misfit(_output_of(operation), answer.body, "answer")
        assert problem is None, (problem, where)
    else:
        assert _TYPE.fullmatch(answer.body.get("__type", "")), where


def misfit(shape: Any, value: Any, path: str) -> str | None:
    """Compare an answer with botocore's shape of it. Returns: the first difference."""
    if shape is None:
        return None if value in ({}, "") else f"{path}: no members expected"
    match shape.type_name:
        case "structure":
            if not isinstance(value, dict):
                return f"{path}: no object"
            unknown = value.keys() - shape.members.keys() - _UNMODELLED
            if unknown:
                return f"{path}: {sorted(unknown)} unknown to the model"
            known = ((k, v) for k, v in value.items() if k in shape.members)
            parts = ((shape.members[k], v, f"{path}.{k}") for k, v in known)
        case "map":
            if not isinstance(value, dict):
                return f"{path}: no object"
            parts = ((shape.value, v, f"{path}.{k}") for k, v in value.items())
        case "list":
            if not isinstance(value, list):
                return f"{path}: no array"
            parts = ((shape.member, v, f"{path}[{i}]") for i, v in enumerate(value))
        case kind:
            is_kind = isinstance(value, _JSON_TYPES[kind])
            return None if is_kind else f"{path}: {value!r} is no {kind}"
    return next((found for part in parts if (found := misfit(*part))), None)


def model() -> Any:
    """Load botocore's model of DynamoDB."""
    return _model()


@cache
def _model() -> Any:
    session = boto3.session.Session()
    return session._session.get_service_model("dynamodb")


@cache
def _output_of(operation: str) -> Any:
    return model().operation_model(operation).output_shape
