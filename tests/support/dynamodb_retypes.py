"""Every member of an operation's input with every JSON type that it cannot have.

The service reads types before it looks at anything else, and stops at the first that does not fit;
so a request with the one wrong member is enough. Which members there are, botocore's model says;
what is answered depends on the member's type alone and is what dynalite's `checkTypes` recorded
from the real service (dynalite validations/index.js; its tests, test/*.js, `serializations`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.support.dynamodb import model
from tests.support.dynamodb_cases import Case, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOURCE: Final = "dynalite validations/index.js checkTypes, test/*.js serializations"
# In botocore's model, but no public source has seen the service read them.
_UNSEEN: Final = {
    "DisassociationProtectionEnabled",
    "GlobalTableSettingsReplicationMode",
    "GlobalTableSourceArn",
    "GlobalTableWitnessUpdates",
    "MultiRegionConsistency",
    "ReplicaUpdates",
    "VectorIndexUpdates",
    "VectorIndexes",
}
_NO_STRUCTURE: Final = "Start of structure or map found where not expected"
_PARAMETERIZED: Final = (
    "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast to class "
    "java.lang.Class (sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and "
    "java.lang.Class are in module java.base of loader 'bootstrap')"
)
_NAMESPACE: Final = "com.amazonaws.dynamodb.v20120810"
_SCALARS: Final[Mapping[str, object]] = {
    "true": True,
    "false": False,
    "integer": 23,
    "decimal": 2.5,
    "text": "abc",
}
_TOKENS: Final[Mapping[str, str]] = {
    "true": "TRUE_VALUE",
    "false": "FALSE_VALUE",
    "integer": "NUMBER_VALUE",
    "decimal": "DECIMAL_VALUE",
    "text": "STRING_VALUE",
}
_TAKES: Final[Mapping[str, frozenset[str]]] = {
    "String": frozenset({"text"}),
    "Integer": frozenset({"integer", "decimal"}),  # a decimal is rounded down
    "Long": frozenset({"integer", "decimal"}),
    "Boolean": frozenset({"true", "false"}),
}


def retypes(operation: str) -> list[Case]:
    """List the cases of an operation; the nested members of attribute values come once."""
    shape = model().operation_model(operation).input_shape
    seen: set[str] = set()
    return [
        Case(name=f"{path}-as-{kind}", request=request, error=unreadable(text), source=SOURCE)
        for path, kind, request, text in _of_structure(shape, "", seen)
    ]


_Wrong = tuple[str, str, Any, str]


def _of_structure(shape: Any, path: str, seen: set[str]) -> Iterator[_Wrong]:
    for name, member in shape.members.items():
        if name in _UNSEEN:
            continue
        where = f"{path}.{name}" if path else name
        for at, kind, value, text in _of(member, where, seen, place="field"):
            yield at, kind, {name: value}, text


def _of(shape: Any, path: str, seen: set[str], *, place: str) -> Iterator[_Wrong]:
    """Yield the wrong values of one shape; `place` is `field`, or `element` of a list or map."""
    for kind, text in _texts(shape, place).items():
        yield path, kind, _VALUES[kind], text
    if shape.name == "AttributeValue":
        if shape.name in seen:
            return
        seen.add(shape.name)
    match shape.type_name:
        case "structure":
            yield from _of_structure(shape, path, seen)
        case "list":
            for at, kind, value, text in _of(shape.member, f"{path}[0]", seen, place="element"):
                yield at, kind, [value], text
        case "map":
            for at, kind, value, text in _of(shape.value, f"{path}.abc", seen, place="element"):
                yield at, kind, {"abc": value}, text
        case _:
            pass


_VALUES: Final[Mapping[str, object]] = {**_SCALARS, "array": [], "object": {}}


def _texts(shape: Any, place: str) -> dict[str, str]:
    match shape.type_name:
        case "string":
            return _scalar_texts("String")
        case "integer":
            return _scalar_texts("Integer")
        case "long":
            return _scalar_texts("Long")
        case "boolean":
            # The texts true, false, 1, 0, yes and no are read as booleans.
            return _scalar_texts("Boolean") | {"text": "Unexpected token received from parser"}
        case "blob":
            encoded = "only base-64-encoded strings are convertible to bytes"
            kinds = ("true", "false", "integer", "decimal")
            return dict.fromkeys(kinds, encoded) | {
                "array": "Unrecognized collection type class java.nio.ByteBuffer",
                "object": _NO_STRUCTURE,
                "text": "Base64 encoded length is expected a multiple of 4 bytes but found: 3",
            }
        case "list":
            text = _PARAMETERIZED if place == "element" else "Unexpected field type"
            return dict.fromkeys(_SCALARS, text) | {"object": _NO_STRUCTURE}
        case "map":
            text = _PARAMETERIZED if place == "element" else "Unexpected field type"
            array = f"Unrecognized collection type {_java_map(shape)}"
            return dict.fromkeys(_SCALARS, text) | {"array": array}
        case _:
            is_field = place == "field"
            text = "Unexpected field type" if is_field else "Unexpected value type in payload"
            array = f"Unrecognized collection type class {_NAMESPACE}.{shape.name}"
            return dict.fromkeys(_SCALARS, text) | {"array": array}


def _scalar_texts(name: str) -> dict[str, str]:
    wrong = _TOKENS.keys() - _TAKES[name]
    return {kind: f"{_TOKENS[kind]} cannot be converted to {name}" for kind in sorted(wrong)} | {
        "array": f"Unrecognized collection type class java.lang.{name}",
        "object": _NO_STRUCTURE,
    }


def _java_map(shape: Any) -> str:
    return f"java.util.Map<java.lang.String, {_java_type(shape.value)}>"


def _java_type(shape: Any) -> str:
    match shape.type_name:
        case "string":
            return "java.lang.String"
        case "list":
            return f"java.util.List<{_java_type(shape.member)}>"
        case _:
            return f"{_NAMESPACE}.{shape.name}"
