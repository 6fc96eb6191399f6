"""Sums and differences of numbers to 38 digits: exact, or refused."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final, Literal

from dstore.base.limits import NUMBER_DIGITS_MAX, NUMBER_EXPONENT_MAX, NUMBER_EXPONENT_MIN
from dstore.expressions.errors import Complaint, ExpressionError
from dstore.model import numbers

# Exact for any two numbers: from 1E+125 down to the 38th digit of 1E-130 are 294 digits.
_EXACT: Final = Context(prec=300, Emin=-999, Emax=999)
_SHORT_CHARS_MAX: Final = NUMBER_DIGITS_MAX - 1  # a sum has at most one digit more


def combined(operator: Literal["+", "-"], one: str, other: str) -> str:
    """Add or subtract two numbers, and spell the result as DynamoDB answers it.

    Args:
        operator: which of both.
        one: a number's text, valid by `model.numbers`.
        other: the same.
    Raises: ExpressionError: NUMBER_OVERFLOW, NUMBER_UNDERFLOW, or NUMBER_PRECISION if the exact
        result has more than 38 digits.
    """
    if _is_short_integer(one) and _is_short_integer(other):
        return str(int(one) + int(other) if operator == "+" else int(one) - int(other))
    left, right = Decimal(one), Decimal(other)
    exact = _EXACT.add(left, right) if operator == "+" else _EXACT.subtract(left, right)
    if not exact:
        return "0"
    if exact.adjusted() > NUMBER_EXPONENT_MAX:
        raise ExpressionError(Complaint.NUMBER_OVERFLOW, token=operator)
    if exact.adjusted() < NUMBER_EXPONENT_MIN:
        raise ExpressionError(Complaint.NUMBER_UNDERFLOW, token=operator)
    digits = "".join(map(str, exact.as_tuple().digits)).strip("0")
    if len(digits) > NUMBER_DIGITS_MAX:
        raise ExpressionError(Complaint.NUMBER_PRECISION, token=operator)
    return numbers.plain(f"{exact.normalize(_EXACT):E}")


def _is_short_integer(text: str) -> bool:
    """Say whether a number is spelled with so few digits, and nothing else, that int() will do."""
    digits = text[1:] if text[:1] == "-" else text
    return digits.isdecimal() and len(digits) <= _SHORT_CHARS_MAX
