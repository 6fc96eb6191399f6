"""Reading what the server answered, and walking the pages of its lists."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dstore.cli.client import Answer, Client, Request, UrlPath
from dstore.cli.failures import Failure
from dstore.cli.output import Page

PAGE_ROWS: Final = 1_000  # the server's LIST_LIMIT_MAX: the fewest requests


def document(answer: Answer) -> dict[str, Any]:
    """Read an answer that is one JSON object.

    Raises: Failure: it is not; something other than dStore answers there.
    """
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise unexpected()
    return found


def fields_or_none(answer: Answer) -> dict[str, Any]:
    """Read an answer that may have no body."""
    return document(answer) if answer.body else {}


def pages(
    client: Client,
    path: UrlPath,
    *,
    key: str,
    after: str | None = None,
    rows_max: int | None = None,
    query: dict[str, str] | None = None,
) -> Iterator[Page]:
    """Ask for a list until its end, or until there are `rows_max` rows.

    Args:
        client: whom to ask.
        path: of the list.
        key: the name of the answer's array.
        after: where a former list ended; None is the beginning.
        rows_max: None means all.
        query: what else to ask for.
    """
    rows_left = rows_max
    while True:
        limit = PAGE_ROWS if rows_left is None else min(PAGE_ROWS, rows_left)
        asked = {**(query or {}), "limit": str(limit)}
        if after is not None:
            asked["after"] = after
        page = _page(client.call(Request(method="GET", path=path, query=asked)), key)
        yield page
        if page.after is None:
            return
        if page.after == after:
            raise unexpected()  # it would never end
        after = page.after
        if rows_left is not None:
            rows_left -= len(page.rows)
            if rows_left <= 0:
                return


def whole_list(client: Client, path: UrlPath, *, key: str) -> Iterator[Page]:
    """Ask for a list that comes in one piece."""
    yield _page(client.call(Request(method="GET", path=path)), key)


def pages_of_control(
    client: Client,
    path: UrlPath,
    *,
    key: str,
    query: Mapping[str, str] | None = None,
) -> Iterator[Page]:
    """Ask control for a list, whose pages are as long as it likes, until its end.

    Args:
        client: whom to ask.
        path: of the list.
        key: the name of the answer's array.
        query: what else to ask for.
    """
    asked = dict(query or {})
    while True:
        request = Request(method="GET", path=path, query=asked)
        page = _page(client.call(request), key)
        yield page
        if page.after is None:
            return
        if page.after == asked.get("after"):
            raise unexpected()  # it would never end
        asked = {**asked, "after": page.after}


def _page(answer: Answer, key: str) -> Page:
    """Take a page apart without reading its rows, so that numbers keep their digits."""
    import msgspec

    try:
        parts = msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw])
        rows = msgspec.json.decode(parts[key], type=list[msgspec.Raw])
        after = msgspec.json.decode(parts.get("after", b"null"), type=str | None)
    except (KeyError, msgspec.DecodeError):
        raise unexpected() from None
    return Page(rows=[bytes(row) for row in rows], after=after)


def unexpected() -> Failure:
    """Make the failure of an answer that another version of dStore may have given."""
    return Failure(
        "The server's answer is not what this version of dstore reads; compare versions."
    )
