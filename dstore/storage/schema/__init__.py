"""Numbered SQL steps, applied once and in order; the number reached is the file's user_version.

A file made by an earlier dStore is brought up to date when it is opened. A file made by a later
one is refused, untouched: going back is possible down to the last step that only added things.
"""

from enum import StrEnum
from functools import cache
from importlib.resources import files

import apsw

from dstore.model.errors import Corrupt


class Schema(StrEnum):
    """The kinds of database there are; each has its own steps `<kind>_NNNN.sql`."""

    RANGE = "range"
    NODE = "node"


class TooNew(Corrupt):
    """The file was written by a later dStore."""


def newest(schema: Schema) -> int:
    """The number of the last step; a range file's TABLE_VERSION."""
    return len(_steps(schema))


def upgrade(connection: apsw.Connection, schema: Schema) -> int:
    """Apply the missing steps, each in a transaction of its own that also moves the number.

    Returns: how many were applied.
    Raises: TooNew: the file has steps that this version does not know.
    """
    steps = _steps(schema)
    reached: int = connection.pragma("user_version")
    if reached > len(steps):
        raise TooNew(
            f"The {schema} database has schema {reached}; this dStore knows {len(steps)}. "
            "Start the newer dStore that wrote it.",
            file=connection.filename.rpartition("/")[2],
            where="schema",
        )
    for number in range(reached + 1, len(steps) + 1):
        with connection:
            connection.execute(steps[number - 1])
            connection.pragma("user_version", number)
    return len(steps) - reached


@cache  # each opening of a file asks for them
def _steps(schema: Schema) -> list[str]:
    folder = files(__package__)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith(f"{schema}_"))
    return [(folder / name).read_text() for name in names]
