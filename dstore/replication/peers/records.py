"""What passes between two components: records, many of them in one frame.

A frame is a msgpack array of records, a record an array that begins with its tag. The payload of a
call or an answer is msgpack in msgpack, unread until somebody knows its type. A payload beyond
PEER_PART_BYTES is announced (`LargeCall`, `LargeAnswer`) and follows in `Part`s, between which
other records pass.

Nothing here trusts its sender: msgspec refuses what is cut off, nested too deeply for the stack,
or announces more elements than there are bytes; lengths beyond the bounds are refused here.

Both sides greet first: the client says `Hello`, the server answers with its own or closes the
connection with a reason. The numbers of tags never change their meaning; `Hello.version` says how
to read all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Annotated, Final, Protocol

import msgspec

from dstore.base.limits import (
    PEER_FRAME_BYTES_MAX,
    PEER_FRAME_RECORDS_MAX,
    PEER_PART_BYTES,
    PEER_PAYLOAD_BYTES_MAX,
)

VERSION: Final = 1

_ID_MAX: Final = 2**53
_NAME_CHARS_MAX: Final = 128
TEXT_CHARS_MAX: Final = 512
_SIZE_MIN: Final = 1

CallId = Annotated[int, msgspec.Meta(ge=1, le=_ID_MAX)]
Name = Annotated[str, msgspec.Meta(max_length=_NAME_CHARS_MAX)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)]
Size = Annotated[int, msgspec.Meta(ge=_SIZE_MIN, le=PEER_PAYLOAD_BYTES_MAX)]
Data = Annotated[bytes, msgspec.Meta(min_length=1, max_length=PEER_PART_BYTES)]
BudgetMs = Annotated[int, msgspec.Meta(ge=0, le=_ID_MAX)]


class Malformed(Exception):
    """The other side breaks the protocol; the connection ends with this sentence."""


class CloseCode(IntEnum):
    """Why a connection ends; RFC 6455 leaves 4000 to 4999 to applications."""

    DONE = 1000
    GOING_AWAY = 1001
    LOST = 1006  # never sent: the connection ended without a word
    MALFORMED = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    SILENT = 4408
    VERSION = 4426


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Who speaks, whom it means, and what its clock says."""

    version: int
    identity: Text
    wanted: Text
    wall_us: int


class Call(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A request; the caller gives up `budget_ms` after it was sent."""

    id: CallId
    method: Name
    budget_ms: BudgetMs
    request_id: Name
    payload: msgspec.Raw


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A reply, or an error if `is_error`."""

    id: CallId
    is_error: bool
    payload: msgspec.Raw


class LargeCall(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """A request whose `size` bytes follow in parts."""

    id: CallId
    method: Name
    budget_ms: BudgetMs
    request_id: Name
    size: Size


class LargeAnswer(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """A reply whose `size` bytes follow in parts."""

    id: CallId
    is_error: bool
    size: Size


class Part(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """The next bytes of what was announced under `id`."""

    id: CallId
    data: Data


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Nothing, to show that the sender lives."""


class GoAway(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Make further calls on a new connection; those under way are still answered here."""

    reason: Text


Record = Hello | Call | Answer | LargeCall | LargeAnswer | Part | Beat | GoAway

_Frame = Annotated[list[Record], msgspec.Meta(max_length=PEER_FRAME_RECORDS_MAX)]

encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Frame).decode


class Closed(msgspec.Struct, frozen=True):
    """How a connection ended; `reason` is the rest of a sentence about the other side."""

    code: int
    reason: str


class FrameSocket(Protocol):
    """One connection as `link.Link` needs it: frames in order, or the end. It never waits."""

    def send(self, frame: bytes) -> None:
        """Send a frame; nothing happens on a socket that ends."""

    @property
    def is_full(self) -> bool:
        """Tell whether frames should wait: the other side takes none, PEER_SOCKET_BYTES_MAX lie."""

    @property
    def unsent_bytes(self) -> int:
        """Count what was sent and lies in this process still."""

    async def receive(self) -> bytes | Closed:
        """Return the next frame, at most PEER_FRAME_BYTES_MAX bytes, or how it all ended."""

    def listen(
        self, on_arrival: Callable[[bytes | Closed], None], on_room: Callable[[], None]
    ) -> None:
        """Hand over what `receive` would return as it arrives; tell when it is full no more.

        Closed comes once and last; after it nothing is called.
        """

    def pause(self) -> None:
        """Hand nothing over, and soon read nothing more; a loss is told all the same."""

    def resume(self) -> None:
        """Go on."""

    async def close(self, closed: Closed) -> None:
        """Say why, and end; takes at most about PEER_CLOSE_TIMEOUT_S. Never raises."""

    def abort(self) -> None:
        """End at once, without a word; may be called again."""


def encode_frame(records: Sequence[Record]) -> bytes:
    """Encode a frame; 0.2 us a record."""
    return encode(records)


def decode_frame(frame: bytes) -> list[Record]:
    """Decode a frame; 0.4 us a record. Payloads stay views of `frame`.

    Raises: Malformed.
    """
    if len(frame) > PEER_FRAME_BYTES_MAX:
        raise Malformed("sent a frame that is too large")
    try:
        return _decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed("sent a frame that is not of this protocol") from error
