"""Access keys and tokens: /admin/v1/tenant/{tenant}/access-key, …/token, and /admin/v1/token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dstore.api.admin.door import receive, record_change
from dstore.api.http.answer import JSON, Answer, json_answer
from dstore.api.http.json_body import decode_object
from dstore.api.http.request_checks import media_type
from dstore.api.http.route import Route
from dstore.base.timestamps import instant
from dstore.model.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from dstore.api.admin.ports import Credential, Credentials, Door
    from dstore.service.node import Node

TENANT = "/admin/v1/tenant/{tenant}"
ACCESS_KEYS = f"{TENANT}/access-key"
ACCESS_KEY = f"{ACCESS_KEYS}/{{id}}"
TOKENS = f"{TENANT}/token"
TOKEN = f"{TOKENS}/{{id}}"
OPERATOR_TOKENS = "/admin/v1/token"
OPERATOR_TOKEN = f"{OPERATOR_TOKENS}/{{id}}"


def credential_routes(credentials: Credentials, door: Door) -> tuple[Route, ...]:
    """Bind the routes to whoever keeps the credentials."""
    handlers = CredentialHandlers(credentials, door)
    return (
        Route(
            method="GET",
            path=ACCESS_KEYS,
            handler=handlers.list_access_keys,
            operation="list_access_keys",
        ),
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
                ("GET", collection, handlers.list_tokens, "list_tokens"),
                ("POST", collection, handlers.create_token, "create_token"),
                ("DELETE", single, handlers.delete_token, "delete_token"),
            )
        ),
    )


class CredentialHandlers:
    """Secrets are shown once, when they are made."""

    def __init__(self, credentials: Credentials, door: Door) -> None:
        """Serve these credentials to whom the door lets in."""
        self._credentials = credentials
        self._door = door

    async def list_access_keys(self, request: web.Request) -> Answer:
        """List a tenant's access keys, without their secrets."""
        await receive(request, self._door)
        keys = await self._credentials.access_keys(_tenant(request))
        return json_answer({"accessKeys": [_described(key) for key in keys]})

    async def create_access_key(self, request: web.Request) -> Answer:
        """Make an access key."""
        principal, _ = await receive(request, self._door)
        tenant = _tenant(request)
        made, secret = await self._credentials.create_access_key(tenant, actor=principal.credential)
        record_change("create_access_key", principal, access_key_id=made.id, tenant=tenant)
        return json_answer(_described(made) | {"secret": secret}, status=201)

    async def import_access_key(self, request: web.Request) -> Answer:
        """Store a given id and secret, for migrations and tests."""
        principal, body = await receive(request, self._door)
        media_type(request, JSON)
        decoded = decode_object(body, what="access key")
        secret = decoded.get("secret")
        if decoded.keys() != {"secret"} or type(secret) is not str:
            raise invalid('The body is {"secret": <the access key\'s secret, a string>}.')
        tenant = _tenant(request)
        made = await self._credentials.import_access_key(
            tenant, request.match_info["id"], secret, actor=principal.credential
        )
        record_change("import_access_key", principal, access_key_id=made.id, tenant=tenant)
        return json_answer(_described(made), status=201)

    async def delete_access_key(self, request: web.Request) -> Answer:
        """Revoke an access key."""
        principal, _ = await receive(request, self._door)
        tenant, key_id = _tenant(request), request.match_info["id"]
        await self._credentials.delete_access_key(tenant, key_id, actor=principal.credential)
        record_change("delete_access_key", principal, access_key_id=key_id, tenant=tenant)
        return Answer(status=204)

    async def list_tokens(self, request: web.Request) -> Answer:
        """List a tenant's tokens, or the operator's, without their texts."""
        await receive(request, self._door)
        tokens: Sequence[Credential] = await self._credentials.tokens(_owner(request))
        return json_answer({"tokens": [_described(token) for token in tokens]})

    async def create_token(self, request: web.Request) -> Answer:
        """Make a token."""
        principal, _ = await receive(request, self._door)
        owner = _owner(request)
        made, text = await self._credentials.create_token(owner, actor=principal.credential)
        record_change("create_token", principal, token_id=made.id, tenant=owner or "")
        return json_answer(_described(made) | {"token": text}, status=201)

    async def delete_token(self, request: web.Request) -> Answer:
        """Revoke a token."""
        principal, _ = await receive(request, self._door)
        owner, token_id = _owner(request), request.match_info["id"]
        await self._credentials.delete_token(owner, token_id, actor=principal.credential)
        record_change("delete_token", principal, token_id=token_id, tenant=owner or "")
        return Answer(status=204)


class NodeCredentials:
    """The credentials that a stand-alone node keeps itself."""

    def __init__(self, node: Node) -> None:
        """Serve those of `node`; its audit log is the process's."""
        self._node = node

    async def access_keys(self, tenant: str) -> Sequence[Credential]:
        """See `Credentials.access_keys`."""
        return self._node.access.access_keys(self._existing(tenant))

    async def create_access_key(self, tenant: str, *, actor: str) -> tuple[Credential, str]:  # noqa: ARG002 - the port's
        """See `Credentials.create_access_key`."""
        return await self._node.access.create_access_key(self._existing(tenant))

    async def import_access_key(
        self,
        tenant: str,
        key_id: str,
        secret: str,
        *,
        actor: str,  # noqa: ARG002 - the port's
    ) -> Credential:
        """See `Credentials.import_access_key`."""
        return await self._node.access.import_access_key(self._existing(tenant), key_id, secret)

    async def delete_access_key(self, tenant: str, key_id: str, *, actor: str) -> None:  # noqa: ARG002 - the port's
        """See `Credentials.delete_access_key`."""
        await self._node.access.delete_access_key(self._existing(tenant), key_id)

    async def tokens(self, tenant: str | None) -> Sequence[Credential]:
        """See `Credentials.tokens`."""
        return self._node.access.tokens(self._owner(tenant))

    async def create_token(self, tenant: str | None, *, actor: str) -> tuple[Credential, str]:  # noqa: ARG002 - the port's
        """See `Credentials.create_token`."""
        return await self._node.access.create_token(self._owner(tenant))

    async def delete_token(self, tenant: str | None, token_id: str, *, actor: str) -> None:  # noqa: ARG002 - the port's
        """See `Credentials.delete_token`."""
        await self._node.access.delete_token(self._owner(tenant), token_id)

    def _existing(self, tenant: str) -> str:
        """Name a tenant. Raises: Refused: there is none."""
        return self._node.catalog.tenant(tenant).name

    def _owner(self, tenant: str | None) -> str | None:
        return None if tenant is None else self._existing(tenant)


def _tenant(request: web.Request) -> str:
    return request.match_info["tenant"]


def _owner(request: web.Request) -> str | None:
    return request.match_info.get("tenant")


def _described(credential: Credential) -> dict[str, Any]:
    return {"id": credential.id, "createdAt": instant(credential.created_at_us)}
