"""Attribute values at the edge: checked in DynamoDB's words, and normalised.

What comes in has passed the type check of `attribute_shape.py`: known types only, of the right
JSON types, binaries in base64. Here follow the rules on content: exactly one type, sets neither
empty nor with duplicates, numbers within 38 digits and 1E-130 … 9.99E+125, NULL true, nesting
within 32 levels, names of 1 to 65,535 bytes. Numbers leave as DynamoDB spells them, "1.50" as
"1.5", and sets in its order.

What AWS's newer checks say otherwise stands beside (`wordings.py` tells who has them).

Texts and their order: dynalite's validations/index.js and its suite, which was run against AWS;
nesting: paritysuite/dynamodb-conformance, tests/tier3/limits; names: DynamoDB local's error codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

from dstore.api.dynamodb.errors import AwsError, validation
from dstore.api.dynamodb.shape_values import shown
from dstore.base.limits import (
    ATTRIBUTE_NAME_BYTES_MAX,
    NESTING_DEPTH_MAX,
    NUMBER_DIGITS_MAX,
    NUMBER_EXPONENT_MAX,
    NUMBER_EXPONENT_MIN,
)
from dstore.model import numbers
from dstore.model.sets import in_order
from dstore.model.values import Attribute, Item

_INVALID: Final = "One or more parameter values were invalid: "
_EMPTY: Final = (
    "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
)
SEVERAL: Final = (
    "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the "
    "supported datatypes"
)
_NULL_FALSE: Final = f"{_INVALID}Null attribute value types must have the value of true"
_EMPTY_SETS: Final = {
    "SS": f"{_INVALID}An string set  may not be empty",  # the two blanks are AWS's
    "NS": f"{_INVALID}An number set  may not be empty",
    "BS": f"{_INVALID}Binary sets should not be empty",
}
_NULL_IN_SET: Final = f"{_INVALID}An {{kind}} set  may not have a null as a member"
_NUMBER_DUPLICATES: Final = "Input collection contains duplicates"
_JOINTS: Final = {"SS": ", ", "BS": ","}  # between the members that AWS's newer checks list
TOO_DEEP: Final = (
    "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels "
    "beyond supported limit"
)
_NOT_NUMERIC: Final = "The parameter cannot be converted to a numeric value"
_OVERFLOW: Final = (
    "Number overflow. Attempting to store a number with magnitude larger than supported range"
)
_UNDERFLOW: Final = (
    "Number underflow. Attempting to store a number with magnitude smaller than supported range"
)
_TOO_PRECISE: Final = (
    f"Attempting to store more than {NUMBER_DIGITS_MAX} significant digits in a Number"
)
_EMPTY_NAME: Final = f"{_INVALID}Empty attribute name"
_LONG_NAME: Final = (
    f"{_INVALID}Attribute name is too large, must be less than {ATTRIBUTE_NAME_BYTES_MAX + 1} bytes"
)
_SHORT_NAME_CHARS_MAX: Final = ATTRIBUTE_NAME_BYTES_MAX // 4  # at most 4 bytes a character

# Numbers that are spelled as DynamoDB spells them, with at most 37 digits: nothing is to be done.
_PLAIN: Final = re.compile(
    r"-?(?:[1-9][0-9]{0,18}(?:\.[0-9]{0,17}[1-9])?|0\.[0-9]{0,17}[1-9])|0"
).fullmatch
_SPELLING: Final = re.compile(r"([+-]?)([0-9]*+)(?:\.([0-9]*+))?(?:[eE]([+-]?)0*+([0-9]*+))?")
# An exponent of more digits than this is no integer of 64 bits, and beyond every bound, whatever
# stands before it: a request has at most 16 MiB of zeros, 8 digits.
_EXPONENT_CHARS_MAX: Final = 20
_LONG_BITS: Final = 64  # what AWS's newer checks keep an exponent in
_SCALE_BITS: Final = 32  # and the older ones, a BigDecimal's scale


def check_item(given: dict[str, Any]) -> Item:
    """Check an item, a key, or another map of names to attribute values, and normalise it.

    The size is not looked at, see `model.values.item_bytes`.

    Args:
        given: of the shape that `attribute_shape.py` reads; not changed.
    Returns: the item; it is `given` itself, or shares with it, where nothing needed a change.
    Raises: AwsError: ValidationException.
    Cost: 1.5 µs for 10 short strings and numbers.
    """
    item: Item = given
    for name, value in given.items():
        if not 0 < len(name) <= _SHORT_NAME_CHARS_MAX:
            check_name(name)
        # Most are strings, and a call for each would be most of what this costs.
        if "S" in value and len(value) == 1:
            continue
        checked = _checked(value, 1)
        if checked is not value:
            if item is given:
                item = given.copy()
            item[name] = checked
    return item


def check_attribute(given: dict[str, Any]) -> Attribute:
    """Check one attribute value, and normalise it.

    Raises: AwsError: ValidationException.
    """
    return _checked(given, 1)


def _checked(value: Any, level: int) -> Attribute:
    """Check a value that stands at this level of nesting; an item's own attributes stand at 1."""
    if level > NESTING_DEPTH_MAX:
        raise validation(TOO_DEEP)
    if len(value) != 1:
        _refuse_count(value, level)
    for tag, content in value.items():
        if tag == "S":
            return value  # type: ignore[no-any-return]  # JSON of the checked shape
        if tag == "N":
            if _PLAIN(content) is not None:
                return value  # type: ignore[no-any-return]  # the same
            return {"N": number(content)}
        check = _CHECKS.get(tag)
        return value if check is None else {tag: check(content, level)}
    raise AssertionError(value)


