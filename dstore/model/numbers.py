"""Numbers to 38 digits as text: checked, compared and spelled without any big-number arithmetic.

A number travels and is stored as the text that the client sent. `Decimal` and `int` are avoided on
purpose: `int(Decimal("1e1000000"))` alone takes 24 s, and `Decimal` accepts full-width digits and
underscores. All functions here are O(length of the text), which is bounded before it is looked at.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from dstore.base.limits import (
    NUMBER_DIGITS_MAX,
    NUMBER_EXPONENT_MAX,
    NUMBER_EXPONENT_MIN,
    NUMBER_TEXT_CHARS_MAX,
)
from dstore.model.errors import Corrupt, excerpt, invalid

# [0-9], never \d: a full-width digit is no digit here.
_SPELLING = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")

_NEGATIVE = 1
_ZERO = 2
_POSITIVE = 3
_HEAD = struct.Struct(">BH")
_EXPONENT_BIAS = 0x8000  # the middle of 16 bits; the exponents used need 8, the rest is room
_END = 0  # ends the digits; pairs of digits are 1 to 100
_COMPLEMENT = bytes(255 - byte for byte in range(256))
_DIGIT_PAIRS = tuple(f"{pair:02d}" for pair in range(100))
_PAIRS_MAX = NUMBER_DIGITS_MAX // 2
_PAIR_BYTES = {text: pair + 1 for pair, text in enumerate(_DIGIT_PAIRS)}


@dataclass(frozen=True, slots=True)
class Number:
    """A checked number: its value is ±digits * 10**exponent.

    `digits` has neither leading nor trailing zeros, 1 to 38 of them; zero is digits "0",
    exponent 0, not negative. So equal values are equal objects.
    """

    negative: bool
    digits: str
    exponent: int

    @property
    def leading_exponent(self) -> int:
        """The exponent of the first digit, -130 to 125."""
        return self.exponent + len(self.digits) - 1


ZERO = Number(False, "0", 0)  # noqa: FBT003 - positional for speed where numbers are made


def parse(text: str) -> Number:
    """Read a number as JSON or DynamoDB spells it.

    A sign, leading zeros, a bare point ("5.", ".5") and an exponent are understood; the caller
    whose grammar is narrower (JSON) has checked its own.

    Raises: Refused: not a number, more than 38 significant digits, a magnitude outside
        1E-130 … 9.99E+125, or a spelling of more than 300 characters.
    """
    if len(text) > NUMBER_TEXT_CHARS_MAX:
        raise invalid(
            f"The number {excerpt(text)} is written with {len(text)} characters; write it with at "
            f"most {NUMBER_TEXT_CHARS_MAX}, using an exponent."
        )
    match = _SPELLING.fullmatch(text)
    if match is None:
        raise invalid(f"{excerpt(text)} is not a number; write decimal digits such as -12.5.")
    sign, whole, fraction, power = match.groups("")
    if not whole and not fraction:
        raise invalid(f"{excerpt(text)} is not a number; write decimal digits such as -12.5.")
    leading = (whole + fraction).lstrip("0")
    digits = leading.rstrip("0")
    if not digits:
        return ZERO
    # The text's bound keeps the power's digits below 300: int() is safe.
    exponent = (int(power) if power else 0) - len(fraction) + len(leading) - len(digits)
    if len(digits) > NUMBER_DIGITS_MAX:
        raise invalid(
            f"The number {excerpt(text)} has {len(digits)} significant digits; at most "
            f"{NUMBER_DIGITS_MAX} are kept: round it, or store it as a string."
        )
    if not NUMBER_EXPONENT_MIN <= exponent + len(digits) - 1 <= NUMBER_EXPONENT_MAX:
        raise invalid(
            f"The number {excerpt(text)} is too large or too small; its magnitude must be between "
            f"1E{NUMBER_EXPONENT_MIN} and 9.99E+{NUMBER_EXPONENT_MAX}: store it as a string."
        )
    return Number(sign == "-", digits, exponent)


def canonical(text: str) -> str:
    """Spell a value in the one way that is hashed.

    Sign, digits without outer zeros, `E`, exponent: "-1200.50" is "-12005E-1", "1200" is "12E2";
    zero is "0". Every language can do this without a number type; see docs/hash-vectors.md.

    Raises: Refused: as `parse`.
    """
    return canonical_of(parse(text))


def canonical_of(number: Number) -> str:
    """Spell a checked number in the one way that is hashed."""
    if number.digits == "0":
        return "0"
    sign = "-" if number.negative else ""
    return f"{sign}{number.digits}E{number.exponent}"


def plain(text: str) -> str:
    """Spell a value as DynamoDB answers it: "1E2" is "100", "1.50" is "1.5", "-0" is "0".

    The result never has an exponent; at most 170 characters.

    Raises: Refused: as `parse`.
    """
    return plain_of(parse(text))


def plain_of(number: Number) -> str:
    """Spell a checked number without an exponent."""
    if number.digits == "0":
        return "0"
    return _plain(number.digits, number.leading_exponent, negative=number.negative)


def sortable(text: str) -> bytes:
    """Encode a value so that bytes compare as values do, and no encoding is another's prefix.

    Raises: Refused: as `parse`.
    """
    return sortable_of(parse(text))


def sortable_of(number: Number) -> bytes:
    """Encode a checked number.

    One byte of sign, two of the biased exponent of the leading digit, the digits in pairs plus one,
    a zero byte. All but the sign is complemented for a negative number, which turns its order
    around. At most 1 + 2 + 19 + 1 = 23 bytes.
    """
    digits = number.digits
    if digits == "0":
        return bytes((_ZERO,))
    even = digits if len(digits) % 2 == 0 else digits + "0"
    sign = _NEGATIVE if number.negative else _POSITIVE
    head = _HEAD.pack(sign, number.leading_exponent + _EXPONENT_BIAS)
    pairs = bytes([_PAIR_BYTES[even[at : at + 2]] for at in range(0, len(even), 2)])
    encoded = head + pairs + bytes((_END,))
    if number.negative:
        return encoded[:1] + encoded[1:].translate(_COMPLEMENT)
    return encoded


def from_sortable(encoded: bytes, offset: int) -> tuple[str, int]:
    """Read a number that `sortable` wrote, at `offset`.

    Returns: its plain decimal text, and the offset behind it.
    Raises: Corrupt: there is no such number at that place.
    Cost: a microsecond; every item of a page may have a number as its sort key.
    """
    sign = encoded[offset] if offset < len(encoded) else _END
    if sign == _ZERO:
        return "0", offset + 1
    negative = sign == _NEGATIVE
    if not negative and sign != _POSITIVE:
        raise _not_sortable(offset)
    end = encoded.find(255 if negative else _END, offset + 3)
    if end < 0:
        raise _not_sortable(offset)
    body = encoded[offset + 1 : end]
    if negative:
        body = body.translate(_COMPLEMENT)
    leading_exponent = int.from_bytes(body[:2], "big") - _EXPONENT_BIAS
    pairs = body[2:]
    # What `sortable` never writes: it has one encoding for a value.
    if (
        not 1 <= len(pairs) <= _PAIRS_MAX
        or max(pairs) > len(_DIGIT_PAIRS)
        or pairs[0] <= _PAIR_BYTES["09"]
        or pairs[-1] == _PAIR_BYTES["00"]
        or not NUMBER_EXPONENT_MIN <= leading_exponent <= NUMBER_EXPONENT_MAX
    ):
        raise _not_sortable(offset)
    digits = "".join([_DIGIT_PAIRS[pair - 1] for pair in pairs])
    if digits[-1] == "0":
        digits = digits[:-1]
    return _plain(digits, leading_exponent, negative=negative), end + 1


def _plain(digits: str, leading_exponent: int, *, negative: bool) -> str:
    """Spell a number that is not zero, by its digits without outer zeros."""
    sign = "-" if negative else ""
    point = leading_exponent + 1
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if point > 0:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    return f"{sign}0.{'0' * -point}{digits}"


def _not_sortable(offset: int) -> Corrupt:
    return Corrupt("A stored key holds no number where one belongs.", file="", where=f"+{offset}")
