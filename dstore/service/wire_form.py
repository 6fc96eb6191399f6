"""How a value of the service travels between components: a format number, then msgpack.

The bytes come from an authenticated peer, which may be of another version or at fault. So decoding
checks all that the code behind it relies on, and whatever is wrong is one error.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

from dstore.base.limits import NESTING_DEPTH_MAX
from dstore.model import numbers
from dstore.model.errors import (
    DStoreError,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    invalid,
)
from dstore.model.values import Attribute, Item, check_names
from dstore.service.wire_types import WireAttribute, WirePatch

Value = TypeVar("Value")

# Numbers of at most 37 digits, as almost all are: within every bound of `model.numbers`.
_is_ordinary: Final = re.compile(r"-?[0-9]{1,19}(?:\.[0-9]{1,18})?").fullmatch
_encode: Final = msgspec.msgpack.Encoder().encode


class Unreadable(Unavailable):
    """A peer sent what this component cannot read; nothing was done with it.

    A retry may reach a component of the right version, so the client hears that it may try again.
    `what` and `why` are for the log; they hold no stored value.
    """

    def __init__(self, what: str, why: str) -> None:
        """Say what cannot be read, and why."""
        super().__init__(
            UnavailableKind.OVERLOADED,
            f"A component cannot read the {what} that another one sent; nothing was done. Retry, "
            "and see that all components are of one version.",
        )
        self.what = what
        self.why = why


class WireForm(Generic[Value]):
    """The wire form of one type. New fields go to the end with a default, under the same number."""

    __slots__ = ("_bytes_max", "_decode", "_format", "_head", "_what")

    def __init__(self, kind: Any, *, what: str, bytes_max: int, number: int = 1) -> None:
        """Describe it.

        Args:
            kind: the msgspec Struct, or the union of them.
            what: its name in errors.
            bytes_max: of its encoded form, the format number included.
            number: the format's, 0 to 255; another one is refused.
        """
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._what = what
        self._bytes_max = bytes_max
        self._format = number
        self._head = bytes([number])

    def encode(self, value: Value) -> bytes:
        """Encode. Raises: Refused: it is too large to travel."""
        encoded = self._head + _encode(value)
        if len(encoded) > self._bytes_max:
            raise Refused(
                RefusalKind.TOO_LARGE,
                f"The {self._what} takes {len(encoded)} bytes between components; "
                f"{self._bytes_max} fit. Numbers with long exponents are spelled out: send fewer.",
            )
        return encoded

    def decode(self, encoded: bytes) -> Value:
        """Decode. Raises: Unreadable."""
        if not 1 < len(encoded) <= self._bytes_max:
            raise self.unreadable(f"{len(encoded)} bytes")
        if encoded[0] != self._format:
            raise self.unreadable(f"format {encoded[0]}, not {self._format}")
        try:
            value: Value = self._decode(memoryview(encoded)[1:])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise self.unreadable(type(error).__name__) from error
        return value

    def unreadable(self, why: str | DStoreError) -> Unreadable:
        """Make the error of what was decoded and makes no sense."""
        return Unreadable(self._what, why if isinstance(why, str) else why.message)


def check_item(item: dict[str, WireAttribute]) -> Item:
    """Check that each attribute is one that `model.values` could have made; give it back.

    Raises: Refused.
    """
    check_names(item)
    for attribute in item.values():
        _check(attribute, 1)
    return item  # type: ignore[return-value] # a TypedDict is a dict; mypy keeps them apart


def check_values(values: dict[str, WireAttribute]) -> dict[str, Attribute]:
    """Check an expression's values as `check_item` does; their names are the expression's."""
    for attribute in values.values():
        _check(attribute, 1)
    return values  # type: ignore[return-value] # the same


def check_attribute(attribute: WireAttribute) -> Attribute:
    """Check one attribute as `check_item` does. Raises: Refused."""
    _check(attribute, 1)
    return attribute  # type: ignore[return-value] # the same


def check_patch(patch: dict[str, WirePatch | None], level: int = 1) -> dict[str, Attribute | None]:
    """Check a patch as `merge_patch.patch_of` makes it. Raises: Refused."""
    check_names(patch)
    for value in patch.values():
        if value is not None:
            inner = value.get("M")
            if inner is None or len(value) != 1:
                _check(value, level)
            elif level >= NESTING_DEPTH_MAX:
                raise invalid("nested too deeply")
            else:
                check_patch(inner, level + 1)
    return patch  # type: ignore[return-value] # the same


def _check(attribute: Any, level: int) -> None:
    """Check what decoding by type does not: one tag, numbers, base64, depth."""
    if len(attribute) != 1 or level > NESTING_DEPTH_MAX:
        raise invalid("no attribute, or nested too deeply")
    [(tag, value)] = attribute.items()
    if tag == "S":
        return
    if tag == "L":
        for element in value:
            _check(element, level + 1)
    elif tag == "M":
        check_names(value)
        for element in value.values():
            _check(element, level + 1)
    else:
        _CHECKS[tag](value)


def _check_number(text: str) -> None:
    if _is_ordinary(text) is None:
        numbers.parse(text)


def _check_base64(text: str) -> None:
    try:
        a2b_base64(text, strict_mode=True)
    except ValueError:
        raise invalid("no base64") from None


def _check_null(value: bool) -> None:  # noqa: FBT001 - called as the others
    if not value:
        raise invalid("a null that is false")


def _check_strings(texts: list[str]) -> None:
    if not texts or len(set(texts)) != len(texts):
        raise invalid("a set without elements, or with one twice")


def _check_numbers(texts: list[str]) -> None:
    _check_strings(texts)
    for text in texts:
        _check_number(text)


def _check_binaries(texts: list[str]) -> None:
    _check_strings(texts)
    for text in texts:
        _check_base64(text)


def _accept(_value: object) -> None:
    """Decoding by type has seen to it."""


_CHECKS: Final[dict[str, Callable[[Any], None]]] = {
    "N": _check_number,
    "B": _check_base64,
    "BOOL": _accept,
    "NULL": _check_null,
    "SS": _check_strings,
    "NS": _check_numbers,
    "BS": _check_binaries,
}
