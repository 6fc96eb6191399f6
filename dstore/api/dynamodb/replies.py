"""From what an operation returns to the bytes of its answer, without holding up other requests.

msgspec encodes about a gigabyte a second and lets nothing else run meanwhile, in a thread or not.
A page of a Query or Scan has 1 MB at most, but what a batch returns may have 16. Hence the items of
batches are encoded a few at a time, with turns for others in between.
"""

from __future__ import annotations

from asyncio import sleep
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import msgspec

from dstore.base.limits import REPLY_TURN_BYTES
from dstore.base.threads import in_thread

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Reply

_encode: Final = msgspec.json.Encoder().encode
# The members whose values are maps of lists that may be long, or such lists.
_LONG: Final = frozenset({"Responses", "UnprocessedItems", "Records"})
_AT_ONCE: Final = 4  # items: 1.6 MB at the most


def is_short(reply: Reply) -> bool:
    """Tell whether `encode_short` takes the reply, as it does almost all."""
    return type(reply) is dict and _LONG.isdisjoint(reply)


def encode_short(reply: Reply) -> tuple[bytes, int]:
    """Return a short reply's JSON and its checksum.

    Raises: TypeError: the reply holds what JSON has no words for.
    """
    body = _encode(reply)
    return body, crc32(body)


async def encode(reply: Reply) -> tuple[bytes, int]:
    """Return the body of any reply, and its CRC-32. Raises: TypeError, as `encode_short`."""
    if reply is None:
        body = b""
    elif isinstance(reply, bytes):
        body = reply
    else:
        pieces = _Pieces()
        await pieces.add_map(reply, long=_LONG)
        body = b"".join(pieces.made)
    if len(body) > REPLY_TURN_BYTES:
        return body, await in_thread(lambda: crc32(body))
    return body, crc32(body)


class _Pieces:
    """A body as it grows."""

    __slots__ = ("_turn_bytes", "made")

    def __init__(self) -> None:
        self.made: list[bytes] = []
        self._turn_bytes = 0  # made since others had a turn

    async def add_map(self, members: Any, *, long: frozenset[str] | None = None) -> None:
        """Add an object; the values of `long` names (all if None) are added piece by piece."""
        before = b"{"
        for name, value in members.items():
            self.made += (before, _encode(name), b":")
            before = b","
            if long is not None and name not in long:
                self.made.append(_encode(value))
            elif isinstance(value, dict):
                await self.add_map(value)
            elif isinstance(value, list):
                await self._add_list(value)
            else:
                self.made.append(_encode(value))
        self.made.append(b"{}" if before == b"{" else b"}")

    async def _add_list(self, values: list[Any]) -> None:
        before = b"["
        for start in range(0, len(values), _AT_ONCE):
            piece = _encode(values[start : start + _AT_ONCE])[1:-1]
            self.made += (before, piece)
            before = b","
            self._turn_bytes += len(piece)
            if self._turn_bytes > REPLY_TURN_BYTES:
                self._turn_bytes = 0
                await sleep(0)
        self.made.append(b"[]" if before == b"[" else b"]")
