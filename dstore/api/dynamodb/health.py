"""`GET /`: healthy, for whoever asks; what load balancers in front of DynamoDB's own hosts ask."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs

from dstore.api.dynamodb.answers import plain_answer
from dstore.api.http.request_context import context_of
from dstore.model.errors import Unavailable, UnavailableKind

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.api.http.answer import Answer

_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


async def health(request: web.Request) -> Answer:
    """Answer 200, also under overload. Raises: Unavailable: the process is about to stop."""
    if context_of(request).admission.is_draining:
        raise Unavailable(UnavailableKind.DRAINING, "The server is about to stop.")
    host = request.headers.get(hdrs.HOST, "")
    shown = host if _HOST.fullmatch(host) else "dstore"
    return plain_answer(request, f"healthy: {shown} ".encode())  # the space is DynamoDB's own
