"""One connection at work, the same on both sides: frames out, frames in, signs of life.

Three tasks: the reader (whoever calls `run`), the writer, which sends what has gathered since its
last turn, and the beat, which speaks when there is nothing to say and ends a connection whose other
side is silent or takes nothing. Beats are counted and not timed, so that a process that was itself
asleep does not take that for the silence of everybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
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
        "_ended",
        "_is_heard",
        "_is_sending",
        "_is_spoken",
        "_on_beat",
        "_outgoing",
        "_relieved",
        "_socket",
        "_tasks",
        "_waiter",
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
            tasks: own the writer and the beat.
            on_beat: is called about every `beat_s`.
            beat_s: seconds; PEER_SILENT_BEATS_MAX of them without a frame end the connection.
        """
        self._socket = socket
        self._tasks = tasks
        self._on_beat = on_beat
        self._beat_s = beat_s
        self._outgoing = Outgoing()
        self._waiter: asyncio.Future[None] | None = None  # of the writer while it has nothing
        self._relieved: asyncio.Future[None] | None = None  # of the reader while it is choked
        self._ended: Closed | None = None
        self._is_heard = True
        self._is_spoken = False
        self._is_sending = False
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
        return self._ended is None and (bool(self._outgoing) or self._is_sending)

    def put(self, record: Record, payload_bytes: int, *, ticket: Ticket | None = None) -> None:
        """Send a record at the end of this turn; a payload has PEER_PART_BYTES at most.

        Nothing happens on a link that has ended.
        """
        assert payload_bytes <= PEER_PART_BYTES
        self._outgoing.put(record, payload_bytes, ticket=ticket)
        self._wake()

    def put_large(
        self, opening: Record, call_id: int, *, payload: bytes, ticket: Ticket | None = None
    ) -> None:
        """Send a payload in parts, with others in between."""
        self._outgoing.put_large(opening, call_id, payload=payload, ticket=ticket)
        self._wake()

    async def run(self, handle: Handle) -> Closed:
        """Hand each turn's records to `handle` until the connection ends. Returns: how it ended.

        `handle` raises `Malformed` for what breaks the protocol; it never waits.
        """
        writer = self._tasks.spawn(self._write(), name="peer_writer")
        beat = self._tasks.spawn(self._beat(), name="peer_beat")
        closed = Closed(CloseCode.LOST, "ended")
        try:
            closed = await self._read(handle)
        except Malformed as error:
            closed = Closed(CloseCode.MALFORMED, str(error))
            await self.close(closed)
        finally:
            writer.cancel()
            beat.cancel()
            self._abort(closed)
        return self._ended or closed

    async def finish(self, closed: Closed, *, timeout_s: float) -> None:
        """Send what waits, up to `timeout_s`, then close with a reason."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while self.is_busy and loop.time() < until:  # noqa: ASYNC110 -- seldom
            await asyncio.sleep(_FINISH_STEP_S)
        await self.close(closed)

    async def close(self, closed: Closed) -> None:
        """Close with a reason, at once."""
        if self._ended is None:
            self._ended = closed
            await self._socket.close(closed)
            self._abort(closed)

    def _abort(self, closed: Closed) -> None:
        """End without a word: the other side does not listen anyway."""
        if self._ended is None:
            self._ended = closed
        self._socket.abort()
        if self._relieved is not None and not self._relieved.done():
            self._relieved.set_result(None)  # the reader goes on, and finds the end

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        outgoing, send = self._outgoing, self._socket.send
        while True:
            if not outgoing:
                self._waiter = loop.create_future()
                await self._waiter
            frame = outgoing.take()
            if not frame:
                continue
            self._is_sending = True
            try:
                await send(frame)
            except ConnectionError:
                self._abort(Closed(CloseCode.LOST, "has closed the connection"))
                return
            self._is_sending = False
            self._is_spoken = True
            self.frames_sent += 1
            if self._relieved is not None:
                self._relieve()
            if outgoing:
                await asyncio.sleep(0)  # a long queue leaves the loop to others in between

    async def _read(self, handle: Handle) -> Closed:
        receive = self._socket.receive
        while self._ended is None:
            frame = await receive()
            if isinstance(frame, Closed):
                return frame
            self._is_heard = True
            self.frames_received += 1
            records = decode_frame(frame)
            if len(records) <= PEER_RECORDS_TURN:
                handle(records)
            else:
                await self._handle_in_turns(records, handle)
            is_choked = self._outgoing.bytes_waiting > PEER_SENT_BYTES_WAITING_MAX
            if is_choked and self._ended is None:
                await self._until_relieved()
        return self._ended  # what has arrived before is of no use: nobody could be answered

    async def _handle_in_turns(self, records: list[Record], handle: Handle) -> None:
        for start in range(0, len(records), PEER_RECORDS_TURN):
            handle(records[start : start + PEER_RECORDS_TURN])
            if self._ended is not None:
                return
            await asyncio.sleep(0)

    async def _until_relieved(self) -> None:
        """Read nothing more from a side that does not fetch what it has asked for."""
        self._relieved = asyncio.get_running_loop().create_future()
        await self._relieved

    def _relieve(self) -> None:
        relieved = self._relieved
        if relieved is not None and self.bytes_waiting <= PEER_SENT_BYTES_WAITING_MAX // 2:
            self._relieved = None
            if not relieved.done():
                relieved.set_result(None)

    async def _beat(self) -> None:
        silent = stuck = frames_sent = 0
        while True:
            await asyncio.sleep(self._beat_s)
            self._on_beat()
            is_silent = not self._is_heard and self._relieved is None
            silent = silent + 1 if is_silent else 0
            is_stuck = self._is_sending and self.frames_sent == frames_sent
            stuck = stuck + 1 if is_stuck else 0
            if silent >= PEER_SILENT_BEATS_MAX:
                self._abort(Closed(CloseCode.SILENT, "has been silent for too long"))
                return
            if stuck >= PEER_SILENT_BEATS_MAX:
                self._abort(Closed(CloseCode.SILENT, "takes nothing that is sent to it"))
                return
            frames_sent = self.frames_sent
            self._is_heard = False
            if not self._is_spoken and not self._is_sending:
                self.put(_BEAT, 0)
            self._is_spoken = False
