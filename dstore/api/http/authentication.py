"""Find out who sent a request: a bearer token, or a SigV4 signature over the whole request."""

import hashlib
from typing import Final

from aiohttp import hdrs, web

from dstore.model.errors import invalid
from dstore.security.sigv4_parts import is_signed_in_query
from dstore.service.access import Principal, SignedRequest, unauthenticated
from dstore.service.use_cases import Gatekeeper

_BEARER: Final = "bearer "
_SIGNED: Final = "AWS4-HMAC-SHA256"
_HOW: Final = "Send Authorization: Bearer <token>, or sign the request with an access key."


def is_signed(request: web.Request) -> bool:
    """Tell whether the request carries a signature, for which its body must be read first."""
    authorization = request.headers.get(hdrs.AUTHORIZATION, "")
    if authorization.startswith(_SIGNED):
        return True
    return "?" in request.raw_path and is_signed_in_query(_raw_query(request))


def authenticate(request: web.Request, access: Gatekeeper, body: bytes | None) -> Principal:
    """Name the principal of a request.

    Args:
        request: as it was received.
        access: who knows the credentials.
        body: the raw body; None before it was read, which is enough for a token.
    Raises: Refused: no credential, two, or one that is not valid.
    """
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    if len(given) > 1:
        raise invalid("The request has two Authorization headers; send one.")
    authorization = given[0] if given else ""
    if authorization[: len(_BEARER)].lower() == _BEARER:
        if "?" in request.raw_path and is_signed_in_query(_raw_query(request)):
            raise invalid("The request has a token and a signature; send one of them.")
        return access.bearer(authorization)
    if not is_signed(request):
        raise unauthenticated(f"The request has no credential. {_HOW}")
    assert body is not None, "a signature is checked after the body was read"
    signed = SignedRequest(
        method=request.method,
        target=request.raw_path,
        headers=request.raw_headers,
        body_sha256=hashlib.sha256(body).hexdigest(),
    )
    return access.signature(signed)


def _raw_query(request: web.Request) -> bytes:
    return request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")
