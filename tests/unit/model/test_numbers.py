"""Numbers as text: what is accepted, and the three spellings made of it."""

from __future__ import annotations

import time

import pytest

from dstore.model import numbers
from dstore.model.errors import Corrupt, RefusalKind, Refused
from dstore.model.numbers import Number

NINES = "9" * 38


@pytest.mark.parametrize(
    ("text", "canonical", "plain"),
    [
        ("0", "0", "0"),
        ("-0", "0", "0"),
        ("0.0", "0", "0"),
        ("-0.00e-999", "0", "0"),
        ("1", "1E0", "1"),
        ("+1", "1E0", "1"),
        ("007", "7E0", "7"),
        (".5", "5E-1", "0.5"),
        ("5.", "5E0", "5"),
        ("-1200.50", "-12005E-1", "-1200.5"),
        ("1200", "12E2", "1200"),
        ("1E2", "1E2", "100"),
        ("1e+2", "1E2", "100"),
        ("1.50", "15E-1", "1.5"),
        ("0.001", "1E-3", "0.001"),
        ("12.34e1", "1234E-1", "123.4"),
        ("12.34e-3", "1234E-5", "0.01234"),
        (NINES, f"{NINES}E0", NINES),
        (f"-0.{NINES}", f"-{NINES}E-38", f"-0.{NINES}"),
        ("1E-130", "1E-130", "0." + "0" * 129 + "1"),
        ("1E125", "1E125", "1" + "0" * 125),
        (f"9.{'9' * 37}E125", f"{NINES}E88", NINES + "0" * 88),
        ("1" + "0" * 125, "1E125", "1" + "0" * 125),
        ("0." + "0" * 129 + NINES, f"{NINES}E-167", "0." + "0" * 129 + NINES),
        ("1000E-133", "1E-130", "0." + "0" * 129 + "1"),
    ],
)
def test_spellings(text: str, canonical: str, plain: str) -> None:
    """One value has one canonical and one plain spelling, both of which read back as that value."""
    assert canonical == numbers.canonical(text)
    assert plain == numbers.plain(text)
    assert numbers.parse(text) == numbers.parse(canonical) == numbers.parse(plain)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "-",
            "+",
            ".",
            "-.",
            "e1",
            "1e",
            "1e+",
            "1 ",
            " 1",
            "1\n",
            "--1",
            "1..2",
            "1.2.3",
        ),
        *("NaN", "Infinity", "-Infinity", "inf", "0x1", "1_000", "1,5", "1e1.5", "1f", "true"),
        "\uff11",  # a full-width digit
        "\u0661",  # an Arabic-Indic digit
        "\u22121",  # a minus sign that is no hyphen
        "1" * 39,
        "1." + "1" * 38,
        "1E126",
        "-1E126",
        "1E-131",
        "10E125",
        "0.9E-130",
        "1e1000000",
        "1e-1000000",
        "1e" + "9" * 290,
        "0" * 301,
    ],
)
def test_refused(text: str) -> None:
    """What is no number, or not one that can be kept exactly, is refused with a short sentence."""
    with pytest.raises(Refused) as caught:
        numbers.parse(text)
    assert caught.value.kind is RefusalKind.INVALID
    assert caught.value.message.endswith(".")
    assert len(caught.value.message) < 250


def test_an_equal_value_is_an_equal_object() -> None:
    """Comparison needs no arithmetic, because a checked number has one representation."""
    assert Number(negative=True, digits="12", exponent=2) == numbers.parse("-1.2e3")
    assert numbers.parse("-0e5") == numbers.ZERO
    assert numbers.parse("1200").leading_exponent == 3


def test_a_huge_number_costs_nothing() -> None:
    """A megabyte of digits is refused by its length, before anything looks at the digits."""
    began = time.process_time()
    with pytest.raises(Refused, match="characters"):
        numbers.parse("9" * 1_000_000)
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize(
    "encoded", [b"", b"\x00", b"\x04", b"\x03\x80", b"\x03\x80\x00", b"\x03\x80\x00\x00",
                b"\x03\x80\x00\x02", b"\x03\x80\x00\x65\x66\x00", b"\x01\x7f\xff\xff",
                b"\x03\x80\x00\x02\x01\x00", b"\x03\x80\x00\x65\x01\x00"],
)  # fmt: skip
def test_damaged_sortable_bytes(encoded: bytes) -> None:
    """Bytes that `sortable` cannot have written are reported, never read as some number."""
    with pytest.raises(Corrupt):
        numbers.from_sortable(encoded, 0)
