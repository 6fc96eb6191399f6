r"""The body of a DynamoDB request as a dict of its members.

msgspec decodes 1 KB in 3 µs, but of duplicate keys it keeps the last without a word. So what it
decoded is encoded again, and in both texts is counted how often a colon follows a quote: each key
makes one, those inside of strings stand in both, and a pair that was dropped takes its own away.
(Colons alone would do, but Python takes four times as long to count one character as two.) A body
that might spell a quote or a colon as \u003a, or has blanks between a key and its colon, proves
nothing so; then the strict decoder that the public API uses decides (`api.http.json_body`), which
costs 8 µs for 1 KB.

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
_BEHIND_KEY: Final = b'":'
_MAYBE_SPELLED: Final = b"\\u00"
_SPACED: Final = b" :"
_BROKEN: Final = (b"\n:", b"\t:", b"\r:")  # which no string holds


def decode(body: bytes) -> dict[str, Any]:
    """Decode a body that has to be one JSON object.

    Numbers outside of strings become int or float. Bodies over INLINE_JSON_BYTES_MAX belong into a
    thread.

    Raises: AwsError: SerializationException, see above.
    Cost: O(body); 4 µs for 1 KB of 10 attributes.
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
    if body.count(_BEHIND_KEY) != again.count(_BEHIND_KEY):
        return False
    if b"\\" in body and _MAYBE_SPELLED in body:
        return False
    has_breaks = b"\n" in body or b"\t" in body or b"\r" in body  # one byte is looked for quickly
    if has_breaks and any(broken in body for broken in _BROKEN):
        return False
    # Strings may hold a blank before a colon: as often as the body has it, if no key is spaced so.
    return _SPACED not in body or body.count(_SPACED) == again.count(_SPACED)


def _check_strictly(body: bytes) -> None:
    try:
        decode_object(body, what="request", depth_max=REQUEST_DEPTH_MAX)
    except Refused:
        raise serialization() from None
