"""Trimming a range's log: never what somebody reads, and never much at once."""

from __future__ import annotations

from typing import Any

import apsw

from dstore.base.limits import LOG_RECORDS_KEPT, LOG_RECORDS_TRIMMED, LOG_RECORDS_TRIMMED_MAX
from dstore.storage.range_log import LogEnd, trim

LONG = 64 * LOG_RECORDS_TRIMMED + LOG_RECORDS_KEPT


def a_log(count: int) -> apsw.Connection:
    """Make a log of which only the places matter."""
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE log (SEQ INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO log VALUES (?)", [(seq,) for seq in range(1, count + 1)])
    return connection


def first_of(connection: apsw.Connection) -> int:
    """Find the oldest record."""
    rows: list[tuple[Any, ...]] = connection.execute("SELECT min(SEQ) FROM log").fetchall()
    return int(rows[0][0])


def test_what_was_kept_for_a_reader_goes_bit_by_bit() -> None:
    """A write that found a hundred thousand records to delete would hold up all behind it."""
    connection = a_log(LONG)
    end = LogEnd(epoch=1, seq=LONG, digest=b"", quantity=0)
    trim(connection, end)
    assert first_of(connection) == 1 + LOG_RECORDS_TRIMMED_MAX
    for _ in range(LONG):
        trim(connection, end)
    assert first_of(connection) == LONG - LOG_RECORDS_KEPT + 1


def test_what_is_wanted_stays() -> None:
    """The reader stands at a record, whose digest it needs too."""
    connection = a_log(LONG)
    end = LogEnd(epoch=1, seq=LONG, digest=b"", quantity=0)
    for _ in range(LONG):
        trim(connection, end, wanted_after_seq=70)
    assert first_of(connection) == 70


def test_more_goes_than_comes() -> None:
    """However much was kept, it is gone some time."""
    assert LOG_RECORDS_TRIMMED_MAX > LOG_RECORDS_TRIMMED
