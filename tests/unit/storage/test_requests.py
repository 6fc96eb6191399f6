"""Requests are remembered for their time, and in a table that does not grow for ever."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest

from dstore.base.deferred_limits import REQUEST_KEPT_S
from dstore.base.limits import REQUEST_RETENTION_S, REQUESTS_TRIMMED
from dstore.storage import requests
from dstore.storage.requests import RequestAnswer, RequestName
from dstore.storage.schema import Schema, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_US = REQUEST_RETENTION_S * 1_000_000
BEGAN_US = 1_800_000_000_000_000
ANSWER = RequestAnswer(False, "1")


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    """Give a range's schema in memory."""
    with closing(apsw.Connection(":memory:")) as made:
        upgrade(made, Schema.RANGE)
        yield made


def name(number: int, *, accepted_us: int | None = None) -> RequestName:
    return RequestName(
        principal="t/k", request_id=str(number), digest=b"1", accepted_us=accepted_us
    )


def remember(connection: apsw.Connection, number: int, *, time_us: int, seq: int = 1) -> None:
    requests.remember(connection, name(number), answer=ANSWER, seq=seq, time_us=time_us)


def count(connection: apsw.Connection) -> int:
    return len(connection.execute("SELECT 1 FROM request").fetchall())


def test_a_request_is_known_for_its_time_and_not_longer(connection: apsw.Connection) -> None:
    """An old key found at some later time by chance, as trimming had it, is no contract."""
    remember(connection, 1, time_us=BEGAN_US)
    assert requests.find(connection, name(1), time_us=BEGAN_US + KEPT_US) == ANSWER
    assert requests.find(connection, name(1), time_us=BEGAN_US + KEPT_US + 1) is None


def test_one_past_its_time_gives_way_to_its_namesake(connection: apsw.Connection) -> None:
    """The same key an hour later is a new request, whether or not the old one is gone."""
    late_us = BEGAN_US + 2 * KEPT_US
    for number in range(REQUESTS_TRIMMED + 1):
        remember(connection, number, time_us=BEGAN_US + number)
    remember(connection, REQUESTS_TRIMMED, time_us=late_us)
    assert requests.find(connection, name(REQUESTS_TRIMMED), time_us=late_us + 1) == ANSWER


def test_a_request_that_waited_finds_its_own_answer(connection: apsw.Connection) -> None:
    """It may have been done before a crash, and the restart may have come much later."""
    remember(connection, 1, time_us=BEGAN_US + 5)
    late_us = BEGAN_US + 10 * KEPT_US
    assert requests.find(connection, name(1, accepted_us=BEGAN_US), time_us=late_us) == ANSWER
    later_us = BEGAN_US + 2 * KEPT_US
    assert requests.find(connection, name(1, accepted_us=later_us), time_us=late_us) is None


def test_old_requests_go_as_new_ones_come(connection: apsw.Connection) -> None:
    """They went only with every 512th record of the log, if that one had a key: mostly never."""
    for number in range(400):
        remember(connection, number, time_us=BEGAN_US)
    assert count(connection) == 400
    for number in range(400, 540):
        remember(connection, number, time_us=BEGAN_US + (REQUEST_KEPT_S + 1) * 1_000_000)
    assert count(connection) == 140
