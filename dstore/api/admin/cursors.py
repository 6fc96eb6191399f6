"""Where a list goes on: the opaque `after` of the admin API's pages, and the query around it."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, TypeVar

import msgspec

from dstore.base.limits import CURSOR_CHARS_MAX
from dstore.model.errors import invalid

if TYPE_CHECKING:
    from aiohttp import web

Place = TypeVar("Place")


def after_of(request: web.Request, form: type[Place]) -> Place | None:
    """Read `after`: behind which row a page begins, None for the first page.

    Raises: Refused: it is not one that a former page gave.
    """
    text = request.query.get("after")
    if text is None:
        return None
    try:
        if len(text) > CURSOR_CHARS_MAX or not text.isascii():
            raise _bad_after()
        decoded = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(decoded, type=form)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise _bad_after() from None


def after_text(place: object) -> str | None:
    """Spell where the next page begins; None behind the last one."""
    if place is None:
        return None
    return urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def _bad_after() -> Exception:
    return invalid("after must be what the former page's `after` was.")
