"""Tables: what is declared about them, and how an entry's ID is spelled in a URL.

A v1 table has one ID of one type; a DynamoDB table has a HASH key and maybe a RANGE key. Inside
they are the same: v1's ID is the HASH key, named `_id` to DynamoDB.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType

from dstore.base.limits import INTEGER_ID_DIGITS_MAX, KEY_BYTES_MIN, PARTITION_KEY_BYTES_MAX
from dstore.model import numbers
from dstore.model.errors import Refused, excerpt, invalid
from dstore.model.hashing import string_bytes
from dstore.model.index_of import IndexOf
from dstore.model.keys import KeyKind, KeyValue
from dstore.model.table_settings import NO_SETTINGS, KeyAttribute, TableSettings

if TYPE_CHECKING:
    from dstore.model.index_rows import IndexShape

__all__ = [
    "V1_ID_ATTRIBUTE",
    "Door",
    "IdType",
    "IndexKey",
    "KeyAttribute",
    "TableDefinition",
    "TableId",
    "format_id",
    "id_type_of",
    "index_keys",
    "is_integer_id",
    "kind_of",
    "parse_id",
    "v1_key",
]

TableId = NewType("TableId", str)
"""A table's UUID: a table that is deleted and made again under its name is another table."""

V1_ID_ATTRIBUTE: Final = "_id"

