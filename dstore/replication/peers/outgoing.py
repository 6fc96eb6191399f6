"""What is to be sent on one connection, small things first.

Whatever gathers in one turn of the event loop leaves in one frame. Large payloads share what small
ones leave of a frame, part by part and in turn, and each frame has room for at least one part: a
small call never waits for a large one, and no flood of small ones starves a large one.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from dstore.base.limits import (
    PEER_FRAME_BYTES,
    PEER_FRAME_RECORDS_MAX,
    PEER_PART_BYTES,
)
from dstore.replication.peers.records import Part, Record, encode_frame

_SMALL_RECORDS_MAX: Final = PEER_FRAME_RECORDS_MAX // 2  # the rest is left to parts
_RECORD_BYTES: Final = 64  # of a record beside its payload: names, numbers and their markers


class Ticket(Protocol):
    """Whoever wants to know that a record leaves."""

    def leaves(self) -> bool:
        """Note that it leaves now; or return False, and it is dropped instead."""


class _Large:
    """A payload on its way in parts."""

    __slots__ = ("call_id", "opening", "payload", "sent_bytes", "ticket")

    def __init__(
        self, opening: Record, call_id: int, *, payload: bytes, ticket: Ticket | None
    ) -> None:
        self.opening: Record | None = opening
        self.call_id = call_id
        self.payload = payload
        self.sent_bytes = 0
        self.ticket = ticket


class Outgoing:
    """The queue of one connection; its owner bounds what goes in by `bytes_waiting`."""

    __slots__ = ("_large", "_small", "bytes_waiting")

    def __init__(self) -> None:
        """Begin empty."""
        self._small: deque[tuple[Record, int, Ticket | None]] = deque()
        self._large: deque[_Large] = deque()
        self.bytes_waiting = 0

    def __bool__(self) -> bool:
        """Tell whether anything waits."""
        return bool(self._small or self._large)

    def put(self, record: Record, payload_bytes: int, *, ticket: Ticket | None = None) -> None:
        """Add a record whose payload is small, or which has none."""
        self._small.append((record, payload_bytes, ticket))
        self.bytes_waiting += payload_bytes

    def put_large(
        self, opening: Record, call_id: int, *, payload: bytes, ticket: Ticket | None = None
    ) -> None:
        """Add a payload to be sent in parts behind its opening.

        The ticket is asked before the opening leaves; a call is at work only when all has arrived.
        """
        assert payload
        self._large.append(_Large(opening, call_id, payload=payload, ticket=ticket))
        self.bytes_waiting += len(payload)

    def take(self) -> bytes:
        """Return the next frame, b"" if there is nothing to send."""
        records: list[Record] = []
        frame_bytes = self._take_small(records)
        if self._large:
            self._take_parts(records, frame_bytes)
        return encode_frame(records) if records else b""

    def _take_small(self, records: list[Record]) -> int:
        small = self._small
        frame_bytes = 0
        while small and len(records) < _SMALL_RECORDS_MAX and frame_bytes < PEER_FRAME_BYTES:
            record, payload_bytes, ticket = small.popleft()
            self.bytes_waiting -= payload_bytes
            if ticket is None or ticket.leaves():
                records.append(record)
                frame_bytes += payload_bytes + _RECORD_BYTES
        return frame_bytes

    def _take_parts(self, records: list[Record], frame_bytes: int) -> None:
        """Add parts of large payloads in turn, at least one."""
        is_first = True
        while self._large and (is_first or frame_bytes < PEER_FRAME_BYTES):
            large = self._large.popleft()
            if large.opening is not None:
                if large.ticket is not None and not large.ticket.leaves():
                    self.bytes_waiting -= len(large.payload)
                    continue
                records.append(large.opening)
                large.opening = None
            start = large.sent_bytes
            data = large.payload[start : start + PEER_PART_BYTES]
            records.append(Part(id=large.call_id, data=data))
            large.sent_bytes += len(data)
            self.bytes_waiting -= len(data)
            frame_bytes += len(data) + _RECORD_BYTES
            is_first = False
            if large.sent_bytes < len(large.payload):
                self._large.append(large)
