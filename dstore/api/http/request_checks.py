"""What a surface asks of a request's query and content type; what is not known is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs

from dstore.model.errors import RefusalKind, Refused, invalid

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp import web


def check_query(request: web.Request, allowed: Collection[str], *, signed: bool) -> None:
    """Refuse a query with a parameter that is unknown or comes twice.

    Args:
        request: as it came.
        allowed: the parameters that the operation knows.
        signed: whether a signature's own parameters may stand there.
    Raises: Refused (invalid).
    """
    if "?" not in request.raw_path:
        return
    query = request.query
    for name in query:
        is_signature = signed and name.lower().startswith("x-amz-")
        if name not in allowed and not is_signature:
            known = ", ".join(sorted(allowed)) or "none"
            raise invalid(f"The query has an unknown parameter; those known here: {known}.")
        if len(query.getall(name)) > 1:
            raise invalid(f"The query has {name} twice; send it once.")


def media_type(request: web.Request, *accepted: str) -> str:
    """Return the body's media type. Raises: Refused (415): it is none of `accepted`, in UTF-8."""
    given = request.headers.get(hdrs.CONTENT_TYPE, "")
    found, _, parameters = given.partition(";")
    found = found.strip().lower()
    charset = parameters.strip().lower().replace('"', "")
    if found not in accepted or charset not in {"", "charset=utf-8"}:
        raise Refused(
            RefusalKind.UNSUPPORTED_MEDIA_TYPE,
            f"Send the body with Content-Type: {' or '.join(accepted)}, in UTF-8.",
        )
    return found
