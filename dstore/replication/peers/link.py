"""One connection at work, the same on both sides: frames out, frames in, signs of life.

Everything runs in callbacks of the event loop: frames are handled as they arrive, and what a turn
gathers leaves in one frame at its end. The beat, a task, speaks when there is nothing to say and
ends a connection whose other side is silent or takes nothing. Beats are counted and not timed, so
that a process that was itself asleep does not take that for the silence of everybody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Final

from dstore.base.limits import (
    PEER_BEAT_S,
    PEER_PART_BYTES,
    PEER_RECORDS_TURN,
    PEER_SENT_BYTES_WAITING_MAX,
    PEER_SILENT_BEATS_MAX,
)
from dstore.base.tasks import Tasks
from dstore.replication.peers.outgoing import Outgoing, Ticket
from dstore.replication.peers.records import (
    Beat,
    CloseCode,
    Closed,
    FrameSocket,
    Malformed,
    Record,
    decode_frame,
)

Handle = Callable[[Sequence[Record]], None]

_BEAT: Final = Beat()
_FINISH_STEP_S: Final = 0.005


class Link:
    """A connection between two components."""

    __slots__ = (
        "_beat_s",
        "_context",
        "_ended",
        "_handle",
        "_is_choked",
        "_is_due",
        "_is_heard",
        "_is_spoken",
        "_loop",
        "_on_beat",
        "_outgoing",
        "_over",
        "_socket",
        "_tasks",
        "_unhandled",
        "frames_received",
        "frames_sent",
    )

    def __init__(
        self,
        socket: FrameSocket,
        *,
        tasks: Tasks,
        on_beat: Callable[[], None] = lambda: None,
        beat_s: float = PEER_BEAT_S,
    ) -> None:
        """Take over a socket on which both sides have greeted.

        Args:
            socket: nobody else uses it from here on.
            tasks: own the beat.
            on_beat: is called about every `beat_s`.
            beat_s: seconds; PEER_SILENT_BEATS_MAX of them without a frame end the connection.
        """
        self._socket = socket
        self._tasks = tasks
        self._on_beat = on_beat
        self._beat_s = beat_s
        self._loop = asyncio.get_running_loop()
        self._outgoing = Outgoing()
        self._is_due = False  # to send, at the end of this turn
        self._handle: Handle = _nobody
        self._context = copy_context()  # in which `_handle` runs, always the same
        self._unhandled: deque[Record] = deque()  # of a frame that is handled in several turns
        self._is_choked = False  # nothing is read, since too much is to be sent
        self._ended: Closed | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._is_heard = True
        self._is_spoken = False
        self.frames_sent = 0
        self.frames_received = 0

    @property
    def bytes_waiting(self) -> int:
        """Return the bytes of payloads that are to be sent."""
        return self._outgoing.bytes_waiting

    @property
    def is_open(self) -> bool:
        """Tell whether anything can still be sent."""
        return self._ended is None

    @property
    def is_busy(self) -> bool:
        """Tell whether anything is still to be sent, on a link that can send it."""
        return self._ended is None and bool(self._outgoing or self._socket.unsent_bytes)

    def put(self, record: Record, payload_bytes: int, *, ticket: Ticket | None = None) -> None:
        """Send a record at the end of this turn; a payload has PEER_PART_BYTES at most.

        Nothing happens on a link that has ended.
        """
        assert payload_bytes <= PEER_PART_BYTES
        self._outgoing.put(record, payload_bytes, ticket=ticket)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._send)

    def put_large(
        self, opening: Record, call_id: int, *, payload: bytes, ticket: Ticket | None = None
    ) -> None:
        """Send a payload in parts, with others in between."""
        self._outgoing.put_large(opening, call_id, payload=payload, ticket=ticket)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._send)

    async def run(self, handle: Handle) -> Closed:
        """Hand each turn's records to `handle` until the connection ends. Returns: how it ended.

        `handle` raises `Malformed` for what breaks the protocol; it never waits. What else it
        raises ends the connection, and is raised here.
        """
        self._handle = handle
        beat = self._tasks.spawn(self._beat(), name="peer_beat")
        closed = Closed(CloseCode.LOST, "ended")
        try:
            if not self._over.done():
                self._socket.listen(self._take, self._on_room)
            await self._over
            assert self._ended is not None
            closed = self._ended
            if closed.code == CloseCode.MALFORMED:  # the other side is told, unless it has told us
                await self._socket.close(closed)
        finally:
            beat.cancel()
            self._abort(closed)
        return closed

    async def finish(self, closed: Closed, *, timeout_s: float) -> None:
        """Send what waits, up to `timeout_s`, then close with a reason."""
        until = self._loop.time() + timeout_s
        while self.is_busy and self._loop.time() < until:  # noqa: ASYNC110 -- seldom
            await asyncio.sleep(_FINISH_STEP_S)
        await self.close(closed)

    async def close(self, closed: Closed) -> None:
        """Close with a reason, at once."""
        if self._ended is None:
            self._ended = closed
            try:
                await self._socket.close(closed)
            finally:
                self._abort(closed)

    def _end(self, closed: Closed) -> None:
        """Neither handle nor send anything any more; `run` does the rest."""
        if self._ended is None:
            self._ended = closed
        if not self._over.done():
            self._over.set_result(None)

    def _abort(self, closed: Closed) -> None:
        """End without a word: the other side does not listen anyway."""
        self._end(closed)
        self._socket.abort()

    # ---------------------------------------------------------------------------------- sending

    def _send(self) -> None:
        """Send a frame of what has gathered; the loop is left to others before the next one."""
        self._is_due = False
        socket, outgoing = self._socket, self._outgoing
        if self._ended is not None or socket.is_full:
            return
        frame = outgoing.take()
        if frame:
            socket.send(frame)
            self._is_spoken = True
            self.frames_sent += 1
        if self._is_choked and outgoing.bytes_waiting <= PEER_SENT_BYTES_WAITING_MAX // 2:
            self._is_choked = False
            self._read_on()
        if outgoing:
            self._on_room()

    def _on_room(self) -> None:
        if not self._is_due and self._outgoing:
            self._is_due = True
            self._loop.call_soon(self._send)

    # -------------------------------------------------------------------------------- receiving

    def _take(self, frame: bytes | Closed) -> None:
        """Handle a frame, or note the end. What arrives after an end of ours is of no use."""
        if self._ended is not None:
            return
        if isinstance(frame, Closed):
            while self._unhandled:
                self._handle_some()
            self._end(frame)
            return
        self._is_heard = True
        self.frames_received += 1
        try:
            records = decode_frame(frame)
        except Malformed as error:
            self._end(Closed(CloseCode.MALFORMED, str(error)))
            return
        if len(records) <= PEER_RECORDS_TURN and not self._unhandled:
            self._handle_all(records)
        else:
            if not self._unhandled:
                self._loop.call_soon(self._handle_some)
            self._unhandled.extend(records)
            self._socket.pause()
        if self._outgoing.bytes_waiting > PEER_SENT_BYTES_WAITING_MAX:
            # Read nothing more from a side that does not fetch what it has asked for.
            self._is_choked = True
            self._socket.pause()

    def _handle_some(self) -> None:
        """Handle what one turn has time for."""
        unhandled = self._unhandled
        count = min(len(unhandled), PEER_RECORDS_TURN)
        self._handle_all([unhandled.popleft() for _ in range(count)])
        if self._ended is not None:
            unhandled.clear()
        elif unhandled:
            self._loop.call_soon(self._handle_some)
        else:
            self._read_on()

    def _handle_all(self, records: Sequence[Record]) -> None:
        try:
            self._context.run(self._handle, records)
        except Malformed as error:
            self._end(Closed(CloseCode.MALFORMED, str(error)))
        except Exception as error:  # noqa: BLE001 -- `run` raises it
            if not self._over.done():
                self._over.set_exception(error)
            self._end(Closed(CloseCode.LOST, "has a fault here"))

    def _read_on(self) -> None:
        if self._ended is None and not self._is_choked and not self._unhandled:
            self._socket.resume()

    # --------------------------------------------------------------------------- signs of life

    async def _beat(self) -> None:
        silent = stuck = 0
        before = (-1, 0)
        while True:
            await asyncio.sleep(self._beat_s)
            self._on_beat()
            is_silent = not self._is_heard and not self._is_choked
            silent = silent + 1 if is_silent else 0
            sent = self.frames_sent, self._socket.unsent_bytes
            is_stuck = self._socket.is_full and sent == before
            stuck = stuck + 1 if is_stuck else 0
            if silent >= PEER_SILENT_BEATS_MAX:
                self._abort(Closed(CloseCode.SILENT, "has been silent for too long"))
                return
            if stuck >= PEER_SILENT_BEATS_MAX:
                self._abort(Closed(CloseCode.SILENT, "takes nothing that is sent to it"))
                return
            before = sent
            self._is_heard = False
            if not self._is_spoken and not self._socket.is_full:
                self.put(_BEAT, 0)
            self._is_spoken = False


def _nobody(_records: Sequence[Record]) -> None:
    return None
