"""Staying with a task of control to its end: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from dstore.cli.answers import document
from dstore.cli.client import Client, Request, UrlPath, path_of
from dstore.cli.failures import ExitCode, Failure
from dstore.cli.output import note
from dstore.cli.sizes import duration_text, size_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import Progress, TaskID

_POLL_S: Final = 0.5
_FINAL: Final = frozenset({"done", "failed", "cancelled"})

wait_option = click.option("--wait", is_flag=True, help="Stay until it is done, and tell how far.")


def task_path(*rest: str) -> UrlPath:
    """Name what there is of tasks."""
    return path_of("admin", "v1", "task", *rest)


def found_task(server: Client, task_id: str) -> dict[str, Any]:
    """Ask for a task. Raises: Failure: there is none, or nobody answers."""
    return document(server.call(Request(method="GET", path=task_path(task_id))))


def await_end(server: Client, task_id: object, *, what: str) -> None:
    """Stay until a task is finished. Raises: Failure: it ended otherwise than well."""
    if not isinstance(task_id, str):
        return
    found = followed(server, task_id)
    state = found.get("state")
    if state == "cancelled":
        raise Failure(f"{what}: it was taken back.")
    if state != "done":
        raise Failure(f"{what}: {found.get('error') or state}", exit_code=ExitCode.FAILED)
    note(f"{what}: done.")


def followed(server: Client, task_id: str) -> dict[str, Any]:
    """Ask until a task is finished, and say when something about it changed."""
    teller: _Teller = _Bar() if sys.stderr.isatty() else _Lines()
    try:
        while True:
            found = found_task(server, task_id)
            if found.get("state") in _FINAL:
                return found
            teller.tell(found)
            time.sleep(_POLL_S)
    finally:
        teller.end()


def progress_text(found: Mapping[str, Any]) -> str:
    """Spell a task's progress, whatever it writes down of it."""
    match found.get("progress"):
        case dict() as progress if "movesTotal" in progress:
            return moves_text(progress)
        case dict() as progress:
            return ", ".join(f"{name} {_plain(value)}" for name, value in progress.items())
        case None | "":
            return ""
        case other:
            return _plain(other)


def moves_text(progress: Mapping[str, Any]) -> str:
    """Spell how far moves of replicas are: bytes, pace and the time that is left."""
    done, total = progress.get("doneBytes", 0), progress.get("totalBytes", 0)
    words = [f"{progress.get('movesDone', 0)} of {progress.get('movesTotal', 0)} moves"]
    if total:
        words.append(f"{size_text(done)} of {size_text(total)} ({100 * done // total} %)")
    pace, left_s = progress.get("bytesPerS"), progress.get("leftS")
    if total and pace:
        words.append(f"{size_text(pace)}/s")
    if total and left_s is not None:
        words.append(f"{duration_text(left_s)} left")
    if progress.get("isPaused"):
        words.append("moves are paused")
    return ", ".join(words)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _Teller(Protocol):
    """Whoever says how far a task is."""

    def tell(self, found: Mapping[str, Any]) -> None:
        """Say it."""

    def end(self) -> None:
        """Say no more."""


class _Lines:
    """A line for each change."""

    def __init__(self) -> None:
        self._said = ""

    def tell(self, found: Mapping[str, Any]) -> None:
        words = [str(found.get("state")), progress_text(found), str(found.get("error") or "")]
        line = ", ".join(word for word in words if word)
        if line != self._said:
            note(line)
            self._said = line

    def end(self) -> None:
        pass


class _Bar:
    """A bar that is gone at the end."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def tell(self, found: Mapping[str, Any]) -> None:
        if self._bar is None:
            self._begin(str(found.get("kind")))
        assert self._bar is not None
        assert self._task is not None
        words = [progress_text(found) or str(found.get("state")), str(found.get("error") or "")]
        progress = found.get("progress")
        shares = progress if isinstance(progress, dict) else {}
        by_bytes = bool(shares.get("totalBytes"))
        self._bar.update(
            self._task,
            completed=shares.get("doneBytes" if by_bytes else "movesDone", 0),
            total=shares.get("totalBytes" if by_bytes else "movesTotal") or None,
            words=", ".join(word for word in words if word),
        )

    def _begin(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[words]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(what, total=None, words="")
        self._bar.start()

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
