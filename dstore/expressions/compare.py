"""How two attributes compare: equality of any type, order of strings, numbers and binaries.

Strings order by their UTF-8 bytes, which is the order of their code points, which is how Python
orders them. Numbers compare by value, whatever their spelling; sets without order. Here they are
`Decimal`s, ten times as fast as `model.numbers`: an expression may look at a hundred thousand of
them three hundred times. Their bounds were checked at the edge, so no exponent is large.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any, Final, Literal

from dstore.model.values import Attribute

Order = Literal["<", "<=", ">", ">="]

_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {"<": lt, "<=": le, ">": gt, ">=": ge}

_ONE_SPELLING: Final = frozenset({"S", "B", "BOOL", "NULL"})  # equal only if they look the same


def equal(one: Attribute, other: Attribute) -> bool:
    """Say whether two attributes are the same value of the same type, at any depth."""
    [(tag, content)] = one.items()
    if tag not in other:
        return False
    against = other[tag]
    if tag == "N":
        return content == against or Decimal(content) == Decimal(against)
    if tag in _ONE_SPELLING:
        return bool(content == against)
    if len(content) != len(against):
        return False
    if tag == "L":
        return all(map(equal, content, against))
    if tag == "M":
        return all(name in against and equal(content[name], against[name]) for name in content)
    if tag == "NS":
        return set(map(Decimal, content)) == set(map(Decimal, against))
    return set(content) == set(against)


def in_order(order: Order, one: Attribute, other: Attribute) -> bool:
    """Say whether two attributes stand in an order; never, if they are of types without one."""
    [(tag, content)] = one.items()
    if tag not in other:
        return False
    against = other[tag]
    if tag == "S":
        return _ORDERS[order](content, against)
    if tag == "N":
        return _ORDERS[order](Decimal(content), Decimal(against))
    if tag == "B":
        return _ORDERS[order](b64decode(content), b64decode(against))
    return False


def begins(whole: Attribute, beginning: Attribute) -> bool:
    """Say whether a string or binary begins with another of its type."""
    if "S" in whole and "S" in beginning:
        return bool(whole["S"].startswith(beginning["S"]))
    if "B" in whole and "B" in beginning:
        return b64decode(whole["B"]).startswith(b64decode(beginning["B"]))
    return False


def holds_inside(whole: Attribute, part: Attribute) -> bool:
    """Say whether a string or binary has a part, a set a member, or a list an element."""
    [(tag, content)] = whole.items()
    if tag == "L":
        return _has_element(content, part)
    if tag in {"S", "SS"}:
        return "S" in part and part["S"] in content
    if tag == "B":
        return "B" in part and b64decode(part["B"]) in b64decode(content)
    if tag == "BS":
        return "B" in part and part["B"] in content
    if tag == "NS":
        return "N" in part and _has_number(content, part["N"])
    return False


def _has_element(elements: list[Attribute], part: Attribute) -> bool:
    [(tag, content)] = part.items()
    if part in elements:
        return True
    if tag in _ONE_SPELLING:
        return False
    if tag == "N":
        return _has_number([element["N"] for element in elements if "N" in element], content)
    return any(equal(element, part) for element in elements)


def _has_number(texts: list[str], text: str) -> bool:
    """Say whether a number is among others; what differs as floats is not the same."""
    value, near = Decimal(text), float(text)
    return any(float(one) == near and Decimal(one) == value for one in texts)


def size_of(attribute: Attribute) -> int | None:
    """Measure what `size` measures; None for a number, boolean or null.

    A string's size is its length in UTF-16 units, as Java counts; a binary's in bytes; that of the
    rest is the number of elements.
    """
    [(tag, content)] = attribute.items()
    if tag == "S":
        return len(content) if content.isascii() else len(content.encode("utf-16-le")) // 2
    if tag == "B":
        return len(b64decode(content))
    if tag in {"N", "BOOL", "NULL"}:
        return None
    return len(content)
