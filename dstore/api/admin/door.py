"""Who may enter: the operator, known by his token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import hdrs

from dstore.api.http.authentication import authenticate, is_signed
from dstore.api.http.body import read_body
from dstore.api.http.request_checks import check_query
from dstore.base.limits import KIB
from dstore.base.logging import get_logger
from dstore.model.errors import RefusalKind, Refused, invalid
from dstore.service.access import Principal, require_operator, unauthenticated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.service.use_cases import Gatekeeper

_BODY_BYTES_MAX: Final = 16 * KIB
_BEARER: Final = "bearer "
_audit = get_logger("audit")


class Serving(Protocol):
    """What serves clients: `service.use_cases.UseCases`, of which only this is asked."""

    @property
    def access(self) -> Gatekeeper:
        """Who is asking."""


class LocalDoor:
    """The door of a process that has the credentials in memory: a node alone, or a proxy."""

    def __init__(self, serving: Serving) -> None:
        """Ask the gatekeeper of `serving`."""
        self._serving = serving

    async def principal(self, request: web.Request, body: bytes | None) -> Principal:
        """See `Door.principal`."""
        return authenticate(request, self._serving.access, body)


class TokenDoor:
    """The door of control, where nobody signs: access keys are tenants', and stay outside."""

    def __init__(self, bearer: Callable[[str], Awaitable[Principal]]) -> None:
        """Ask `bearer`, which takes a token's whole Authorization header and may raise Refused."""
        self._bearer = bearer

    async def principal(self, request: web.Request, _body: bytes | None) -> Principal:
        """See `Door.principal`."""
        if is_signed(request):
            raise Refused(
                RefusalKind.FORBIDDEN,
                "An access key is a tenant's; control takes the operator's token: send "
                "Authorization: Bearer <token>.",
            )
        given = request.headers.getall(hdrs.AUTHORIZATION, ())
        if len(given) > 1:
            raise invalid("The request has two Authorization headers; send one.")
        if not given or not given[0].lower().startswith(_BEARER):
            raise unauthenticated("The request has no token; send Authorization: Bearer <token>.")
        return await self._bearer(given[0])


async def receive(
    request: web.Request, door: Door, *, parameters: Collection[str] = ()
) -> tuple[Principal, bytes]:
    """Let the operator in and read the body.

    Args:
        request: as it was received.
        door: tells who it is.
        parameters: those that the query may have.
    Raises: Refused: it is somebody else, or the query has another parameter.
    """
    signed = is_signed(request)
    principal = None if signed else await door.principal(request, None)
    if principal is not None:
        require_operator(principal)
    body = b""
    if request.can_read_body:
        body = await read_body(request, bytes_max=_BODY_BYTES_MAX)
    if principal is None:
        principal = await door.principal(request, body)
        require_operator(principal)
    check_query(request, parameters, signed=signed)
    return principal, body


def record_change(operation: str, principal: Principal, **fields: str | int) -> None:
    """Write down who changed what."""
    _audit.info("changed", operation=operation, principal_id=principal.credential, **fields)
