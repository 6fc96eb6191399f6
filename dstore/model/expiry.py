"""When an item expires: what its table's time to live makes of its attributes and its key.

DynamoDB's rule: the attribute is a Number, seconds since 1970; of any other type, or absent, the
item never expires, and neither does one that has expired more than five years ago. It may be a key
of the table. Source: DynamoDB developer guide, "Using time to live (TTL)"; ScyllaDB's Alternator
(test_ttl.py) for keys, exponents and fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from dstore.base.expiry_limits import EXPIRY_AGE_S_MAX, EXPIRY_AT_S_MAX
from dstore.model.keys import KeyKind, decode_partition, decode_sort

if TYPE_CHECKING:
    from dstore.model.tables import TableDefinition

_PLAIN_DIGITS_MAX: Final = 15  # what is shorter is below EXPIRY_AT_S_MAX
_NO_KEY: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryRule:
    """By which attribute the items of a table expire.

    `key_kinds` is "" if it is no key of the table, else the kinds of its keys up to that one: "N"
    is a partition key, "SN" a sort key behind a string. It is stored in range files.
    """

    attribute: str
    key_kinds: str = _NO_KEY


def rule_of(definition: TableDefinition) -> ExpiryRule | None:
    """Give a table's rule; None: its items do not expire."""
    attribute = definition.settings.expires_by
    if attribute is None:
        return None
    kinds = ""
    for key in definition.keys:
        kinds += key.kind.value
        if key.name == attribute:
            return ExpiryRule(attribute=attribute, key_kinds=kinds)
    return ExpiryRule(attribute=attribute)


def expires_at_s(rule: ExpiryRule, rid_id: bytes, number: str | None) -> int | None:
    """Tell when an item expires, in whole seconds since 1970, a fraction being rounded up.

    Args:
        rule: its table's.
        rid_id: its key, as it is stored.
        number: its attribute's text, if it is a Number; keys are not among the attributes.
    Returns: 1 to EXPIRY_AT_S_MAX; None: never. What lies before 1970 is long past five years.
    """
    return _of_key(rule.key_kinds, rid_id) if rule.key_kinds else seconds_of(number)


def seconds_of(number: str | None) -> int | None:
    """Read a number's text as `expires_at_s` tells it."""
    if number is None:
        return None
    if len(number) <= _PLAIN_DIGITS_MAX and number.isdecimal():
        return int(number) or None
    try:
        exact = Decimal(number)
    except InvalidOperation:
        return None
    if not 0 < exact <= EXPIRY_AT_S_MAX:
        return None
    return int(exact.to_integral_value(rounding=ROUND_CEILING))


def is_due(at_s: int | None, *, now_s: int) -> bool:
    """Tell whether an item that expires then is to be removed now."""
    return at_s is not None and now_s - EXPIRY_AGE_S_MAX < at_s <= now_s


def _of_key(key_kinds: str, rid_id: bytes) -> int | None:
    if key_kinds[-1] != KeyKind.NUMBER.value:
        return None
    value, end = decode_partition(rid_id, KeyKind(key_kinds[0]))
    if len(key_kinds) > 1:
        value = decode_sort(rid_id, KeyKind.NUMBER, offset=end)
    assert isinstance(value, str)
    return seconds_of(value)
