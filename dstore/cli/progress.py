"""How far a long command is: a bar on stderr, on a terminal only, and gone when it is done."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from dstore.base.clock import NS_PER_MS, SystemClock

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Shorter commands show nothing, as a bar that flashes tells nobody anything.
_PATIENCE_MS: Final = 700


class ProgressBar:
    """Count items; draw them once the command has proved long.

    `total` is asked when the bar appears: finding it out may cost a request.
    """

    def __init__(self, what: str, *, total: Callable[[], int | None], shares_stdout: bool) -> None:
        """Say nothing yet.

        Args:
            what: the bar's caption.
            total: how much there is of what `advance` reports; None if nobody knows.
            shares_stdout: whether the command's data goes to stdout; a bar among data on the same
                terminal would disturb both.
        """
        self._what = what
        self._total = total
        self._is_wanted = sys.stderr.isatty() and not (shares_stdout and sys.stdout.isatty())
        self._clock = SystemClock()
        self._shown_at_ns = self._clock.monotonic_ns() + _PATIENCE_MS * NS_PER_MS
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away, before an error's sentence is printed."""
        if self._bar is not None:
            self._bar.stop()

    def advance(self, items: int, *, done: int | None = None) -> None:
        """Tell how many items there have been in all.

        Args:
            items: so far.
            done: so far, in the unit of `total`, if that is not items.
        """
        if not self._is_wanted:
            return
        if self._bar is None:
            if self._clock.monotonic_ns() < self._shown_at_ns:
                return
            self._bar, self._task = self._drawn()
        assert self._task is not None, "they are made together"
        self._bar.update(self._task, completed=items if done is None else done, items=items)

    def _drawn(self) -> "tuple[Progress, TaskID]":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[items]:,} items"),
            TimeElapsedColumn(),
            TextColumn("left"),
            Remaining(),
            console=Console(stderr=True),
            transient=True,
        )
        task = bar.add_task(self._what, total=self._total() or None, items=0)
        bar.start()
        return bar, task
