"""The leaves of a request's shape: strings, numbers, booleans, binaries.

See `shapes.py` for what the methods of a shape do, and in which order they are called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from math import floor
from typing import Any, Final

from dstore.api.dynamodb.errors import serialization
from dstore.api.dynamodb.shape_values import (
    buffer_pieces,
    not_convertible,
    refuse_collections,
    scalar_pieces,
)

Rule = tuple[str, Callable[[Any], bool]]
"""A constraint: AWS's text of it, and whether a value holds it."""

INTEGER_MAX: Final = 2**31 - 1
LONG_MAX: Final = 2**63 - 1
_TRUE: Final = frozenset({"TRUE", "1", "YES"})
_FALSE: Final = frozenset({"FALSE", "0", "NO"})
_BASE64: Final = re.compile("[A-Za-z0-9+/]*+={0,2}")
# The character before the padding, by its length: its spare bits, 2 or 4, must be zeros.
_BEFORE_PADDING: Final = (None, frozenset("AEIMQUYcgkosw048"), frozenset("AQgw"))
_BASE64_QUANTUM: Final = 4
_NOT_BASE64: Final = "only base-64-encoded strings are convertible to bytes"


@dataclass(frozen=True, slots=True)
class String:
    """A string.

    `min` and `max` count characters, `pattern` must match the whole, `enum` lists what is allowed,
    in the order in which AWS prints it.
    """

    _: KW_ONLY
    min: int = 0
    max: int | None = None
    pattern: str | None = None
    enum: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = field(init=False, repr=False, compare=False)
    java: str = field(default="java.lang.String", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self._rules()))

    def accepts(self, value: Any) -> bool:
        """Tell quickly whether the value is right as it is."""
        if type(value) is not str:
            return False
        for _, holds in self.rules:  # noqa: SIM110 - a generator costs more than the rules
            if not holds(value):
                return False
        return True

    def read(self, value: Any, *, is_element: bool = False) -> Any:  # noqa: ARG002 - all the same
        """Take a string. Raises: AwsError: SerializationException."""
        if type(value) is str:
            return value
        refuse_collections(value, self.java)
        raise not_convertible(value, "String")

    def descend(self, value: Any, path: str, complaints: list[str]) -> None:
        """Do nothing: there is nothing inside."""

    def pieces(self, value: Any) -> Iterator[str]:
        """Print a value."""
        return scalar_pieces(value)

    def _rules(self) -> Iterator[Rule]:
        if self.pattern is not None:
            match = re.compile(self.pattern).fullmatch
            text = f"Member must satisfy regular expression pattern: {self.pattern}"
            yield text, lambda value: match(value) is not None
        yield from length_rules(self.min, self.max)
        if self.enum:
            allowed = frozenset(self.enum)
            text = f"Member must satisfy enum value set: [{', '.join(self.enum)}]"
            yield text, allowed.__contains__


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number of 32 bits; a fraction is cut off, and what is larger counts as the largest.

    (What AWS does beyond the bits of its type is not known; a bound keeps the number small.)
    """

    _: KW_ONLY
    min: int | None = None
    max: int | None = None
    rules: tuple[Rule, ...] = field(init=False, repr=False, compare=False)
    java: str = field(default="java.lang.Integer", init=False)
    bound: int = field(default=INTEGER_MAX, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self._rules()))

    def accepts(self, value: Any) -> bool:
        """Tell quickly whether the value is right as it is."""
        return (
            type(value) is int
            and -self.bound <= value <= self.bound
            and all(holds(value) for _, holds in self.rules)
        )

    def read(self, value: Any, *, is_element: bool = False) -> Any:  # noqa: ARG002 - all the same
        """Take a number. Raises: AwsError: SerializationException."""
        if type(value) is int or type(value) is float:
            return max(-self.bound, min(floor(value), self.bound))
        refuse_collections(value, self.java)
        raise not_convertible(value, self.java.removeprefix("java.lang."))

    def descend(self, value: Any, path: str, complaints: list[str]) -> None:
        """Do nothing: there is nothing inside."""

    def pieces(self, value: Any) -> Iterator[str]:
        """Print a value."""
        return scalar_pieces(value)

    def _rules(self) -> Iterator[Rule]:
        least, most = self.min, self.max
        if least is not None:
            text = f"Member must have value greater than or equal to {least}"
            yield text, lambda value: value >= least
        if most is not None:
            text = f"Member must have value less than or equal to {most}"
            yield text, lambda value: value <= most


@dataclass(frozen=True, slots=True)
class Long(Integer):
    """A whole number of 64 bits, otherwise as `Integer`."""

    java: str = field(default="java.lang.Long", init=False)
    bound: int = field(default=LONG_MAX, init=False, repr=False)


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false; AWS reads "true", "yes", "1" and their opposites too, in any case."""

    rules: tuple[Rule, ...] = field(default=(), init=False, repr=False)
    java: str = field(default="java.lang.Boolean", init=False)

    def accepts(self, value: Any) -> bool:
        """Tell quickly whether the value is right as it is."""
        return type(value) is bool

    def read(self, value: Any, *, is_element: bool = False) -> Any:  # noqa: ARG002 - all the same
        """Take a boolean. Raises: AwsError: SerializationException."""
        if type(value) is bool:
            return value
        if type(value) is str:
            word = value[:5].upper() if len(value) <= 5 else ""  # noqa: PLR2004 - "false"
            if word in _TRUE:
                return True
            if word in _FALSE:
                return False
            raise serialization("Unexpected token received from parser")
        refuse_collections(value, self.java)
        raise not_convertible(value, "Boolean")

    def descend(self, value: Any, path: str, complaints: list[str]) -> None:
        """Do nothing: there is nothing inside."""

    def pieces(self, value: Any) -> Iterator[str]:
        """Print a value."""
        return scalar_pieces(value)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes as padded base64; they stay text, since nobody but a client decodes them."""

    rules: tuple[Rule, ...] = field(default=(), init=False, repr=False)
    java: str = field(default="java.nio.ByteBuffer", init=False)

    def accepts(self, value: Any) -> bool:
        """Tell whether the value is base64."""
        return is_base64(value)

    def read(self, value: Any, *, is_element: bool = False) -> Any:  # noqa: ARG002 - all the same
        """Take base64. Raises: AwsError: SerializationException."""
        return read_base64(value)

    def descend(self, value: Any, path: str, complaints: list[str]) -> None:
        """Do nothing: there is nothing inside."""

    def pieces(self, value: Any) -> Iterator[str]:
        """Print a buffer as Java does."""
        return buffer_pieces(value)


def is_base64(value: Any) -> bool:
    """Tell whether a JSON value is a string of padded base64 whose spare bits are zero."""
    if type(value) is not str or len(value) % _BASE64_QUANTUM:
        return False
    if _BASE64.fullmatch(value) is None:
        return False
    padding = value.count("=", -2)
    allowed = _BEFORE_PADDING[padding]
    return allowed is None or value[-padding - 1] in allowed


def read_base64(value: Any) -> str:
    """Take padded base64, spelled in the only way that its bytes have.

    Raises: AwsError: SerializationException.
    """
    if type(value) is not str:
        refuse_collections(value, "java.nio.ByteBuffer")
        raise serialization(_NOT_BASE64)
    if len(value) % _BASE64_QUANTUM:
        raise serialization(
            f"Base64 encoded length is expected a multiple of 4 bytes but found: {len(value)}"
        )
    if not is_base64(value):
        raise serialization("Invalid last non-pad Base64 character dectected")  # AWS's spelling
    return value


def length_rules(least: int, most: int | None) -> Iterator[Rule]:
    """Make the constraints on a length, of characters or of elements."""
    if least > 0:
        text = f"Member must have length greater than or equal to {least}"
        yield text, lambda value: len(value) >= least
    if most is not None:
        text = f"Member must have length less than or equal to {most}"
        yield text, lambda value: len(value) <= most
