"""The schema of requests, and the check of a request against it, in two phases as AWS has them.

1. Types: the first value that cannot be read as its member's type ends it with a
   SerializationException. Members that the shape does not know, and nulls, are dropped.
2. Constraints: every broken one is gathered, at most ten, into one ValidationException:
   "2 validation errors detected: Value '' at 'tableName' failed to satisfy constraint: …; …".

    PUT_ITEM = Structure({"TableName": TABLE_NAME, "Item": ITEM}, required=("TableName", "Item"))
    check(PUT_ITEM, members)

A shape is a value with five abilities: `accepts` (both phases at once, quickly: almost every
request ends there), `read` (phase 1), `rules` and `descend` (phase 2, of itself and of what is in
it), and `pieces` (how AWS prints a value). A structure prints its members in their order, and
complains in the order of a Java HashMap. What is inside an attribute value is for `attributes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Protocol

from dstore.api.dynamodb.attribute_shape import AttributeValue
from dstore.api.dynamodb.errors import serialization, validation
from dstore.api.dynamodb.shape_scalars import (
    Blob,
    Boolean,
    Integer,
    Long,
    Rule,
    String,
    length_rules,
)
from dstore.api.dynamodb.shape_values import (
    JAVA_PACKAGE,
    NOT_A_COLLECTION,
    NOT_A_NESTED_COLLECTION,
    NOT_AN_ELEMENT,
    in_hash_map_order,
    list_pieces,
    lower_first,
    map_pieces,
    scalar_pieces,
    shown,
    unexpected_structure,
    unrecognised,
)
from dstore.base.limits import COMPLAINTS_MAX

__all__ = [
    "AttributeValue",
    "Blob",
    "Boolean",
    "Integer",
    "ListOf",
    "Long",
    "MapOf",
    "Shape",
    "String",
    "Structure",
    "check",
]

_NOT_NULL: Final = "Member must not be null"


class Shape(Protocol):
    """What a value has to be."""

    @property
    def java(self) -> str:
        """The name of the type in Java, which AWS's texts quote."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The constraints on a value itself, in the order of their complaints."""

    def accepts(self, value: Any) -> bool:
        """Tell quickly whether a value is right as it is; False may also mean: look closer."""

    def read(self, value: Any, *, is_element: bool = False) -> Any:
        """Take a JSON value that is not null: check and convert its types, drop what is unknown.

        `is_element` says that it stands in a list or map, not in a structure.
        Raises: AwsError: SerializationException.
        """

    def descend(self, value: Any, path: str, complaints: list[str]) -> None:
        """Add the complaints about what is in a value; `path` is where the value stands."""

    def pieces(self, value: Any) -> Iterator[str]:
        """Print a value, piece by piece."""


def check(shape: Structure, members: dict[str, Any]) -> None:
    """Check a whole request and leave in it what the shape knows, of the types that it states.

    The members are as `json_members.decode` gives them, and are changed in place.
    Raises: AwsError: SerializationException or ValidationException, see above.
    Cost: 1 µs for a PutItem that is right, and 0.1 µs for each of its attributes.
    """
    try:
        if shape.accepts(members):
            return
        read = shape.read(members)
    except RecursionError:  # nested by hundreds of levels: no such request can be right
        raise serialization() from None
    members.clear()
    members.update(read)
    for name in shape.required_first:
        if name not in members:
            raise validation(
                f"The parameter '{name}' is required but was not present in the request"
            )
    complaints: list[str] = []
    shape.descend(members, "", complaints)
    if complaints:
        raise validation((shape.tell or listed)(complaints))


