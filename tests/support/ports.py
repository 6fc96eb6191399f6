"""TCP ports of 127.0.0.1 that a process may be stopped on and started on again.

They lie below those that the system lends to outgoing connections, so that nobody takes one before
its process is up, or while it is down. Workers of one run draw from parts of their own, and each
gives none twice before it has given all.
"""

from __future__ import annotations

import os
import random
import socket
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST: Final = 20_000
_LAST: Final = 31_999
_PARTS: Final = 8
_PART_PORTS: Final = (_LAST + 1 - _FIRST) // _PARTS


def lasting_ports(count: int) -> tuple[int, ...]:
    """Find so many different ports that nobody listens on."""
    found: list[int] = []
    for _ in range(_PART_PORTS):
        if len(found) == count:
            return tuple(found)
        port = next(_ports())
        if _is_free(port):
            found.append(port)
    raise AssertionError(f"There are no {count} free ports among {_PART_PORTS}.")


def lasting_port() -> int:
    """Find one such port."""
    return lasting_ports(1)[0]


@cache
def _ports() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _FIRST + worker % _PARTS * _PART_PORTS
    part = list(range(first, first + _PART_PORTS))
    random.SystemRandom().shuffle(part)  # other runs may be under way
    return cycle(part)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
