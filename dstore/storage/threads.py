"""The threads that storage works in; after a failure that ends the process they take on nothing."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from dstore.model.errors import Unavailable, UnavailableKind

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class StorageThreads(ThreadPoolExecutor):
    """A pool of threads that can be told to do nothing more.

    After a failed sync a later one may succeed although what the first one should have written is
    gone, so no batch may be begun, let alone acknowledged, while the process waits for its end.
    """

    def __init__(self, threads: int) -> None:
        """Start with none; they are made when needed, at most `threads`."""
        super().__init__(threads, thread_name_prefix="storage")
        self._is_halted = False

    @property
    def is_halted(self) -> bool:
        """Whether nothing more may be done."""
        return self._is_halted

    def halt(self) -> None:
        """Refuse all work from now on; callable from any thread."""
        self._is_halted = True

    def submit(  # type: ignore[override] # the base takes any keywords; nobody here uses one
        self, fn: Callable[..., Result], /, *args: Any
    ) -> Future[Result]:
        """Do `fn` in a thread; once halted, answer that it was not done."""
        if not self._is_halted:
            return super().submit(self._run, fn, *args)
        refused: Future[Result] = Future()
        refused.set_exception(_ending())
        return refused

    def _run(self, fn: Callable[..., Result], *args: Any) -> Result:
        if self._is_halted:  # since it was queued
            raise _ending()
        return fn(*args)


def _ending() -> Unavailable:
    return Unavailable(
        UnavailableKind.DRAINING,
        "The server ends because of a failure of its disk; nothing was written. Retry later.",
        retry_after_ms=1_000,
    )
