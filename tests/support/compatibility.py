"""Reads docs/COMPATIBILITY.md: its lists of operations, and the tests that its tables name."""

from __future__ import annotations

import re
from typing import Final

from tests.support.server import ROOT

PAGE: Final = ROOT / "docs" / "COMPATIBILITY.md"
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_OPERATION: Final = re.compile(r"`([A-Z][A-Za-z]+)`")


def section(title: str) -> str:
    """Return the text under a heading of the second level. Raises: ValueError: there is none."""
    _, text = PAGE.read_text().split(f"\n## {title}\n", 1)
    return text.partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the rows of the tables in a text as cells, without headings and their rules."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    ruled = {at for at, row in enumerate(cells) if set("".join(row)) == {"-"}}
    return [row for at, row in enumerate(cells) if at not in ruled and at + 1 not in ruled]


def named_tests(text: str) -> list[tuple[str, str]]:
    """Return the tests that a text names, each as the file's path and the function's name."""
    return _TEST.findall(text)


def offered_and_not() -> tuple[set[str], set[str]]:
    """Return the names of the operations offered, and of those answered as unknown."""
    offered, unknown = (
        {name for row in rows(section(title)) for name in _OPERATION.findall(row[0] + row[1])}
        for title in ("Operations", "Operations that are not offered")
    )
    return offered, unknown
