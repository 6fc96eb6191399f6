"""The small bodies that the operator's requests have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from dstore.api.http.answer import JSON
from dstore.api.http.json_body import decode_object
from dstore.api.http.request_checks import media_type
from dstore.model.errors import invalid

if TYPE_CHECKING:
    from aiohttp import web

Member = TypeVar("Member", str, bool)


def members(request: web.Request, body: bytes, *, what: str, names: frozenset[str]) -> Any:
    """Decode a body that is an object of exactly these members, of whatever kind.

    Returns: them; None: it has others. Raises: Refused: it is no JSON object.
    """
    media_type(request, JSON)
    decoded = decode_object(body, what=what)
    return decoded if decoded.keys() == names else None


def only_member(
    request: web.Request, body: bytes, *, name: str, kind: type[Member], wanted: str
) -> Member:
    """Decode a body that is an object of one member.

    Args:
        request: says of which type it is.
        body: as it was received.
        name: the member's.
        kind: the type of its value.
        wanted: what the value is, for the sentence of a refusal.
    Raises: Refused: it is something else.
    """
    found = members(request, body, what="request", names=frozenset({name}))
    if found is None or type(found[name]) is not kind:
        raise invalid(f'The body is {{"{name}": {wanted}}}.')
    value: Member = found[name]
    return value
