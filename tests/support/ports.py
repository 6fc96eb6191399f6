"""TCP ports of 127.0.0.1 that a process may be stopped on and started on again.

They lie below those that the system lends to outgoing connections, so that nobody takes one before
its process is up, or while it is down.
"""

from __future__ import annotations

import random
import socket
from typing import Final

_FIRST: Final = 20_000
_LAST: Final = 31_999


def lasting_ports(count: int) -> tuple[int, ...]:
    """Find so many different ports that nobody listens on, drawn at random."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(_FIRST, _LAST + 1), _LAST + 1 - _FIRST):
        if len(found) == count:
            return tuple(found)
        if _is_free(port):
            found.append(port)
    raise AssertionError(f"There are no {count} free ports from {_FIRST} to {_LAST}.")


def lasting_port() -> int:
    """Find one such port."""
    return lasting_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
