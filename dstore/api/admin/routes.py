"""/admin/v1: what only the operator may do. A stand-alone node serves it itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from dstore.api.admin.status import StatusHandlers
from dstore.api.http.answer import JSON, Answer, json_answer
from dstore.api.http.authentication import authenticate, is_signed
from dstore.api.http.body import read_body
from dstore.api.http.json_body import decode_object
from dstore.api.http.request_checks import check_query, media_type
from dstore.api.http.route import Route
from dstore.base.limits import KIB
from dstore.base.logging import get_logger
from dstore.base.timestamps import instant
from dstore.model.errors import invalid
from dstore.service.access import Principal, require_operator

if TYPE_CHECKING:
    from dstore.api.admin.status import Report
    from dstore.base.metrics import Metrics
    from dstore.service.node import Node

_BODY_BYTES_MAX = 16 * KIB
_audit = get_logger("audit")

TENANT = "/admin/v1/tenant/{tenant}"
ACCESS_KEYS = f"{TENANT}/access-key"
ACCESS_KEY = f"{ACCESS_KEYS}/{{id}}"
TOKENS = f"{TENANT}/token"
TOKEN = f"{TOKENS}/{{id}}"
OPERATOR_TOKENS = "/admin/v1/token"
OPERATOR_TOKEN = f"{OPERATOR_TOKENS}/{{id}}"


def admin_routes(node: Node, *, report: Report, metrics: Metrics) -> tuple[Route, ...]:
    """Bind the admin API to a node; `report` says what the process knows of itself."""
    handlers = CredentialHandlers(node)
    status = StatusHandlers(node, report=report, metrics=metrics)
    keys, tokens = handlers.list_access_keys, handlers.list_tokens
    return (
        Route(method="GET", path=ACCESS_KEYS, handler=keys, operation="list_access_keys"),
        Route(
            method="POST",
            path=ACCESS_KEYS,
            handler=handlers.create_access_key,
            operation="create_access_key",
        ),
        Route(
            method="PUT",
            path=ACCESS_KEY,
            handler=handlers.import_access_key,
            operation="import_access_key",
        ),
        Route(
            method="DELETE",
            path=ACCESS_KEY,
            handler=handlers.delete_access_key,
            operation="delete_access_key",
        ),
        *(
            Route(method=method, path=path, handler=handler, operation=operation)
            for collection, single in ((TOKENS, TOKEN), (OPERATOR_TOKENS, OPERATOR_TOKEN))
            for method, path, handler, operation in (
                ("GET", collection, tokens, "list_tokens"),
                ("POST", collection, handlers.create_token, "create_token"),
                ("DELETE", single, handlers.delete_token, "delete_token"),
            )
        ),
        Route(method="GET", path="/admin/v1/status", handler=status.read, operation="read_status"),
        Route(
            method="GET",
            path="/metrics",
            handler=status.metrics,
            operation="read_metrics",
            is_vital=True,
        ),
    )


class CredentialHandlers:
    """Access keys and tokens; secrets are shown once, when they are made."""

    def __init__(self, node: Node) -> None:
        """Serve the credentials of `node`."""
        self._node = node

    async def list_access_keys(self, request: web.Request) -> Answer:
        """List a tenant's access keys, without their secrets."""
        await receive(request, self._node)
        tenant = self._tenant(request)
        keys = self._node.access.access_keys(tenant)
        return json_answer({"accessKeys": [_described(key.id, key.created_at_us) for key in keys]})

    async def create_access_key(self, request: web.Request) -> Answer:
        """Make an access key."""
        principal, _ = await receive(request, self._node)
        record, secret = await self._node.access.create_access_key(self._tenant(request))
        _changed("create_access_key", principal, access_key_id=record.id, tenant=record.tenant)
        return json_answer(
            _described(record.id, record.created_at_us) | {"secret": secret}, status=201
        )

    async def import_access_key(self, request: web.Request) -> Answer:
        """Store a given id and secret, for migrations and tests."""
        principal, body = await receive(request, self._node)
        media_type(request, JSON)
        decoded = decode_object(body, what="access key")
        secret = decoded.get("secret")
        if decoded.keys() != {"secret"} or type(secret) is not str:
            raise invalid('The body is {"secret": <the access key\'s secret, a string>}.')
        record = await self._node.access.import_access_key(
            self._tenant(request), request.match_info["id"], secret
        )
        _changed("import_access_key", principal, access_key_id=record.id, tenant=record.tenant)
        return json_answer(_described(record.id, record.created_at_us), status=201)

    async def delete_access_key(self, request: web.Request) -> Answer:
        """Revoke an access key."""
        principal, _ = await receive(request, self._node)
        tenant, key_id = self._tenant(request), request.match_info["id"]
        await self._node.access.delete_access_key(tenant, key_id)
        _changed("delete_access_key", principal, access_key_id=key_id, tenant=tenant)
        return Answer(status=204)

    async def list_tokens(self, request: web.Request) -> Answer:
        """List a tenant's tokens, or the operator's, without their texts."""
        await receive(request, self._node)
        tokens = self._node.access.tokens(self._owner(request))
        return json_answer(
            {"tokens": [_described(token.id, token.created_at_us) for token in tokens]}
        )

    async def create_token(self, request: web.Request) -> Answer:
        """Make a token."""
        principal, _ = await receive(request, self._node)
        record, text = await self._node.access.create_token(self._owner(request))
        _changed("create_token", principal, token_id=record.id, tenant=record.tenant or "")
        return json_answer(
            _described(record.id, record.created_at_us) | {"token": text}, status=201
        )

    async def delete_token(self, request: web.Request) -> Answer:
        """Revoke a token."""
        principal, _ = await receive(request, self._node)
        owner, token_id = self._owner(request), request.match_info["id"]
        await self._node.access.delete_token(owner, token_id)
        _changed("delete_token", principal, token_id=token_id, tenant=owner or "")
        return Answer(status=204)

    def _tenant(self, request: web.Request) -> str:
        """Name the tenant in the path. Raises: Refused: there is none."""
        return self._node.catalog.tenant(request.match_info["tenant"]).name

    def _owner(self, request: web.Request) -> str | None:
        return self._tenant(request) if "tenant" in request.match_info else None


async def receive(request: web.Request, node: Node) -> tuple[Principal, bytes]:
    """Let the operator in and read the body.

    Raises: Refused: it is somebody else, or the query has a parameter; none is known.
    """
    signed = is_signed(request)
    principal = None if signed else authenticate(request, node.access, None)
    if principal is not None:
        require_operator(principal)
    body = b""
    if request.can_read_body:
        body = await read_body(request, bytes_max=_BODY_BYTES_MAX)
    if principal is None:
        principal = authenticate(request, node.access, body)
        require_operator(principal)
    check_query(request, (), signed=signed)
    return principal, body


def _described(credential_id: str, created_at_us: int) -> dict[str, Any]:
    return {"id": credential_id, "createdAt": instant(created_at_us)}


def _changed(operation: str, principal: Principal, **fields: str) -> None:
    _audit.info("changed", operation=operation, principal_id=principal.credential, **fields)
