"""Run a few milliseconds of computing beside the event loop, in its default executor."""

from asyncio import get_running_loop
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(work: Callable[[], Result]) -> Result:
    """Return what `work` returns, or raise what it raises; a cancelled caller does not stop it."""
    return await get_running_loop().run_in_executor(None, work)


async def in_thread_if(is_large: bool, work: Callable[[], Result]) -> Result:  # noqa: FBT001 - reads as a sentence
    """Return what `work` returns, computed in a thread only if that is worth the way there."""
    return await in_thread(work) if is_large else work()
