"""Scripts of any web page may call the API: a signature proves who sent a request, not a cookie.

As DynamoDB does it: whoever names an Origin is allowed, and a preflight is allowed what it asks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs

if TYPE_CHECKING:
    from aiohttp import web

_ALLOWED: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date",
}
_MAX_AGE_S: Final = "172800"  # two days, as DynamoDB's
# Names of headers or a method: what may be sent back without thinking about what it does there.
_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}")


def cors_headers(request: web.Request) -> dict[str, str]:
    """Return the headers that an answer gets; none if the request has no Origin."""
    return dict(_ALLOWED) if hdrs.ORIGIN in request.headers else {}


def preflight_headers(request: web.Request) -> dict[str, str]:
    """Return the headers of the answer to an OPTIONS request that has an Origin."""
    headers = {**_ALLOWED, "Access-Control-Max-Age": _MAX_AGE_S}
    for asked, allowed in (
        (hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "Access-Control-Allow-Headers"),
        (hdrs.ACCESS_CONTROL_REQUEST_METHOD, "Access-Control-Allow-Methods"),
    ):
        names = request.headers.get(asked, "")
        if _NAMES.fullmatch(names):
            headers[allowed] = names
    return headers
