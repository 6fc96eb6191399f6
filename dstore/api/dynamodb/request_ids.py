"""Request ids as DynamoDB makes them: 52 characters of 0-9 and A-V, 260 random bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.base.entropy import Entropy

REQUEST_ID_HEADER: Final = "x-amzn-RequestId"
REQUEST_ID_CHARS: Final = 52

_IDS_DRAWN: Final = 256  # at a time, which makes one cost 0.4 us
# A random byte is a letter by its five low bits.
_LETTERS: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUV" * 8


class AwsRequestIds:
    """Give each request an id of its own; what a client sends counts for nothing."""

    __slots__ = ("_drawn", "_entropy")

    def __init__(self, entropy: Entropy) -> None:
        """Keep where ids come from."""
        self._entropy = entropy
        self._drawn: list[str] = []

    def of(self, _request: web.BaseRequest) -> str:
        """Return an id that no other request has."""
        if not self._drawn:
            letters = self._entropy.token(REQUEST_ID_CHARS * _IDS_DRAWN).translate(_LETTERS)
            text = letters.decode("ascii")
            self._drawn = [
                text[start : start + REQUEST_ID_CHARS]
                for start in range(0, len(text), REQUEST_ID_CHARS)
            ]
        return self._drawn.pop()
