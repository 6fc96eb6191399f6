"""The one strict decoder of JSON that a client sent.

No library alone is safe: msgspec and orjson silently keep the last of duplicate keys and turn long
numbers into floats; the standard library accepts NaN and lone surrogates, and raises RecursionError
on deep nesting. Here the standard library's scanner (C, with our hooks) runs between two checks:
the depth before it, surrogates behind it. Everything is O(body); bodies over INLINE_JSON_BYTES_MAX
belong into a thread.
"""

from __future__ import annotations

import re
from json import JSONDecodeError, JSONDecoder
from typing import Any, Never

from dstore.base.limits import NESTING_DEPTH_MAX, NUMBER_DIGITS_MAX
from dstore.model import numbers
from dstore.model.errors import Refused, excerpt, invalid
from dstore.model.values import NumberText

# The closing quote is optional and the loop possessive: an unterminated string is matched once to
# its end instead of being tried again at each of its escaped quotes.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_ANY_BRACE_TO_BRACKET = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_MAYBE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# Alternatives in order: a whole pair, a lone half, any other escape. Matches begin at a backslash
# that is not itself escaped, since those before it have been consumed.
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def decode_object(body: bytes, *, what: str, depth_max: int = NESTING_DEPTH_MAX) -> dict[str, Any]:
    """Decode a body that has to be one JSON object.

    Numbers become `NumberText`, spelled as they came and within 38 digits and 1E-130 … 9.99E+125.

    Args:
        body: the whole body, its size bounded by the caller.
        what: what the body is, for the sentence of a refusal: "entry", "table definition".
        depth_max: levels of nesting, the outermost object included; 1 <= depth_max < 500, far from
            Python's own bound of recursion.
    Raises: Refused (invalid): the body is not strict UTF-8, not strict JSON (RFC 8259), not an
        object, too deep, or has a duplicate key, half a surrogate pair or a number out of bounds.
    Cost: 8 µs for 1 KB of 10 attributes on the machines of this project.
    """
    if _is_deeper(body, depth_max):
        raise invalid(f"The {what} is nested deeper than {depth_max} levels; flatten it.")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise invalid(
            f"The {what} is not valid UTF-8 at byte {error.start}; encode it in UTF-8."
        ) from None
    try:
        value = _decode(text)
    except JSONDecodeError as error:
        raise _not_json(error, what) from None
    if type(value) is not dict:
        raise invalid(f"The {what} is not a JSON object; send one, such as {{}}.")
    if _MAYBE_SURROGATE.search(text) is not None:
        _check_surrogates(text, what)
    return value


def _is_deeper(body: bytes, depth_max: int) -> bool:
    """Tell whether brackets outside of strings are nested deeper than `depth_max`.

    A body with unmatched brackets may pass at up to twice the depth; the scanner refuses it.
    """
    if body.count(b"{") + body.count(b"[") <= depth_max:
        return False  # almost every body: too few brackets, wherever they stand
    brackets = _STRINGS.sub(b"", body).translate(_ANY_BRACE_TO_BRACKET, _NO_BRACKETS)
    for _ in range(depth_max):  # each round takes away exactly the innermost level
        flatter = brackets.replace(b"[]", b"")
        if len(flatter) == len(brackets):
            break
        brackets = flatter
    return b"[]" in brackets or brackets.count(b"[") > depth_max


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; refuse a key that comes twice, however it is escaped."""
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise invalid(f"The key {excerpt(name)} comes twice in one object; keep one of them.")
        seen.add(name)
    raise AssertionError(len(pairs))


def _whole_number(text: str) -> NumberText:
    """Keep a number without fraction and exponent; up to 38 characters no bound can be broken."""
    if len(text) > NUMBER_DIGITS_MAX:
        numbers.parse(text)
    return NumberText(text)


def _number(text: str) -> NumberText:
    numbers.parse(text)
    return NumberText(text)


def _refuse_constant(name: str) -> Never:
    raise invalid(f"{name} is not a JSON number; leave it out, or send null or a string.")


_decode = JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_whole_number,
    parse_float=_number,
    parse_constant=_refuse_constant,
).decode


def _check_surrogates(text: str, what: str) -> None:
    """Refuse half of a surrogate pair: no UTF-8 can hold it, so it could not be answered."""
    for escape in _ESCAPES.finditer(text):
        if escape["half"] is not None:
            raise invalid(
                f"The {what} has half of a surrogate pair, \\{escape['half']}, at character "
                f"{escape.start()}; send both halves, or the character itself."
            )


def _not_json(error: JSONDecodeError, what: str) -> Refused:
    """Say where the JSON ends to be JSON, without quoting it."""
    if not error.doc.strip(" \t\r\n"):
        return invalid(f"The {what} is empty; send a JSON object, such as {{}}.")
    if error.doc.startswith("\ufeff"):
        return invalid(f"The {what} begins with a byte order mark; leave it out.")
    reason = error.msg.removesuffix(" at").rstrip(": ")
    return invalid(
        f"The {what} is not valid JSON at line {error.lineno}, column {error.colno} ({reason}); "
        "correct it and send it again."
    )
