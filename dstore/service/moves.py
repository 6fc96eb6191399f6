"""Asking again after a range was not where it was looked for; no client has to."""

from __future__ import annotations

from asyncio import get_running_loop
from typing import TYPE_CHECKING, TypeVar

from dstore.base.limits import PROXY_CALL_TIMEOUT_S, PROXY_RETRY_S_MAX, PROXY_RETRY_S_MIN
from dstore.model.errors import NotMine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dstore.model.ranges import Table
    from dstore.service.directory import Directory

Result = TypeVar("Result")


async def follow(
    directory: Directory, table: Table, at: NotMine, *, ask: Callable[[Table], Awaitable[Result]]
) -> Result:
    """Find a table anew and ask there, for up to PROXY_CALL_TIMEOUT_S.

    Args:
        directory: knows, sooner or later, where the range is.
        table: as it was when `at` was raised.
        at: what was raised.
        ask: does the request's work by the table that it is given, or raises NotMine and has done
            nothing.
    Raises: NotMine: the range is still not found. Refused: the table was deleted.
    """
    loop = get_running_loop()
    until_s, pause_s = loop.time() + PROXY_CALL_TIMEOUT_S, PROXY_RETRY_S_MIN
    while (left_s := until_s - loop.time()) > 0:
        found = await directory.moved(table, at, wait_s=min(pause_s, left_s))
        is_elsewhere = found.ranges != table.ranges
        pause_s = PROXY_RETRY_S_MIN if is_elsewhere else min(2 * pause_s, PROXY_RETRY_S_MAX)
        table = found
        try:
            return await ask(table)
        except NotMine as again:
            at = again
    raise at
