"""Futures that outlive those who wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def into(future: asyncio.Future[Any], work: Coroutine[Any, Any, Any]) -> None:
    """Put what becomes of `work` into a future; run it as a task that somebody owns.

    Whoever waits for the future and is cancelled leaves the work alone, and what it raises is the
    future's, not a failure of the task.
    """
    try:
        result = await work
    except asyncio.CancelledError:
        future.cancel()
        raise
    except Exception as error:  # noqa: BLE001 -- handed on
        if not future.done():
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(result)
