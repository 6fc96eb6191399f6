"""Stored numbers in the one spelling that DynamoDB answers; they may be stored in any other.

v1 keeps a number as its JSON spelled it ("1.50", "1E2"); what DynamoDB's door stores is plain
already. So every look at a stored item from there passes here, and mostly finds nothing to do.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from dstore.model import numbers
from dstore.model.values import Attribute, Cell, DataType, from_cell

_PLAIN_TEXT: Final = r"(?:0|-?[1-9][0-9]*|-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9])"
_is_plain = re.compile(_PLAIN_TEXT).fullmatch
# In compact JSON these characters begin a number and nothing else: inside a string the quotes
# would be escaped, and a member of a map that is named N has a map behind it.
_find_other = re.compile(rf'"N":"(?!{_PLAIN_TEXT}")').search

_LIST: Final = DataType.LIST.value
_MAP: Final = DataType.MAP.value
_TAGS: Final = {_LIST: "L", _MAP: "M"}


def plain_attribute(cell: Cell) -> Attribute:
    """Read a cell as `values.from_cell` does, with plain numbers.

    Sets of numbers are plain as stored, since v1 has none.

    Raises: Corrupt: as `from_cell`.
    """
    if isinstance(cell, str):
        return {"S": cell}
    attribute, data = from_cell(cell), cell.data
    if data is None:
        return attribute
    if "N" in attribute:
        return attribute if _is_plain(data) else {"N": numbers.plain(data)}
    if cell.data_type in _TAGS and _find_other(data) is not None:
        return plain(attribute)
    return attribute


def plain_answer(cell: Cell) -> Attribute:
    """Read a cell for an answer alone: lists and maps stay the JSON they are stored as.

    Returns: what `msgspec.json.encode` writes as the wire form; nobody can look into it.
    Raises: Corrupt: the word is unknown, or the data of a scalar is not what it says.
    """
    if isinstance(cell, str):
        return {"S": cell}
    tag, data = _TAGS.get(cell.data_type), cell.data
    if tag is None or data is None or _find_other(data) is not None:
        return plain_attribute(cell)
    return {tag: msgspec.Raw(data)}


def plain(attribute: Attribute) -> Attribute:
    """Spell every number of an attribute plainly, those inside lists and maps too."""
    [(tag, value)] = attribute.items()
    if tag == "N":
        return {"N": numbers.plain(value)}
    if tag == "L":
        return {"L": [plain(element) for element in value]}
    if tag == "M":
        return {"M": {name: plain(element) for name, element in value.items()}}
    return attribute
