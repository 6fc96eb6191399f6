"""What every v1 handler does first: read the body, name the principal, check what was asked."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from dstore.api.http.authentication import authenticate, is_signed
from dstore.api.http.body import inflate_body, receive_body
from dstore.api.http.json_body import decode_object
from dstore.api.http.request_checks import check_query, media_type
from dstore.base.limits import (
    IDEMPOTENCY_KEY_CHARS_MAX,
    INLINE_JSON_BYTES_MAX,
    V1_BODY_BYTES_MAX,
)
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import invalid
from dstore.service.access import Principal, authorize, require_same_tenant
from dstore.storage.requests import RequestName

if TYPE_CHECKING:
    from collections.abc import Collection

    from dstore.service.use_cases import UseCases

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
RID: Final = "DStore-RID"

_audit = get_logger("audit")


class Exchange:
    """One authenticated v1 request with its body."""

    __slots__ = ("body", "principal", "request")

    def __init__(self, request: web.Request, principal: Principal, body: bytes) -> None:
        """Keep the three; `receive` makes them."""
        self.request = request
        self.principal = principal
        self.body = body

    @classmethod
    async def receive(
        cls, request: web.Request, cases: UseCases, *, allowed: Collection[str] = ()
    ) -> Exchange:
        """Authenticate, let the principal at the tenant in the path, read the body.

        A token is checked before the body is read, a signature after it, since it covers it as it
        was sent, hence before it is decompressed. The tenant is looked up only later, so that one's
        existence does not show (I11).

        Args:
            request: as it came.
            cases: the use cases of this process.
            allowed: the query's parameters that this operation knows.
        Raises: Refused: no valid credential, another's tenant, an unknown or doubled parameter.
        """
        signed = is_signed(request)
        principal = None if signed else authenticate(request, cases.access, None)
        if principal is not None:
            _authorize(principal, request)
        body = b""
        if request.can_read_body:
            body = await receive_body(request, bytes_max=V1_BODY_BYTES_MAX)
        if principal is None:
            principal = authenticate(request, cases.access, body)
            _authorize(principal, request)
        if hdrs.CONTENT_ENCODING in request.headers:
            body = await inflate_body(request, body, bytes_max=V1_BODY_BYTES_MAX)
        if body:
            require_same_tenant(principal, cases.directory)  # behind all the time that it took
        check_query(request, allowed, signed=signed)
        return cls(request, principal, body)

    def value(self, name: str) -> str:
        """Return a value of the path, percent-decoded."""
        return self.request.match_info[name]

    def header(self, name: str) -> str | None:
        """Return a header that is a list, its lines joined (RFC 9110 5.3); None if it is absent."""
        lines = self.request.headers.getall(name, None)
        return None if lines is None else ", ".join(lines)

    def flag(self, name: str) -> bool:
        """Read a query parameter that is `true` or `false`. Raises: Refused: it is neither."""
        match self.request.query.get(name, "false"):
            case "true" | "":
                return True
            case "false":
                return False
            case _:
                raise invalid(f"{name} must be true or false.")

    def media_type(self, *accepted: str) -> str:
        """Return the body's media type. Raises: Refused (415): it is none of `accepted`."""
        return media_type(self.request, *accepted)

    @property
    def is_large(self) -> bool:
        """Whether working on the body takes so long that it belongs into a thread."""
        return len(self.body) > INLINE_JSON_BYTES_MAX

    async def json_object(self, what: str) -> dict[str, Any]:
        """Decode the body; a large one in a thread. Raises: Refused: see `decode_object`."""
        if self.is_large:
            return await in_thread(lambda: decode_object(self.body, what=what))
        return decode_object(self.body, what=what)

    def request_name(self) -> RequestName | None:
        """Name the request by its `Idempotency-Key`, if it has one (I9).

        A signature in the query is no part of it: the retry is signed anew.
        Raises: Refused: the key is empty, too long or not printable.
        """
        key = self.request.headers.get(IDEMPOTENCY_KEY)
        if key is None:
            return None
        if not 0 < len(key) <= IDEMPOTENCY_KEY_CHARS_MAX or not key.isprintable():
            raise invalid(
                f"{IDEMPOTENCY_KEY} must have 1 to {IDEMPOTENCY_KEY_CHARS_MAX} "
                "printable characters."
            )
        digest = hashlib.sha256()
        for part in (
            self.request.method,
            self.request.rel_url.raw_path,
            *_asked(self.request),
            *(
                self.header(name) or ""
                for name in (hdrs.CONTENT_TYPE, hdrs.IF_MATCH, hdrs.IF_NONE_MATCH)
            ),
        ):
            encoded = part.encode("utf-8", "surrogateescape")
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        digest.update(self.body)
        return RequestName(
            principal=f"{self.principal.tenant or ''}/{self.principal.credential}",
            request_id=key,
            digest=digest.digest(),
        )

    def audit(self, operation: str, **fields: str) -> None:
        """Log what the operator or a tenant changed about the house, by whose credential."""
        _audit.info(
            "changed",
            operation=operation,
            principal_id=self.principal.credential,
            by="operator" if self.principal.is_operator else "tenant",
            **fields,
        )


def _asked(request: web.Request) -> list[str]:
    """Return the query's parameters in order of their names, a signature's own left out."""
    if "?" not in request.raw_path:
        return []
    return [
        f"{name}={value}"
        for name, value in sorted(request.query.items())
        if not name.lower().startswith("x-amz-")
    ]


def _authorize(principal: Principal, request: web.Request) -> None:
    tenant = request.match_info.get("tenant")
    if tenant is not None:
        authorize(principal, tenant)
