"""Asking again after a range was not where it was looked for; no client has to."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from dstore.base.limits import MOVES_FOLLOWED_MAX
from dstore.model.errors import NotMine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dstore.model.ranges import Table
    from dstore.service.directory import Directory

Result = TypeVar("Result")


async def follow(
    directory: Directory, table: Table, at: NotMine, *, ask: Callable[[Table], Awaitable[Result]]
) -> Result:
    """Find a table anew and ask there, up to MOVES_FOLLOWED_MAX times.

    Args:
        directory: knows, sooner or later, where the range is.
        table: as it was when `at` was raised.
        at: what was raised.
        ask: does the request's work by the table that it is given, or raises NotMine and has done
            nothing.
    Raises: NotMine: the range is still not found. Refused: the table was deleted.
    """
    for _ in range(MOVES_FOLLOWED_MAX):
        table = await directory.moved(table, at)
        try:
            return await ask(table)
        except NotMine as again:
            at = again
    raise at
