"""How AWS speaks of a request's values: of the wrong JSON type, or in a broken constraint.

The texts are Java's, as the service's own framework makes them. Sources: dynalite's suite, which
was run against AWS (test/helpers.js, assertType); paritysuite/dynamodb-conformance
(tests/tier3/error-messages), whose structures print as `KeySchemaElement(attributeName=pk, …)` and
whose attribute values as `com.amazonaws.dynamodb.v20120810.AttributeValue@483470e1`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from dstore.api.dynamodb.errors import AwsError, serialization
from dstore.base.limits import SHOWN_VALUE_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

JAVA_PACKAGE: Final = "com.amazonaws.dynamodb.v20120810."
NOT_A_COLLECTION: Final = "Unexpected field type"
NOT_AN_ELEMENT: Final = "Unexpected value type in payload"
# What AWS answers where a list or map is an element of another: its own cast fails.
NOT_A_NESTED_COLLECTION: Final = (
    "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast to class "
    "java.lang.Class (sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and "
    "java.lang.Class are in module java.base of loader 'bootstrap')"
)
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
    """Print an attribute value: its class and what stands for an object's identity."""
    identity = crc32(ascii(sorted(value)).encode()) if type(value) is dict else 0
    yield f"{JAVA_PACKAGE}AttributeValue@{identity:x}"


def lower_first(name: str) -> str:
    """Turn a member's name into Java's: TableName → tableName."""
    return name[:1].lower() + name[1:]
