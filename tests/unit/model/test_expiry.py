"""When an item expires: DynamoDB's rule, as a function of its table's settings and of itself."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.base.expiry_limits import EXPIRY_AGE_S_MAX, EXPIRY_AT_S_MAX
from dstore.model.expiry import ExpiryRule, expires_at_s, is_due, rule_of, seconds_of
from dstore.model.keys import KeyKind, encode_key
from dstore.model.table_settings import KeyAttribute, TableSettings, TimeToLive
from dstore.model.tables import Door, TableDefinition, TableId

NOW_S = 1_800_000_000
RULE = ExpiryRule(attribute="expires")


def a_table(
    attribute: str | None, *, partition: KeyKind = KeyKind.STRING, is_enabled: bool = True
) -> TableDefinition:
    """Make a definition with the keys p, of a kind, and c, a number."""
    ttl = None
    if attribute is not None:
        ttl = TimeToLive(attribute=attribute, is_enabled=is_enabled, changed_at_us=1)
    return TableDefinition(
        tenant="acme",
        name="orders",
        table_id=TableId("2d3b1e0c-1111-4222-8333-944455556666"),
        partition=KeyAttribute(name="p", kind=partition),
        sort=KeyAttribute(name="c", kind=KeyKind.NUMBER),
        door=Door.DYNAMODB,
        created_at_us=1,
        settings=TableSettings(time_to_live=ttl),
    )


def test_the_rule_of_a_table() -> None:
    """None if nothing expires; a key of the table says where in the stored key it lies."""
    assert rule_of(a_table(None)) is None
    assert rule_of(a_table("expires", is_enabled=False)) is None
    assert rule_of(a_table("expires")) == RULE
    assert rule_of(a_table("p")) == ExpiryRule(attribute="p", key_kinds="S")
    assert rule_of(a_table("c")) == ExpiryRule(attribute="c", key_kinds="SN")
    assert rule_of(a_table("p", partition=KeyKind.NUMBER)) == ExpiryRule(
        attribute="p", key_kinds="N"
    )
    assert rule_of(replace(a_table("c"), sort=None)) == ExpiryRule(attribute="c")


@pytest.mark.parametrize(
    ("text", "at_s"),
    [
        ("1800000000", 1_800_000_000),
        ("1.8E9", 1_800_000_000),
        ("1800000000.0001", 1_800_000_001),
        ("1799999999.999", 1_800_000_000),
        ("0.5", 1),
        ("1", 1),
        ("0", None),
        ("0.0", None),
        ("-1", None),
        ("-1800000000", None),
        ("1E-130", 1),
        ("9007199254740991", EXPIRY_AT_S_MAX),
        ("9007199254740992", None),
        ("9.9999999999999999999999999999999999999E+125", None),
        (None, None),
    ],
)
def test_a_numbers_seconds(text: str | None, at_s: int | None) -> None:
    """Whole seconds, a fraction rounded up; what is past all times, or before them, is none."""
    assert seconds_of(text) == at_s


@given(st.decimals(min_value=0, max_value=EXPIRY_AT_S_MAX, allow_nan=False, places=3))
def test_it_is_never_early(number: Decimal) -> None:
    """An item is not removed before its time, and less than a second behind it."""
    at_s = seconds_of(format(number, "f"))
    if at_s is None:
        assert number == 0
    else:
        assert number <= at_s < number + 1


def test_keys_say_it_too() -> None:
    """A number that is a partition or a sort key lies in the stored key; no other kind counts."""
    of_p, of_c = (NOW_S, 7)
    rid_id = encode_key((KeyKind.NUMBER, str(of_p)), (KeyKind.NUMBER, str(of_c)))
    behind = encode_key((KeyKind.STRING, "a\x00b"), (KeyKind.NUMBER, str(NOW_S)))
    assert expires_at_s(ExpiryRule(attribute="p", key_kinds="N"), rid_id, None) == of_p
    assert expires_at_s(ExpiryRule(attribute="c", key_kinds="NN"), rid_id, None) == of_c
    assert expires_at_s(ExpiryRule(attribute="c", key_kinds="SN"), behind, None) == NOW_S
    assert expires_at_s(ExpiryRule(attribute="p", key_kinds="S"), behind, "5") is None


def test_what_is_due() -> None:
    """From its time on, for five years."""
    for at_s, expected in (
        (None, False),
        (NOW_S + 1, False),
        (NOW_S, True),
        (NOW_S - EXPIRY_AGE_S_MAX + 1, True),
        (NOW_S - EXPIRY_AGE_S_MAX, False),
        (1, False),
    ):
        assert is_due(at_s, now_s=NOW_S) is expected