def _refuse_count(value: dict[str, Any], level: int) -> NoReturn:
    """Refuse a value without a type, or of several: then the first broken content is named."""
    if not value:
        raise validation(_EMPTY, is_bare=True)
    for tag, content in value.items():
        _checked({tag: content}, level)
    raise validation(SEVERAL, is_bare=True)


def number(text: str) -> str:
    """Check a number and spell it as DynamoDB does.

    Raises: AwsError: ValidationException.
    Cost: O(text), and arithmetic on 38 digits at most.
    """
    match = _SPELLING.fullmatch(text)
    if match is None:
        raise _not_numeric(text)
    sign, whole, fraction, power_sign, power = match.groups()
    if (not whole and not fraction) or (power == "" and not _ends_in_zero(text)):
        raise _not_numeric(text)
    fraction = fraction or ""
    leading = (whole + fraction).lstrip("0")
    digits = leading.rstrip("0")
    written = int(power[:_EXPONENT_CHARS_MAX]) if power else 0
    if power_sign == "-":
        written = -written
    if not digits:  # zero is held to the bounds by the exponent that it is written with
        if not NUMBER_EXPONENT_MIN <= written <= NUMBER_EXPONENT_MAX:
            raise _out_of_range(text, written, scale=-written, digits=1)
        return "0"
    exponent = written + len(leading) - len(fraction)  # of "0.digits"
    if not NUMBER_EXPONENT_MIN <= exponent - 1 <= NUMBER_EXPONENT_MAX:
        raise _out_of_range(text, written, scale=len(fraction) - written, digits=len(leading))
    if len(digits) > NUMBER_DIGITS_MAX:
        raise validation(_TOO_PRECISE)
    return numbers.plain_of(numbers.Number(sign == "-", digits, exponent - len(digits)))


def _ends_in_zero(text: str) -> bool:
    """Tell whether an exponent whose zeros were skipped has any digit at all: "1e00", not "1e"."""
    return text[-1] == "0"


def _not_numeric(text: str) -> AwsError:
    newer = f"{_NOT_NUMERIC}: {shown([text])}"
    return validation(newer if text else _NOT_NUMERIC, newer=newer)


