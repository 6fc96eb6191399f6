"""How items are spelled in files and options, and what travels instead: DynamoDB's wire form.

Both spellings keep everything. The plain one is ordinary JSON, numbers digit for digit; what JSON
lacks is an object with one key of ours:

    {"$binary": "YQ=="}  {"$stringSet": ["a"]}  {"$numberSet": [1]}  {"$binarySet": ["YQ=="]}

An object of the user's own that looks so is written {"$map": {"$binary": …}}.
"""

import re
from typing import Any, Final

from dstore.api.http.json_body import decode_object
from dstore.cli.answers import unexpected
from dstore.cli.failures import usage
from dstore.cli.item_options import Format
from dstore.model import numbers
from dstore.model.errors import Refused
from dstore.model.values import Attribute, Item, NumberText, from_plain, to_plain

# The limits of nesting are the server's to state; these are beyond them (32 levels, of which each
# is two in the wire form) and far from Python's own.
_DEPTH_MAX: Final = 200
_DEPTH: Final = -_DEPTH_MAX  # where `from_plain` begins to count, so that it never refuses

_BINARY: Final = "$binary"
_MAP: Final = "$map"
_SETS: Final = {"$stringSet": "SS", "$numberSet": "NS", "$binarySet": "BS"}
_SET_WORDS: Final = {tag: word for word, tag in _SETS.items()}
_ELEMENT_TAGS: Final = {"SS": "S", "NS": "N", "BS": "S"}  # what a set's elements are in plain JSON
_WORDS: Final = frozenset({_BINARY, _MAP, *_SETS})

_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SCALARS: Final = frozenset({"S", "N", "B"})


def read_attributes(text: bytes | str, form: Format, *, what: str) -> Item:
    """Read a JSON object of named values: an item, a key, or an expression's values.

    Args:
        text: the JSON.
        form: how the values are spelled.
        what: what it is, for the sentence of a refusal.
    Raises: Failure(USAGE): it is no JSON object, or a value of ours is not what its key says.
    """
    return _wire(_object(text, what), form, what)


def read_items(text: bytes, form: Format, *, what: str) -> list[Item]:
    """Read a JSON object that is an item, or that holds items as AWS's tools write them.

    In the DynamoDB format these are `{"Item": {…}}`, a line of an export or the answer of GetItem,
    and `{"Items": […]}`, the answer of Query and Scan. Neither can be an item: the values of an
    item are objects with one type, and its keys are strings, numbers or binaries.

    Raises: Failure(USAGE): as `read_attributes`.
    """
    found = _object(text, what)
    if form is Format.PLAIN:
        return [_wire(found, form, what)]
    if isinstance(found.get("Items"), list):
        items = found["Items"]
        if all(isinstance(item, dict) for item in items):
            return [_wire(item, form, what) for item in items]
        raise usage(f"The {what} has Items that are none.")
    held = found.get("Item")
    if len(found) == 1 and isinstance(held, dict) and not _is_scalar(held):
        return [_wire(held, form, what)]
    return [_wire(found, form, what)]


def spelled(item: Item, form: Format) -> bytes:
    """Spell an item as one line of JSON."""
    import msgspec

    if form is Format.DYNAMODB:
        return msgspec.json.encode(item)
    return msgspec.json.encode(
        {name: to_plain(_marked(attribute)) for name, attribute in item.items()}
    )


def answered(item: Item, form: Format) -> bytes:
    """Spell an item that a server answered.

    Raises: Failure: it is none.
    """
    try:
        return spelled(item, form)
    except (AttributeError, TypeError, ValueError, AssertionError, Refused):
        raise unexpected() from None


def _object(text: bytes | str, what: str) -> dict[str, Any]:
    try:
        data = text.encode() if isinstance(text, str) else text
        return decode_object(data, what=what, depth_max=_DEPTH_MAX)
    except UnicodeEncodeError:
        raise usage(f"The {what} is not UTF-8.") from None
    except Refused as error:
        where = "" if what in str(error) else f" (In the {what}.)"
        raise usage(f"{error}{where}") from None


def _wire(found: dict[str, Any], form: Format, what: str) -> Item:
    if form is Format.DYNAMODB:
        return {name: _as_it_came(value) for name, value in found.items()}
    return {name: _unmarked(from_plain(value, _DEPTH), what) for name, value in found.items()}


def _is_scalar(held: dict[str, Any]) -> bool:
    """Tell whether it is a key attribute's value; then the item around it has nothing but its key.

    (A number without quotes is a mistake, and the server's to name.)
    """
    return len(held) == 1 and all(
        tag in _SCALARS and isinstance(value, str) for tag, value in held.items()
    )


def _as_it_came(value: Any) -> Any:
    """Give numbers outside of strings back as numbers, for the server to judge."""
    import msgspec

    if isinstance(value, NumberText):
        return msgspec.Raw(str(value))
    if isinstance(value, dict):
        return {name: _as_it_came(element) for name, element in value.items()}
    if isinstance(value, list):
        return [_as_it_came(element) for element in value]
    return value


def _marked(attribute: Attribute) -> Attribute:
    """Turn what plain JSON lacks into maps that say so; on the wire form, where types are known."""
    [(tag, value)] = attribute.items()
    if tag == "N":
        # DynamoDB's numbers are JSON's; a server that has others must not make the output none.
        return attribute if _JSON_NUMBER.fullmatch(value) else {"N": numbers.plain(value)}
    if tag == "B":
        return {"M": {_BINARY: {"S": value}}}
    if tag in _SET_WORDS:
        elements = [_marked({_ELEMENT_TAGS[tag]: element}) for element in value]
        return {"M": {_SET_WORDS[tag]: {"L": elements}}}
    if tag == "L":
        return {"L": [_marked(element) for element in value]}
    if tag == "M":
        marked = {"M": {name: _marked(element) for name, element in value.items()}}
        return {"M": {_MAP: marked}} if _is_word(value) else marked
    return attribute


def _unmarked(attribute: Attribute, what: str) -> Attribute:
    """Undo `_marked`."""
    [(tag, value)] = attribute.items()
    if tag == "L":
        return {"L": [_unmarked(element, what) for element in value]}
    if tag != "M":
        return attribute
    if not _is_word(value):
        return {"M": {name: _unmarked(element, what) for name, element in value.items()}}
    [(word, held)] = value.items()
    [(held_tag, content)] = held.items()
    if word == _MAP and held_tag == "M":
        return {"M": {name: _unmarked(element, what) for name, element in content.items()}}
    if word == _BINARY and held_tag == "S":
        return {"B": content}
    if word in _SETS and held_tag == "L":
        element_tag = _ELEMENT_TAGS[_SETS[word]]
        if all(element_tag in element for element in content):
            return {_SETS[word]: [element[element_tag] for element in content]}
    raise usage(f"The {what} has a {word} that is none: {_MEANT[word]}.")


_MEANT: Final = {
    _BINARY: 'write {"$binary": "<base64>"}',
    _MAP: 'write {"$map": {…}}, for an object that has one key such as $binary',
    "$stringSet": 'write {"$stringSet": ["a", "b"]}',
    "$numberSet": 'write {"$numberSet": [1, 2.5]}',
    "$binarySet": 'write {"$binarySet": ["<base64>"]}',
}


def _is_word(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)) in _WORDS
