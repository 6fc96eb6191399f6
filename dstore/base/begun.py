"""Run a coroutine at once, as far as it goes without waiting."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def begun(work: Coroutine[Any, Any, Result]) -> Result | Coroutine[Any, Any, Result]:
    """Run `work` until it waits for something, outside any task of its own.

    A task for what mostly ends at once costs more than the work. What begins here must not ask for
    its task before it first waits (`asyncio.timeout` does).

    Returns: what `work` returned; or what is left of it, to be awaited once.
    Raises: what `work` raised before it waited.
    """
    try:
        awaited = work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    return _rest(work, awaited)


async def _rest(work: Coroutine[Any, Any, Result], awaited: Any) -> Result:
    return await _handed_on(work, awaited)


@coroutine
def _handed_on(work: Coroutine[Any, Any, Result], awaited: Any) -> Generator[Any, Any, Result]:
    """Wait for what `work` waits for in its place, and hand everything on to it."""
    while True:
        try:
            sent = yield awaited
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - the work's own to handle
            step = partial(work.throw, error)
        else:
            step = partial(work.send, sent)
        try:
            awaited = step()
        except StopIteration as end:
            result: Result = end.value
            return result
