"""Answers of one turn of the event loop, written together when the turn ends.

A write to a socket whose reader sleeps wakes it, and on a virtual machine the wake-up costs more
than the write. With 32 clients waiting, the answers of a turn written back to back wake a reader
once instead of 32 times (measured: a tenth to a fifth of a read's whole cost).

Order on a connection is kept: whoever writes to a transport in another way flushes first.
"""

from asyncio import Transport, WriteTransport, get_running_loop


class Outbox:
    """What is to be written at the end of this turn. Used from one event loop."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        """Begin empty."""
        self._held: list[tuple[Transport | WriteTransport, bytes]] = []

    def put(self, transport: Transport | WriteTransport, answer: bytes) -> None:
        """Write `answer` when the turn ends; if the connection is closed by then, drop it."""
        if not self._held:
            get_running_loop().call_soon(self.flush)
        self._held.append((transport, answer))

    def flush(self) -> None:
        """Write everything now, in order."""
        held, self._held = self._held, []
        for transport, answer in held:
            if not transport.is_closing():
                transport.write(answer)
