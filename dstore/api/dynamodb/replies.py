"""From what an operation returns to the bytes of its answer, without holding up other requests.

msgspec encodes about a gigabyte a second and lets nothing else run meanwhile, in a thread or not,
and a page may have 16 MB. Hence its items are encoded one by one, with turns for others in between.
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
# The members of replies whose values are lists of any length, or maps of such lists.
_LONG: Final = frozenset({"Items", "Responses", "UnprocessedItems", "Records"})


async def encoded(reply: Reply) -> bytes:
    """Return an answer's body. Raises: TypeError: the reply holds what JSON has no words for."""
    if reply is None:
        return b""
    if isinstance(reply, bytes):
        return reply
    if _LONG.isdisjoint(reply):
        return _encode(reply)
    pieces = _Pieces()
    await pieces.add_map(reply, long=_LONG)
    return b"".join(pieces.made)


async def checksum(body: bytes) -> int:
    """Return the CRC-32 of a body, unsigned."""
    if len(body) > REPLY_TURN_BYTES:
        return await in_thread(lambda: crc32(body))
    return crc32(body)


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
            else:
                await self._add_list(value)
        self.made.append(b"{}" if before == b"{" else b"}")

    async def _add_list(self, values: Any) -> None:
        before = b"["
        for value in values:
            piece = _encode(value)
            self.made += (before, piece)
            before = b","
            self._turn_bytes += len(piece)
            if self._turn_bytes > REPLY_TURN_BYTES:
                self._turn_bytes = 0
                await sleep(0)
        self.made.append(b"[]" if before == b"[" else b"]")
