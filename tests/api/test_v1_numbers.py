"""Numbers keep their spelling in v1, digit for digit; what can't be kept is refused."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.contract import entry

if TYPE_CHECKING:
    from tests.api.contract import CheckedClient

_numbers = count(1)
DIGITS_38 = "12345678901234567890123456789012345678"

KEPT = [
    "0", "-0", "0.0", "-0.00", "0e0", "0E+0", "0e-999", "0e999", "1", "-1", "10", "1.0", "1.00",
    "1.50", "1e2", "1E2", "1e+2", "1E+02", "1e-2", "100e-2", "0.1", "0.10", "-0.5", "1e125",
    "1e-130", "9.9999999999999999999999999999999999999E+125", "-1e125", "0.001e-127",
    "9007199254740993", "0.30000000000000004", "123456789012345678", "18446744073709551616",
    DIGITS_38, f"-{DIGITS_38}", f"0.{DIGITS_38}", f"{DIGITS_38}e87", f"{DIGITS_38}0000",
    f"0.0000{DIGITS_38}", "1" + "0" * 125, "0." + "0" * 129 + "1", "1." + "0" * 250,
]  # fmt: skip

REFUSED = [
    "123456789012345678901234567890123456789", "0.123456789012345678901234567890123456789",
    "1.0000000000000000000000000000000000000001", "1e126", "1e-131", "10e125", "0.1e-130",
    "-1e126", "1e999999999999999999999", "1e-999999999999999999999", "9" * 400, "1e" + "0" * 400,
    "1" + "0" * 126, "0." + "0" * 130 + "1", "0" + "." + "0" * 400,
    # and what JSON has not:
    "01", "-01", "+1", ".5", "5.", "1.e2", "1e", "1e+", "--1", "0x10", "1_000", "\uff11",
    "NaN", "-NaN", "Infinity", "-Infinity", "nan", "inf", "1n", "1f", "00", "-", "- 1", "1 2",
]  # fmt: skip


@pytest.mark.parametrize("number", KEPT, ids=lambda text: text[:30])
def test_a_number_keeps_its_spelling(client: CheckedClient, table: str, number: str) -> None:
    """On top, in lists, in objects and in the answer to a listing: as it was written."""
    path = entry(table, f"kept-{next(_numbers)}")
    stored = f'{{"a":{number},"b":[{number}],"c":{{"d":{number}}}}}'
    assert client.put(path, stored).status == 201
    assert client.get(path).body.decode() == stored
    client.merge(path, '{"e":1}')
    assert f'"a":{number},' in client.get(path).body.decode()


def test_a_list_keeps_spellings_too(client: CheckedClient, new_table: str) -> None:
    """A page is no place where digits get lost."""
    client.put(entry(new_table, "x"), f'{{"a":{DIGITS_38},"b":1.50}}')
    listed = client.get(f"{new_table}/id").body.decode()
    assert f'{{"id":"x","data":{{"a":{DIGITS_38},"b":1.50}}}}' in listed


@pytest.mark.parametrize("number", REFUSED, ids=lambda text: ascii(text)[:30])
def test_a_number_that_can_not_be_kept(client: CheckedClient, table: str, number: str) -> None:
    """Refused, never rounded, wherever it stands; nothing half-written stays."""
    path = entry(table, f"refused-{next(_numbers)}")
    for body in (f'{{"a":{number}}}', f'{{"a":[{{"b":{number}}}]}}', f'{{"ok":1,"a":[{number}]}}'):
        assert client.put(path, body).status == 400, body
    assert client.get(path).status == 404
    client.put(path, {"a": 1})
    assert client.post(path, f'{{"a":{number}}}').status == 400
    assert client.merge(path, f'{{"a":{number}}}').status == 400
    assert client.get(path).json() == {"a": 1}


_spellings = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.from_regex(r"(0|[1-9][0-9]{0,18})", fullmatch=True),
    st.from_regex(r"(\.[0-9]{1,18})?", fullmatch=True),
    st.from_regex(r"([eE][+-]?[0-9]{1,2})?", fullmatch=True),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_spellings, min_size=1, max_size=20))
def test_any_number_within_the_bounds_is_kept(
    client: CheckedClient, table: str, spellings: list[str]
) -> None:
    """Whatever the mixture of sign, digits, point and exponent."""
    path = entry(table, f"any-{next(_numbers)}")
    stored = "{" + ",".join(f'"{index}":{text}' for index, text in enumerate(spellings)) + "}"
    assert client.put(path, stored).status == 201
    assert sorted(client.get(path).body.decode()[1:-1].split(",")) == sorted(
        stored[1:-1].split(",")
    )
