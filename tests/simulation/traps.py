"""What a simulated process must not touch: real time, real randomness, threads and sockets.

While a seed runs, each of these raises `Escaped`. What dStore reads of the machine it reads through
`base.clock` and `base.entropy`, which the simulator replaces; so whatever lands here would make a
seed that can't be replayed.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import threading
import time
import uuid
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NoReturn
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORBIDDEN: Final[tuple[tuple[Any, str], ...]] = (
    (time, "time"),
    (time, "time_ns"),
    (time, "monotonic"),
    (time, "monotonic_ns"),
    (time, "clock_gettime"),
    (time, "clock_gettime_ns"),
    (time, "sleep"),
    (os, "urandom"),
    (uuid, "uuid1"),
    (uuid, "uuid4"),
    (secrets, "token_bytes"),
    (secrets, "token_hex"),
    (random, "random"),
    (random, "randrange"),
    (random, "choice"),
    (random, "shuffle"),
    (random, "uniform"),
    (threading.Thread, "start"),
    (socket.socket, "connect"),
    (socket.socket, "bind"),
)


class Escaped(AssertionError):
    """A simulated process has reached for the real world."""


def _trap(name: str) -> Any:
    def escaped(*_: Any, **__: Any) -> NoReturn:
        raise Escaped(f"{name} was used in the simulation; take a port instead")

    return escaped


def _ample(_path: object) -> SimpleNamespace:
    """Describe a file system with ample room, whatever the real one has."""
    return SimpleNamespace(f_bavail=1 << 28, f_blocks=1 << 29, f_bfree=1 << 28, f_frsize=4_096)


@contextmanager
def trapped() -> Iterator[None]:
    """Keep whatever runs inside away from the real world."""
    patches = [
        patch.object(owner, name, _trap(f"{getattr(owner, '__name__', owner)}.{name}"))
        for owner, name in _FORBIDDEN
    ]
    patches.append(patch.object(os, "statvfs", _ample))
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in reversed(patches):
            each.stop()
