"""What the admin API needs of whoever serves it: a stand-alone node, or control.

`service.control.status.ClusterReports` is one more: what control knows of its cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from dstore.security.identity import ComponentRole
    from dstore.service.access import Principal
    from dstore.service.control.admission import TokenMade
    from dstore.storage.control.records import JoinTokenRecord


class Door(Protocol):
    """Tells who sent a request."""

    async def principal(self, request: web.Request, body: bytes | None) -> Principal:
        """Name the sender.

        Args:
            request: as it was received.
            body: None before it was read, which is enough for a token.
        Raises: Refused: no credential, two, or one that is not valid. Unavailable: nobody can tell
            now.
        """


class Credential(Protocol):
    """An access key or a token, as it may be shown at any time."""

    @property
    def id(self) -> str:
        """Its public id."""

    @property
    def created_at_us(self) -> int:
        """When it was made, in microseconds since 1970."""


class Credentials(Protocol):
    """What clients sign and call with. `actor` is the public id of the credential that asks.

    Everything raises Refused for a tenant that there is not; a tenant of None is the operator.
    """

    async def access_keys(self, tenant: str) -> Sequence[Credential]:
        """List a tenant's access keys, oldest first."""

    async def create_access_key(self, tenant: str, *, actor: str) -> tuple[Credential, str]:
        """Make an access key. Returns: it, and its secret, to be shown once."""

    async def import_access_key(
        self, tenant: str, key_id: str, secret: str, *, actor: str
    ) -> Credential:
        """Store a given access key. Raises: Refused: malformed, or its id is taken."""

    async def delete_access_key(self, tenant: str, key_id: str, *, actor: str) -> None:
        """Revoke an access key. Raises: Refused: the tenant has no such key."""

    async def tokens(self, tenant: str | None) -> Sequence[Credential]:
        """List a tenant's or the operator's tokens, oldest first."""

    async def create_token(self, tenant: str | None, *, actor: str) -> tuple[Credential, str]:
        """Make a token. Returns: it, and its text, to be shown once."""

    async def delete_token(self, tenant: str | None, token_id: str, *, actor: str) -> None:
        """Revoke a token. Raises: Refused: the owner has no such token."""


class JoinTokens(Protocol):
    """What admits components, each once."""

    async def create(self, role: ComponentRole, *, life_s: int, actor: str) -> TokenMade:
        """Make a token. Raises: Refused: a life out of bounds, a role that joins without one."""

    async def page(
        self, *, after: str | None = None
    ) -> tuple[Sequence[JoinTokenRecord], str | None]:
        """List tokens by id, used and expired ones included. Returns: a page; what continues."""

    async def revoke(self, token_id: str, *, actor: str) -> None:
        """Let a token admit nobody any more. Raises: Refused: there is none."""
