"""Numbered SQL steps, applied once and in order; the store remembers the number reached.

They run in one transaction, under the lock that every writing transaction takes: of two control
processes that start at once, one applies them and the other finds them done. A crash leaves all or
none. A store of a later dStore is refused, untouched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from dstore.model.errors import Corrupt
from dstore.storage.control.store import Transaction

_STATEMENT_END: Final = re.compile(r";\s*\n")
_COMMENT: Final = re.compile(r"--[^\n]*")


async def bring_up_to_date(tx: Transaction, *, steps: Sequence[str] | None = None) -> int:
    """Apply the steps that are missing.

    Args:
        tx: a writing transaction of its own; its commit is the upgrade's.
        steps: the text of each, first to last; those of this version if None.
    Returns: how many were applied.
    Raises: Corrupt: the store has steps that this version does not know; nothing was changed.
    """
    known = _steps() if steps is None else steps
    await tx.change("CREATE TABLE IF NOT EXISTS schema_step (number BIGINT NOT NULL PRIMARY KEY)")
    found = await tx.rows("SELECT COALESCE(MAX(number), 0) FROM schema_step")
    reached: int = found[0][0]
    if reached > len(known):
        raise Corrupt(
            f"Control's store has schema {reached}; this dStore knows {len(known)}. "
            "Start the newer dStore that wrote it.",
            file="control",
            where="schema",
        )
    for number in range(reached + 1, len(known) + 1):
        for statement in _statements(known[number - 1]):
            await tx.change(statement)
        await tx.change("INSERT INTO schema_step (number) VALUES ($1)", number)
    return len(known) - reached


@cache
def _steps() -> tuple[str, ...]:
    folder = files(__package__) / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple((folder / name).read_text() for name in names)


def _statements(step: str) -> list[str]:
    """Split a step: a statement ends with a semicolon at the end of a line."""
    without_comments = _COMMENT.sub("", step)
    return [part for part in map(str.strip, _STATEMENT_END.split(without_comments + "\n")) if part]