def listed(complaints: Sequence[str]) -> str:
    """List what is wrong with the members of a request, as most operations do."""
    errors = "error" if len(complaints) == 1 else "errors"
    return f"{len(complaints)} validation {errors} detected: {'; '.join(complaints)}"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of `element`, of `min` to `max` elements."""

    element: Shape
    _: KW_ONLY
    min: int = 0
    max: int | None = None
    rules: tuple[Rule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(length_rules(self.min, self.max)))

    @property
    def java(self) -> str:
        """Java's name: a List of the element's."""
        return f"java.util.List<{self.element.java}>"

    def accepts(self, value: Any) -> bool:
        """Tell quickly whether the value is right as it is."""
        if type(value) is not list or len(value) < self.min:
            return False
        if self.max is not None and len(value) > self.max:
            return False
        return all(map(self.element.accepts, value))

    def read(self, value: Any, *, is_element: bool = False) -> Any:
        """Take an array."""
        if type(value) is dict:
            raise unexpected_structure()
        if type(value) is not list:
            raise serialization(NOT_A_NESTED_COLLECTION if is_element else NOT_A_COLLECTION)
        read = self.element.read
        return [None if one is None else read(one, is_element=True) for one in value]

    def descend(self, value: Any, path: str, complaints: list[str]) -> None:
        """Complain about the elements, which are counted from 1."""
        for index, one in enumerate(value, 1):
            if len(complaints) >= COMPLAINTS_MAX:
                return
            _complain(self.element, one, path=f"{path}.{index}.member", complaints=complaints)

    def pieces(self, value: Any) -> Iterator[str]:
        """Print a list."""
        return list_pieces(value, self.element.pieces)


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map of strings to `value`: of `min` to `max` entries, whose keys are each a `key`."""

    value: Shape
    _: KW_ONLY
    key: String | None = None
    min: int = 0
    max: int | None = None
    rules: tuple[Rule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(length_rules(self.min, self.max)))

    @property
    def java(self) -> str:
        """Java's name: a Map of the value's."""
        return f"java.util.Map<java.lang.String, {self.value.java}>"

    def accepts(self, value: Any) -> bool:
        """Tell quickly whether the value is right as it is."""
        if type(value) is not dict or len(value) < self.min:
            return False
        if self.max is not None and len(value) > self.max:
            return False
        if self.key is not None and not all(map(self.key.accepts, value)):
            return False
        accepts = self.value.accepts
        for one in value.values():  # noqa: SIM110 - the hot path: all() costs more
            if not accepts(one):
                return False
        return True

    def read(self, value: Any, *, is_element: bool = False) -> Any:
        """Take an object."""
        if type(value) is list:
            raise unrecognised(self.java)
        if type(value) is not dict:
            raise serialization(NOT_A_NESTED_COLLECTION if is_element else NOT_A_COLLECTION)
        read = self.value.read
        return {
            key: None if one is None else read(one, is_element=True) for key, one in value.items()
        }

    def descend(self, value: Any, path: str, complaints: list[str]) -> None:
        """Complain about keys, then about the values' own constraints, then about their insides."""
        self._complain_of_entries(value, path, complaints)
        for key, one in value.items():
            if len(complaints) >= COMPLAINTS_MAX:
                return
            if one is not None:
                self.value.descend(one, f"{path}.{key}.member", complaints)

    def pieces(self, value: Any) -> Iterator[str]:
        """Print a map."""
        return map_pieces(value, self.value.pieces)

    def _complain_of_entries(self, value: Any, path: str, complaints: list[str]) -> None:
        """Complain once about all keys, and once about all values, as AWS does for maps."""
        keys, values = self.key, self.value
        if keys is not None and any(_broken(keys.rules, key) for key in value):
            texts = _all_texts(keys.rules)
            text = f"Map keys must satisfy constraint: [{texts}]"
            _add(complaints, shown(self.pieces(value)), path, text)
        if any(one is None or _broken(values.rules, one) for one in value.values()):
            texts = _all_texts(values.rules) or _NOT_NULL
            text = f"Map value must satisfy constraint: [{texts}]"
            _add(complaints, shown(self.pieces(value)), path, text)


