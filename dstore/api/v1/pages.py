"""Pages of a list: `limit` and the opaque `after`."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from dstore.base.limits import CURSOR_CHARS_MAX, LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX
from dstore.model.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.api.v1.exchange import Exchange

PARAMETERS: Final = ("limit", "after")
_FORMAT: Final = b"\x01"


def limit_of(exchange: Exchange) -> int:
    """Read `limit`. Raises: Refused: it is no number from 1 to LIST_LIMIT_MAX."""
    text = exchange.request.query.get("limit")
    if text is None:
        return LIST_LIMIT_DEFAULT
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(LIST_LIMIT_MAX))):
        raise _bad_limit()
    limit = int(text)
    if not 1 <= limit <= LIST_LIMIT_MAX:
        raise _bad_limit()
    return limit


def after_of(exchange: Exchange) -> bytes:
    """Read `after`: the key behind which the page begins, b"" for the first page.

    It is no secret and no authority: whatever a client makes up is a place in its own table.
    Raises: Refused: it is not one that a former page gave.
    """
    text = exchange.request.query.get("after")
    if text is None:
        return b""
    try:
        if len(text) > CURSOR_CHARS_MAX or not text.isascii():
            raise _bad_after()
        decoded = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise _bad_after() from None
    # The decoder skips what is not of its alphabet: only the one spelling that was given counts.
    if decoded[:1] != _FORMAT or after_text(decoded[1:]) != text:
        raise _bad_after()
    return decoded[1:]


def after_text(key: bytes) -> str:
    """Spell the place behind `key` for the next page's `after`."""
    return urlsafe_b64encode(_FORMAT + key).rstrip(b"=").decode()


def page_of_names(names: Sequence[str], exchange: Exchange) -> tuple[list[str], str | None]:
    """Cut a page out of sorted names. Returns: the names, and `after` if there are more."""
    after = after_of(exchange).decode("utf-8", "replace")
    limit = limit_of(exchange)
    start = bisect_right(names, after)
    page = list(names[start : start + limit])
    return page, after_text(page[-1].encode()) if len(names) > start + limit else None


def _bad_limit() -> Exception:
    return invalid(f"limit must be a number from 1 to {LIST_LIMIT_MAX}.")


def _bad_after() -> Exception:
    return invalid("after must be what the former page's `after` was.")