_INTEGER_ID = re.compile(rf"0|-?[1-9][0-9]{{0,{INTEGER_ID_DIGITS_MAX - 1}}}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


class IdType(StrEnum):
    """The types of a v1 table's ID, as SPEC.md names them."""

    STRING = "String"
    INTEGER = "Integer"
    BYTES = "Bytes"


class Door(StrEnum):
    """The API through which a table was made; both serve it."""

    V1 = "v1"
    DYNAMODB = "dynamodb"


_KIND_OF: Final = {
    IdType.STRING: KeyKind.STRING,
    IdType.INTEGER: KeyKind.NUMBER,
    IdType.BYTES: KeyKind.BINARY,
}
_ID_TYPE_OF: Final = {kind: id_type for id_type, kind in _KIND_OF.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexKey:
    """One key attribute of one secondary index that is not a key of the table itself.

    An item may lack it, and is then not in the index; if it has it, it must be of `kind` and
    within the bounds of a partition key (`is_partition`) or of a sort key.
    """

    attribute: str
    kind: KeyKind
    index: str
    is_partition: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDefinition:
    """What is declared about a table; `created_at_us` is wall time in microseconds since 1970.

    `index_of`: this is no table of the tenant's but the hidden one of a global index.
    """

    tenant: str
    name: str
    table_id: TableId
    partition: KeyAttribute
    sort: KeyAttribute | None = None
    door: Door
    created_at_us: int
    settings: TableSettings = NO_SETTINGS
    index_of: IndexOf | None = None
    _index_keys: tuple[IndexKey, ...] = field(init=False, repr=False, compare=False)
    # By their names, as they are asked for: `index_rows.index_shape`.
    _shapes: dict[str, IndexShape] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        """Work out once what every write of an item asks for."""
        object.__setattr__(self, "_index_keys", tuple(_index_keys_of(self)))

    @property
    def id_type(self) -> IdType:
        """The type of the partition key in v1's words."""
        return id_type_of(self.partition.kind)

    @property
    def keys(self) -> tuple[KeyAttribute, ...]:
        """The table's key attributes: HASH, and RANGE if there is one."""
        return (self.partition,) if self.sort is None else (self.partition, self.sort)

    @property
    def attributes(self) -> dict[str, KeyKind]:
        """The attributes that are keys of the table or of an index, and their types."""
        known = self.keys + self.settings.index_attributes
        return {attribute.name: attribute.kind for attribute in known}


def index_keys(definition: TableDefinition) -> tuple[IndexKey, ...]:
    """List what an item's attributes must fit beside the table's own keys, in indexes' order.

    An attribute that is a key of several indexes comes once for each. Costs an attribute look-up.
    """
    return definition._index_keys  # noqa: SLF001 - the definition's own, worked out with it


def _index_keys_of(definition: TableDefinition) -> list[IndexKey]:
    if not definition.settings.index_attributes:
        return []
    kinds = {each.name: each.kind for each in definition.settings.index_attributes}
    return [
        IndexKey(
            attribute=name,
            kind=kinds[name],
            index=index.name,
            is_partition=place < len(index.hash_keys),
        )
        for index in definition.settings.indexes
        for place, name in enumerate(index.keys)
        if name in kinds
    ]


def v1_key(id_type: IdType) -> KeyAttribute:
    """Give the key attribute of a table made through v1."""
    return KeyAttribute(name=V1_ID_ATTRIBUTE, kind=kind_of(id_type))


def kind_of(id_type: IdType) -> KeyKind:
    """Translate v1's word for an ID type to the key's kind."""
    return _KIND_OF[id_type]


def id_type_of(kind: KeyKind) -> IdType:
    """Translate a key's kind to v1's word."""
    return _ID_TYPE_OF[kind]


def is_integer_id(text: str) -> bool:
    """Tell whether a number is an ID of a table that v1 made with Integer IDs, so spelled."""
    return _INTEGER_ID.fullmatch(text) is not None


def parse_id(id_type: IdType, text: str, *, door: Door = Door.V1) -> tuple[KeyKind, KeyValue]:
    """Read an entry's ID as it stands in a URL, percent-decoding done.

    A String is the text itself; an Integer is `0` or `-?[1-9][0-9]{0,37}`, so that one value has
    one spelling; Bytes are base64url without padding. Where DynamoDB's door made the table, an
    Integer is any number in the spelling of `model.numbers.plain`.

    Args:
        id_type: the table's.
        text: the ID.
        door: where the table was made.
    Returns: the key as `model.keys.encode_key` takes it.
    Raises: Refused: the text is no such ID, is empty, or is longer than 2,048 bytes.
    """
    match id_type:
        case IdType.STRING:
            _check_length(len(string_bytes(text)))
            return KeyKind.STRING, text
        case IdType.INTEGER if door is Door.DYNAMODB:
            _check_plain(text)
            return KeyKind.NUMBER, text
        case IdType.INTEGER:
            if not is_integer_id(text):
                raise invalid(
                    f"{excerpt(text)} is no Integer ID; write 0, or up to "
                    f"{INTEGER_ID_DIGITS_MAX} digits without leading zeros, with - if negative."
                )
            return KeyKind.NUMBER, text
        case IdType.BYTES:
            raw = _from_base64url(text)
            _check_length(len(raw))
            return KeyKind.BINARY, raw


def format_id(key: tuple[KeyKind, KeyValue]) -> str:
    """Spell a key as a v1 ID, percent-encoding not done; the inverse of `parse_id`."""
    kind, value = key
    if kind is KeyKind.BINARY:
        assert isinstance(value, bytes)
        return urlsafe_b64encode(value).rstrip(b"=").decode()
    assert isinstance(value, str)
    return value


def _from_base64url(text: str) -> bytes:
    """Decode base64url; refuse padding, the other alphabet and stray bits: one ID, one spelling."""
    if "=" in text:
        raise invalid(f"{excerpt(text)} is padded; write a Bytes ID in base64url without =.")
    if _BASE64URL.fullmatch(text) is None:
        raise _not_base64url(text)
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise _not_base64url(text) from None
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise _not_base64url(text)
    return raw


def _check_plain(text: str) -> None:
    """Refuse a number in another spelling than the plain one: one value, one ID."""
    plain = numbers.plain(text)
    if plain != text:
        raise invalid(f"{excerpt(text)} is not how an ID spells that number; write {plain}.")


def _check_length(id_bytes: int) -> None:
    if id_bytes < KEY_BYTES_MIN:
        raise invalid(f"The ID is empty; give it at least {KEY_BYTES_MIN} byte.")
    if id_bytes > PARTITION_KEY_BYTES_MAX:
        raise invalid(f"The ID has {id_bytes} bytes; use at most {PARTITION_KEY_BYTES_MAX}.")


def _not_base64url(text: str) -> Refused:
    return invalid(
        f"{excerpt(text)} is no Bytes ID; write base64url (A-Z a-z 0-9 - _) without padding."
    )
