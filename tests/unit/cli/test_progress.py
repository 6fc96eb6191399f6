"""The bar of long commands: on a terminal, late, and gone at the end."""

import io
import sys

import pytest

from dstore.base.clock import NS_PER_MS, SystemClock
from dstore.cli import progress
from dstore.cli.progress import ProgressBar


class Terminal(io.StringIO):
    """A terminal to write on."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal, and stdout none."""
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    return screen


class SlowClock(SystemClock):
    """A clock on which every look takes half a second."""

    now_ms = 0

    def monotonic_ns(self) -> int:
        SlowClock.now_ms += 500
        return SlowClock.now_ms * NS_PER_MS


def drawn(screen: Terminal, *, shares_stdout: bool = False, total: int | None = 40) -> str:
    """Walk through forty items."""
    asked: list[int] = []

    def ask() -> int | None:
        asked.append(1)
        return total

    with ProgressBar("Reading [x]", total=ask, shares_stdout=shares_stdout) as bar:
        for items in (10, 20, 30, 40):
            bar.advance(items)
    assert len(asked) == (1 if screen.getvalue() else 0)
    return screen.getvalue()


def test_short_command_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And doesn't ask how much there is, which may cost a request."""
    assert drawn(on_terminal(monkeypatch)) == ""


@pytest.mark.parametrize("total", [40, 0, None])
def test_long_command_draws_a_bar_and_takes_it_away(
    monkeypatch: pytest.MonkeyPatch, total: int | None
) -> None:
    """With the items so far, whether or not anybody knows of how many."""
    monkeypatch.setattr(progress, "SystemClock", SlowClock)
    screen = drawn(on_terminal(monkeypatch), total=total)
    assert "Reading [x]" in screen
    assert "40 items" in screen
    assert screen.endswith("\x1b[1A\x1b[2K"), "the line is wiped"


def test_no_terminal_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log file is no place for it."""
    monkeypatch.setattr(progress, "SystemClock", SlowClock)
    monkeypatch.setattr(sys, "stderr", screen := io.StringIO())
    with ProgressBar("Reading", total=lambda: 1, shares_stdout=False) as bar:
        bar.advance(1)
        bar.advance(2)
    assert screen.getvalue() == ""


def test_data_on_the_same_terminal_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The items themselves show that it goes on."""
    monkeypatch.setattr(progress, "SystemClock", SlowClock)
    terminal = on_terminal(monkeypatch)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert drawn(terminal, shares_stdout=True) == ""
    assert "items" in drawn(terminal, shares_stdout=False)
