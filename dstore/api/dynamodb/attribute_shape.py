"""The type check of attribute values: which JSON each of the ten types takes.

Only that: an empty set, a number out of bounds or two types at once are for `attributes.py`, which
complains about them later. A value that this module has read has known types only, of the right
JSON types, and its binaries are base64; nulls in lists have become empty values.
Source of the texts: dynalite's suite (test/helpers.js, AttrStruct).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from dstore.api.dynamodb.errors import serialization
from dstore.api.dynamodb.shape_scalars import (
    Boolean,
    Rule,
    String,
    is_base64,
    read_base64,
)
from dstore.api.dynamodb.shape_values import (
    JAVA_PACKAGE,
    NOT_A_COLLECTION,
    NOT_AN_ELEMENT,
    attribute_pieces,
    unexpected_structure,
    unrecognised,
)

_JAVA: Final = f"{JAVA_PACKAGE}AttributeValue"
_JAVA_MAP: Final = f"java.util.Map<java.lang.String, {_JAVA}>"
_string: Final = String().read
_boolean: Final = Boolean().read


@dataclass(frozen=True, slots=True)
class AttributeValue:
    """An attribute value: an object of one type tag and its content."""

    rules: tuple[Rule, ...] = field(default=(), init=False, repr=False)
    java: str = field(default=_JAVA, init=False)

    @staticmethod
    def accepts(value: Any) -> bool:
        """Tell quickly whether the value is right as it is."""
        return accept_all((value,))

    def read(self, value: Any, *, is_element: bool = False) -> Any:
        """Take an attribute value. Raises: AwsError: SerializationException."""
        return _read(value, is_element=is_element)

    def descend(self, value: Any, path: str, complaints: list[str]) -> None:
        """Do nothing: see `attributes.py`."""

    def pieces(self, value: Any) -> Iterator[str]:
        """Print a value."""
        return attribute_pieces(value)


def accept_all(values: Iterable[Any]) -> bool:
    """Tell quickly whether all these attribute values are right as they are."""
    for value in values:
        if type(value) is not dict or len(value) != 1:
            return False
        if type(value.get("S")) is str:  # most are strings
            continue
        for tag, content in value.items():
            accepts = _ACCEPTS.get(tag)
            if accepts is None or not accepts(content):
                return False
    return True


def _accepts_string(content: Any) -> bool:
    return type(content) is str


def _accepts_strings(content: Any) -> bool:
    return type(content) is list and all(type(one) is str for one in content)


def _accepts_binaries(content: Any) -> bool:
    return type(content) is list and all(map(is_base64, content))


def _accepts_boolean(content: Any) -> bool:
    return type(content) is bool


def _accepts_list(content: Any) -> bool:
    return type(content) is list and accept_all(content)


def _accepts_map(content: Any) -> bool:
    return type(content) is dict and accept_all(content.values())


def _read(value: Any, *, is_element: bool) -> Any:
    if value is None:
        return {}
    if type(value) is list:
        raise unrecognised(f"class {_JAVA}")
    if type(value) is not dict:
        raise serialization(NOT_AN_ELEMENT if is_element else NOT_A_COLLECTION)
    return {
        tag: _READ[tag](content)
        for tag, content in value.items()
        if content is not None and tag in _READ
    }


def _list_of(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read_list(content: Any) -> Any:
        if type(content) is dict:
            raise unexpected_structure()
        if type(content) is not list:
            raise serialization(NOT_A_COLLECTION)
        return [read(one) for one in content]

    return read_list


def _read_map(content: Any) -> Any:
    if type(content) is list:
        raise unrecognised(_JAVA_MAP)
    if type(content) is not dict:
        raise serialization(NOT_A_COLLECTION)
    return {name: _read_element(one) for name, one in content.items()}


def _read_element(value: Any) -> Any:
    return _read(value, is_element=True)


def _string_or_null(value: Any) -> Any:
    return None if value is None else _string(value)


def _base64_or_null(value: Any) -> Any:
    return None if value is None else read_base64(value)


_ACCEPTS: Final[dict[str, Callable[[Any], bool]]] = {
    "S": _accepts_string,
    "N": _accepts_string,
    "B": is_base64,
    "BOOL": _accepts_boolean,
    "NULL": _accepts_boolean,
    "SS": _accepts_strings,
    "NS": _accepts_strings,
    "BS": _accepts_binaries,
    "L": _accepts_list,
    "M": _accepts_map,
}
_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "S": _string,
    "N": _string,
    "B": read_base64,
    "BOOL": _boolean,
    "NULL": _boolean,
    "SS": _list_of(_string_or_null),
    "NS": _list_of(_string_or_null),
    "BS": _list_of(_base64_or_null),
    "L": _list_of(_read_element),
    "M": _read_map,
}