def _out_of_range(text: str, written: int, *, scale: int, digits: int) -> AwsError:
    """Say that a number is too large or too small, as far as AWS's checks can count.

    Args:
        text: the number.
        written: its exponent.
        scale: how far its last digit stands behind the point.
        digits: how many it has behind leading zeros.
    """
    over, under, none = _OVERFLOW, _UNDERFLOW, f"{_NOT_NUMERIC}: {shown([text])}"
    newer = none if _bits(written) > _LONG_BITS else over if digits > scale else under
    if _bits(scale) > _SCALE_BITS:
        return validation(none, newer=newer)
    top = 1 << (_SCALE_BITS - 1)
    magnitude = (digits - scale + top) % (2 * top) - top  # the older ones count in 32 bits
    return validation(over if magnitude > 0 else under, newer=newer)


def _bits(number_: int) -> int:
    """Count the bits that an integer takes, its sign's included."""
    return (number_ if number_ >= 0 else ~number_).bit_length() + 1


def check_name(name: str) -> None:
    """Refuse an attribute name that is empty or too long. Raises: AwsError."""
    if not name:
        raise validation(_EMPTY_NAME)
    if len(name.encode()) > ATTRIBUTE_NAME_BYTES_MAX:
        raise validation(_LONG_NAME)


def _check_null(content: Any, level: int) -> bool:  # noqa: ARG001 - one signature for all types
    if not content:
        raise validation(_NULL_FALSE)
    return True


def _check_string_set(content: Any, level: int) -> list[str]:  # noqa: ARG001 - the same
    _check_members(content, "SS")
    if len(set(content)) != len(content):
        raise validation(
            f"{_INVALID}Input collection {_listed(content)} contains duplicates.",
            newer=f"{_INVALID}Input collection {_quoted('SS', content)} contains duplicates.",
        )
    return in_order("SS", content)


def _check_number_set(content: Any, level: int) -> list[str]:  # noqa: ARG001 - the same
    _check_members(content, "NS")
    made = [one if _PLAIN(one) is not None else number(one) for one in content]
    if len(set(made)) != len(made):
        raise validation(_NUMBER_DUPLICATES, newer=f"{_INVALID}{_NUMBER_DUPLICATES}.")
    return in_order("NS", made)


def _check_binary_set(content: Any, level: int) -> list[str]:  # noqa: ARG001 - the same
    _check_members(content, "BS")
    if len(set(content)) != len(content):
        raise validation(  # AWS leaves no blank before "of"
            f"{_INVALID}Input collection {_listed(content)}of type BS contains duplicates.",
            newer=f"{_INVALID}Input collection {_quoted('BS', content)}of type BS contains "
            "duplicates.",
        )
    return in_order("BS", content)


def _check_members(content: list[Any], tag: str) -> None:
    if not content:
        raise validation(_EMPTY_SETS[tag])
    if None in content:
        kind = {"SS": "string", "NS": "number", "BS": "binary"}[tag]
        raise validation(_NULL_IN_SET.format(kind=kind))


def _listed(content: list[str]) -> str:
    return shown(["[", ", ".join(content), "]"])


def _quoted(tag: str, content: list[str]) -> str:
    """List the members of a set as AWS's newer checks do.

    Those before the first that repeats one are in the set's order, and it and the rest as sent.
    """
    before: set[str] = set()
    for member in content:
        if member in before:
            break
        before.add(member)
    told = [*in_order(tag, list(before)), *content[len(before) :]]
    return shown(["[", _JOINTS[tag].join(f'"{member}"' for member in told), "]"])


def _check_list(content: Any, level: int) -> list[Attribute]:
    inside = level + 1
    return [_checked(one, inside) for one in content]


def _check_map(content: Any, level: int) -> Item:
    inside = level + 1
    made: Item = {}
    for name, value in content.items():
        if not 0 < len(name) <= _SHORT_NAME_CHARS_MAX:
            check_name(name)
        made[name] = _checked(value, inside)
    return made


_CHECKS: Final[dict[str, Callable[[Any, int], Any]]] = {
    "NULL": _check_null,
    "SS": _check_string_set,
    "NS": _check_number_set,
    "BS": _check_binary_set,
    "L": _check_list,
    "M": _check_map,
}
"""The types whose content has rules; a string, a boolean and checked base64 have none."""
