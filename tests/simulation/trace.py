"""What happened in a seed, as one hash: two runs are the same if and only if their hashes are."""

from __future__ import annotations

from collections import Counter, deque
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_LAST_LINES: Final = 4_000


class Trace:
    """Takes note of what happens; keeps the last of it for whoever looks into a failure."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, keeps_all: bool = False) -> None:
        """Begin empty; `keeps_all` keeps every line, for one seed that is looked at."""
        self._loop = loop
        self._hash = sha256()
        self.lines: deque[str] = deque(maxlen=None if keeps_all else _LAST_LINES)
        self.counts: Counter[str] = Counter()
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}

    def note(self, line: str, detail: str = "") -> None:
        """Note a step of the run; the `detail` is shown, but may differ between runs."""
        stamped = f"{self._loop.time():.9f} {line}"
        self._hash.update(stamped.encode())
        self.lines.append(f"{stamped} {detail}" if detail else stamped)

    def event(self, name: str, told: str = "") -> None:
        """Note something of interest, and count it by name."""
        self.count(name)
        self.note(f"* {name} {told}")

    def count(self, name: str) -> None:
        """Count something, and wake whoever waits for it."""
        self.counts[name] += 1
        for waiter in self._waiters.pop(name, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def next(self, name: str) -> None:
        """Return when something has happened once more."""
        waiter = self._loop.create_future()
        self._waiters.setdefault(name, []).append(waiter)
        await waiter

    def digest(self) -> str:
        """Return the hash of all lines so far, 16 hexadecimal digits."""
        return self._hash.hexdigest()[:16]
