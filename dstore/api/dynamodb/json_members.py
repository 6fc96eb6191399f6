r"""The body of a DynamoDB request as a dict of its members.

msgspec decodes 1 KB in 3 µs, but of duplicate keys it keeps the last without a word. So what it
decoded is encoded again, and the colons of both texts are counted: each key makes one, those inside
of strings stand in both, and a pair that was dropped takes its colon away. Only a body that might
spell a colon as \u003a proves nothing so; then the strict decoder that the public API uses decides
(`api.http.json_body`), which costs 8 µs for 1 KB.

All is refused alike, with the SerializationException without a message that AWS answers (dynalite,
test/connection.js): what is no JSON, NaN and Infinity, bad UTF-8, half a surrogate pair, nesting
beyond Python's bound of recursion, a body that is no object. What AWS does with a duplicate key is
not known; dStore refuses it too, since either value might be the one that was meant.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

import msgspec

from dstore.api.dynamodb.errors import serialization
from dstore.api.http.json_body import decode_object
from dstore.base.limits import REQUEST_DEPTH_MAX
from dstore.model.errors import Refused


def _float(text: str) -> float:
    """Read a number with a fraction or exponent: msgspec itself takes 25 µs for 9e307."""
    value = float(text)
    if not isfinite(value):
        raise ValueError
    return value


_decode: Final = msgspec.json.Decoder(float_hook=_float).decode
_encode: Final = msgspec.json.Encoder().encode
_COLON: Final = b":"
_MAYBE_COLON: Final = b"\\u00"


def decode(body: bytes) -> dict[str, Any]:
    """Decode a body that has to be one JSON object.

    Numbers outside of strings become int or float. Bodies over INLINE_JSON_BYTES_MAX belong into a
    thread.

    Raises: AwsError: SerializationException, see above.
    Cost: O(body); 5 µs for 1 KB of 10 attributes.
    """
    try:
        members = _decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):  # a UnicodeDecodeError is of these
        raise serialization() from None
    if type(members) is not dict:
        raise serialization()
    if not _has_unique_keys(body, members):
        _check_strictly(body)
    return members


def _has_unique_keys(body: bytes, members: dict[str, Any]) -> bool:
    """Tell whether no key comes twice; False may also mean that this cannot tell."""
    try:
        again = _encode(members)
    except (OverflowError, RecursionError):  # an integer beyond 64 bits
        return False
    if body.count(_COLON) != again.count(_COLON):
        return False
    return b"\\" not in body or _MAYBE_COLON not in body


def _check_strictly(body: bytes) -> None:
    try:
        decode_object(body, what="request", depth_max=REQUEST_DEPTH_MAX)
    except Refused:
        raise serialization() from None
