"""Attribute definitions and key schemas, of tables and of indexes alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.shape_values import shown
from dstore.model.keys import KeyKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

INVALID: Final = "One or more parameter values were invalid: "
"""What AWS writes before most of its complaints about values."""


def attribute_kinds(definitions: Sequence[dict[str, str]]) -> dict[str, KeyKind]:
    """Read AttributeDefinitions. Raises: AwsError: a name comes twice."""
    kinds: dict[str, KeyKind] = {}
    for definition in definitions:
        name = definition["AttributeName"]
        if name in kinds:
            raise validation(f"Attribute Name is duplicated: {name}")
        kinds[name] = KeyKind(definition["AttributeType"])
    return kinds


def check_keys(names: Sequence[str], roles: Sequence[str]) -> None:
    """Refuse a schema that is not one HASH key and, if there is a second, a RANGE key."""
    check_different(names)
    if roles[0] != "HASH":
        raise validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if len(roles) > 1 and roles[1] != "RANGE":
        raise validation("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")


def check_different(names: Sequence[str]) -> None:
    """Refuse a schema that names an attribute twice."""
    if len(set(names)) < len(names):
        raise validation(
            "Both the Hash Key and the Range Key element in the KeySchema have the same name"
        )


def key_names(schema: Sequence[dict[str, str]], kinds: Iterable[str]) -> list[str]:
    """Read a table's KeySchema of one or two keys: HASH, and maybe RANGE.

    Raises: AwsError: it is no such schema, or names an attribute that has no definition.
    """
    names = [element["AttributeName"] for element in schema]
    defined = list(kinds)
    if len(names) > len(defined):
        raise validation("Invalid KeySchema: Some index key attribute have no definition")
    check_defined(names, defined)
    check_keys(names, [element["KeyType"] for element in schema])
    return names


def check_defined(names: Sequence[str], defined: Sequence[str]) -> None:
    """Refuse keys without a definition."""
    if not set(names) <= set(defined):
        raise validation(
            f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. "
            f"Keys: {listed(names)}, AttributeDefinitions: {listed(defined)}"
        )


def listed(names: Iterable[Any]) -> str:
    """Spell a list as Java does, cut where a complaint would become too long."""
    return shown((f"[{', '.join(map(str, names))}]",))
