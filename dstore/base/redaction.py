"""What a log line may say: never a key, a token or a stored value, never a control character.

A field is judged by its name, word by word; every text is scrubbed of credentials and entry ids
that travel inside it; an object that is no plain value is named by its type only. A log line is the
last place where a secret may surface, so what is not known to be harmless is hidden.
"""

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from itertools import islice
from pathlib import PurePath
from typing import Any, Final, NamedTuple

from dstore.base.limits import LOG_TEXT_CHARS_MAX, LOG_VALUES_MAX

HIDDEN: Final = "[hidden]"

_INTEGER_BITS_MAX: Final = 64  # what the encoder takes
_DEPTH_MAX: Final = 4  # of lists and maps in a field; deeper ones are named, not shown

# A field with one of these words in its name is hidden ...
# fmt: off
_SECRET_WORDS: Final = frozenset({
    "attribute", "attributes", "authorization", "body", "cookie", "credential", "credentials",
    "data", "entries", "entry", "item", "items", "key", "keys", "passphrase", "password", "payload",
    "plaintext", "secret", "secrets", "share", "shares", "signature", "token", "tokens", "value",
    "values",
})
# ... unless it only measures: `body_bytes=512`, `key_count=3` ...
_MEASURES: Final = frozenset({
    "bytes", "chars", "count", "max", "min", "ms", "ns", "rows", "s", "us",
})
# fmt: on
# ... or is the public half of a credential: `access_key_id`, `token_id`.
_PUBLIC_IDS: Final = frozenset({"access_key_id", "key_id", "token_id"})

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# Secrets inside longer texts, each with what is left of it, and cheap signs that one may be there.
_HINTS: Final = ("dst_", "dstore-join-", "bearer", "signature=", "token=", "/id/")
_SCRUBS: Final = (
    (re.compile(r"\b(dst_[a-z0-9]+_)[A-Za-z0-9_-]+"), r"\1" + HIDDEN),
    (re.compile(r"(?i)\b(dstore-join-v[0-9]+\.)[A-Za-z0-9_-]+"), r"\1" + HIDDEN),
    (re.compile(r"(?i)\b(bearer\s+)[^\s,;]+"), r"\1" + HIDDEN),
    (re.compile(r"(?i)\b((?:x-amz-)?signature=)[^\s&,]+"), r"\1" + HIDDEN),
    (re.compile(r"(?i)\b(x-amz-security-token=)[^\s&,]+"), r"\1" + HIDDEN),
    # An entry's id is a key; a route's pattern has a name in its place.
    (re.compile(r"(/id/)(?!\{id\}(?:[\s?#\"']|$))[^\s?#\"']+"), r"\1" + HIDDEN),
)


def redact(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` as plain, bounded, printable values with everything secret hidden."""
    return _plain_map(fields, depth=0)


def clean_text(text: str) -> str:
    r"""Return `text` scrubbed, bounded, and with each unprintable character spelled (`\x1b`)."""
    if len(text) > LOG_TEXT_CHARS_MAX:
        text = f"{text[:LOG_TEXT_CHARS_MAX]}... ({len(text)} characters)"
    lowered = text.lower()
    if any(hint in lowered for hint in _HINTS):
        for pattern, replacement in _SCRUBS:
            text = pattern.sub(replacement, text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _spelled(c) for c in text)


class _Judgement(NamedTuple):
    """What a field's name alone decides; kept, since the names of fields are few."""

    name: str  # cleaned
    is_secret: bool
    is_measure: bool  # then a number of that name may be shown


@lru_cache(maxsize=1_024)
def _judge(name: str) -> _Judgement:
    words = [word.lower() for word in _WORDS.findall(name)]
    return _Judgement(
        name=clean_text(name),
        is_secret=not _SECRET_WORDS.isdisjoint(words) and "_".join(words) not in _PUBLIC_IDS,
        is_measure=bool(words) and words[-1] in _MEASURES,
    )


def _plain_map(fields: Mapping[Any, Any], *, depth: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for given, value in islice(fields.items(), LOG_VALUES_MAX):
        name, is_secret, is_measure = _judge(str(given))
        if is_secret and not (is_measure and isinstance(value, int | float)):
            plain[name] = HIDDEN
        else:
            plain[name] = _plain(value, depth=depth)
    return plain


def _spelled(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _plain(value: object, *, depth: int) -> Any:
    match value:
        case Enum():
            return clean_text(str(value.value))
        case int() if value.bit_length() >= _INTEGER_BITS_MAX:
            return f"[{value.bit_length()} bits]"
        case None | int() | float():
            return value
        case str():
            return clean_text(value)
        case PurePath():
            return clean_text(str(value))
        case bytes() | bytearray() | memoryview():
            return f"[{len(value)} bytes]"
        case Mapping() if depth < _DEPTH_MAX:
            return _plain_map(value, depth=depth + 1)
        case list() | tuple() | set() | frozenset() if depth < _DEPTH_MAX:
            return [_plain(inner, depth=depth + 1) for inner in islice(value, LOG_VALUES_MAX)]
        case _:
            return f"<{type(value).__name__}>"
