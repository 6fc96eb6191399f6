"""How AWS speaks of a request's values: of the wrong JSON type, or in a broken constraint.

The texts are Java's, as the service's own framework makes them. Sources: dynalite's suite, which
was run against AWS (test/helpers.js, assertType); paritysuite/dynamodb-conformance
(captures/), for how structures and attribute values print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.errors import AwsError, serialization
from dstore.base.limits import SHOWN_VALUE_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

JAVA_PACKAGE: Final = "com.amazonaws.dynamodb.v20120810."
NOT_A_COLLECTION: Final = "Unexpected field type"
NOT_AN_ELEMENT: Final = "Unexpected value type in payload"
# What AWS answers where a list or map is an element of another: its own cast fails.
NOT_A_NESTED_COLLECTION: Final = (
    "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast to class "
    "java.lang.Class (sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and "
    "java.lang.Class are in module java.base of loader 'bootstrap')"
)
# The service's class has a few types more than its interface.
_TAGS: Final = (
    *("S", "N", "B", "INT", "DECIMAL", "DOUBLE", "SS", "NS", "BS"),
    *("INTSET", "DECIMALSET", "DOUBLESET", "M", "L", "NULL", "BOOL"),
)
_BUCKETS_MIN: Final = 16
_TOKENS: Final = {str: "STRING_VALUE", int: "NUMBER_VALUE", float: "DECIMAL_VALUE"}


def not_convertible(value: object, target: str) -> AwsError:
    """Say that a JSON token is not of a scalar type; `target` is Java's short name of it."""
    if type(value) is bool:
        token = "TRUE_VALUE" if value else "FALSE_VALUE"
    else:
        token = _TOKENS[type(value)]
    return serialization(f"{token} cannot be converted to {target}")


def refuse_collections(value: object, java: str) -> None:
    """Refuse a JSON array or object where a scalar belongs.

    `java` is the scalar's Java type, such as "java.lang.String".
    Raises: AwsError: SerializationException.
    """
    if type(value) is list:
        raise unrecognised(f"class {java}")
    if type(value) is dict:
        raise unexpected_structure()


def unrecognised(java: str) -> AwsError:
    """Say that an array stands where `java` belongs."""
    return serialization(f"Unrecognized collection type {java}")


def unexpected_structure() -> AwsError:
    """Say that an object stands where a list or a scalar belongs."""
    return serialization("Start of structure or map found where not expected")


def shown(pieces: Iterable[str]) -> str:
    """Join what a value prints, at most SHOWN_VALUE_CHARS_MAX characters; the rest is not made."""
    kept: list[str] = []
    room = SHOWN_VALUE_CHARS_MAX
    for piece in pieces:
        kept.append(piece[:room])
        room -= len(piece)
        if room < 0:
            kept.append("...")
            break
    return "".join(kept)


def scalar_pieces(value: object) -> Iterator[str]:
    """Print a scalar as Java does."""
    if value is None:
        yield "null"
    elif type(value) is bool:
        yield "true" if value else "false"
    else:
        yield str(value)


def attribute_pieces(value: Any) -> Iterator[str]:
    """Print an attribute value: all of its types, those that it has not as null."""
    yield "AttributeValue("
    for index, tag in enumerate(_TAGS):
        yield f"{', ' if index else ''}{lower_first(tag)}="
        content = value.get(tag)
        if type(content) is list:
            yield from list_pieces(content, attribute_pieces if tag == "L" else scalar_pieces)
        elif type(content) is dict:
            yield from map_pieces(content, attribute_pieces)
        elif tag == "B" and content is not None:
            yield from buffer_pieces(content)
        else:
            yield from scalar_pieces(content)
    yield ")"


def list_pieces(values: list[Any], pieces: Callable[[Any], Iterator[str]]) -> Iterator[str]:
    """Print a list whose elements print as `pieces` says."""
    yield "["
    for index, one in enumerate(values):
        if index:
            yield ", "
        yield from scalar_pieces(None) if one is None else pieces(one)
    yield "]"


def map_pieces(entries: dict[str, Any], pieces: Callable[[Any], Iterator[str]]) -> Iterator[str]:
    """Print a map whose values print as `pieces` says."""
    yield "{"
    for index, (key, one) in enumerate(entries.items()):
        yield f", {key}=" if index else f"{key}="
        yield from scalar_pieces(None) if one is None else pieces(one)
    yield "}"


def buffer_pieces(value: str) -> Iterator[str]:
    """Print base64 as Java prints a buffer of its bytes."""
    size = len(value) // 4 * 3 - value.count("=", -2)
    yield f"java.nio.HeapByteBuffer[pos=0 lim={size} cap={size}]"


def lower_first(name: str) -> str:
    """Turn a member's name into Java's: TableName → tableName."""
    return name[:1].lower() + name[1:]


def in_hash_map_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """Put the members of a structure in the order in which AWS complains about them.

    It is that of a Java HashMap of their Java names. With it come out as captured: PutItem's
    returnValues, returnConsumedCapacity, returnItemCollectionMetrics, tableName; UpdateItem's
    returnConsumedCapacity before returnValues; writeCapacityUnits before readCapacityUnits.
    Source: paritysuite/dynamodb-conformance, captures/cross-region-latest.json of June 2026.
    """
    buckets = _BUCKETS_MIN
    while len(names) > buckets * 3 // 4:  # the map doubles when it is three quarters full
        buckets *= 2
    return tuple(sorted(names, key=lambda name: _spread_hash(lower_first(name)) % buckets))


def _spread_hash(text: str) -> int:
    """Hash as java.lang.String does, and fold the upper half in, as HashMap does."""
    value = 0
    for char in text:
        value = (31 * value + ord(char)) % 2**32
    return value ^ (value >> 16)