@dataclass(frozen=True, slots=True)
class Structure:
    """An object of named members, in the order in which AWS prints them."""

    members: Mapping[str, Shape]
    _: KW_ONLY
    required: tuple[str, ...] = ()
    required_first: tuple[str, ...] = ()
    """Members whose absence AWS reports before anything else, in words of its own."""
    name: str = ""
    """Java's name of the class, if it is not the request itself: "KeySchemaElement"."""
    tell: Callable[[Sequence[str]], str] | None = None
    """What a request that it is says of the complaints about its members; None: it lists them."""
    rules: tuple[Rule, ...] = field(default=(), init=False, repr=False)
    _needed: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _accepts: Mapping[str, Callable[[Any], bool]] = field(init=False, repr=False, compare=False)
    _in_turn: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The members' names in the order of complaints."""

    def __post_init__(self) -> None:
        assert {*self.required, *self.required_first} <= self.members.keys(), self.name
        needed = (*self.required, *self.required_first)
        object.__setattr__(self, "_needed", needed)
        accepts = {name: shape.accepts for name, shape in self.members.items()}
        object.__setattr__(self, "_accepts", accepts)
        object.__setattr__(self, "_in_turn", in_hash_map_order(tuple(self.members)))

    @property
    def java(self) -> str:
        """Java's name of the class."""
        return JAVA_PACKAGE + self.name

    def accepts(self, value: Any) -> bool:
        """Tell quickly whether the value is right as it is."""
        if type(value) is not dict:
            return False
        accepts = self._accepts
        for name, one in value.items():
            accept = accepts.get(name)
            if accept is None or not accept(one):
                return False
        for name in self._needed:  # noqa: SIM110 - the hot path: all() costs more
            if name not in value:
                return False
        return True

    def read(self, value: Any, *, is_element: bool = False) -> Any:
        """Take an object, in the order in which it came."""
        if type(value) is list:
            raise unrecognised(f"class {self.java}")
        if type(value) is not dict:
            raise serialization(NOT_AN_ELEMENT if is_element else NOT_A_COLLECTION)
        known = self.members
        return {
            name: known[name].read(one)
            for name, one in value.items()
            if one is not None and name in known
        }

    def descend(self, value: Any, path: str, complaints: list[str]) -> None:
        """Complain about the members, in AWS's order."""
        inside = f"{path}." if path else ""
        for name in self._in_turn:
            if len(complaints) >= COMPLAINTS_MAX:
                return
            shape, one = self.members[name], value.get(name)
            if one is not None or name in self.required:
                where = inside + lower_first(name)
                _complain(shape, one, path=where, complaints=complaints)

    def pieces(self, value: Any) -> Iterator[str]:
        """Print all members, absent ones as null."""
        yield f"{self.name}("
        for index, (name, shape) in enumerate(self.members.items()):
            yield f"{', ' if index else ''}{lower_first(name)}="
            one = value.get(name)
            yield from scalar_pieces(None) if one is None else shape.pieces(one)
        yield ")"


def _complain(shape: Shape, value: Any, *, path: str, complaints: list[str]) -> None:
    """Add the complaints about a value and about what is in it."""
    if value is None:
        _add(complaints, None, path, _NOT_NULL)
        return
    for text, holds in shape.rules:
        if not holds(value):
            _add(complaints, shown(shape.pieces(value)), path, text)
    shape.descend(value, path, complaints)


def _add(complaints: list[str], value: str | None, path: str, text: str) -> None:  # noqa: PLR0917 - the parts of one sentence
    if len(complaints) < COMPLAINTS_MAX:
        what = "null" if value is None else f"'{value}'"
        complaints.append(f"Value {what} at '{path}' failed to satisfy constraint: {text}")


def _broken(rules: tuple[Rule, ...], value: Any) -> bool:
    return not all(holds(value) for _, holds in rules)


def _all_texts(rules: tuple[Rule, ...]) -> str:
    """List constraints as AWS does for maps: the greatest length, the least, then the pattern."""
    texts = [text for text, _ in rules]
    return ", ".join(sorted(texts, key=_place_in_list))


def _place_in_list(text: str) -> int:
    return 0 if "less than" in text else 1 if "greater than" in text else 2
