"""Large bodies and answers are worked on beside the event loop: others do not wait for them."""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from tests.api.contract import entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.contract import CheckedClient
    from tests.support.server import Server

# As many elements as fit: 2 bytes of DynamoDB's count each, in 400 KiB.
ZEROS = b'{"a":[' + b"0," * 130_000 + b"0]}"
REFUSED = b'{"a":[' + b"0," * 500_000 + b"0]}"
TRIES = 12  # another process on the machine may take the core meanwhile; the shortest stall counts
STALL_S = 0.15  # LOOP_LAG_MS_MAX, and a round trip between three threads on two cores


def stall_s(server: Server, work: Callable[[], object]) -> float:
    """Return the longest time that a question with a trivial answer took while `work` ran."""
    longest: list[float] = [0.0]
    is_done = Event()

    def ask() -> None:
        with server.client() as client:
            while not is_done.is_set():
                began_s = time.perf_counter()
                assert client.get("/health/live").status == 200
                longest[0] = max(longest[0], time.perf_counter() - began_s)

    asking = Thread(target=ask)
    asking.start()
    work()
    is_done.set()
    asking.join()
    return longest[0]


@pytest.mark.parametrize("operation", ["put", "refuse", "accept", "get", "list"])
def test_others_do_not_wait(
    server: Server, client: CheckedClient, new_table: str, operation: str
) -> None:
    """1 MiB of zeros took the loop for a second, and reading an entry of them 100 ms."""
    path = entry(new_table, "large")
    client.put(path, ZEROS)
    later = {"Prefer": "respond-async"}
    operations: dict[str, Callable[[], int]] = {
        "put": lambda: client.post(path, ZEROS).status,
        "refuse": lambda: client.post(path, REFUSED).status,
        "accept": lambda: client.post(path, ZEROS, headers=later).status,
        "get": lambda: client.get(path).status,
        "list": lambda: client.get(f"{new_table}/id").status,
    }
    statuses, stalls = [], []
    for _ in range(TRIES):
        stalls.append(stall_s(server, lambda: statuses.append(operations[operation]())))
        if stalls[-1] < STALL_S:
            break
    assert set(statuses) == {{"refuse": 413, "accept": 202}.get(operation, 200)}
    assert min(stalls) < STALL_S, stalls
