"""The tree of errors: what a caller reads off each."""

from __future__ import annotations

import pytest

from dstore.model.errors import (
    ConditionFailed,
    Corrupt,
    DStoreError,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    Unknown,
    excerpt,
    invalid,
)


@pytest.mark.parametrize(
    "error",
    [
        Refused(RefusalKind.NOT_FOUND, "There is none."),
        ConditionFailed("There is none.", previous={"a": {"S": "x"}}),
        Unavailable(UnavailableKind.OVERLOADED, "There is none.", retry_after_ms=100),
        Unknown("There is none."),
        Corrupt("There is none.", file="f", where="page 1"),
        invalid("There is none."),
    ],
)
def test_message(error: DStoreError) -> None:
    """Every error has a sentence, under one name and as its text."""
    assert error.message == str(error) == "There is none."


def test_fields() -> None:
    """What a surface needs in order to answer stands in fields, not in the sentence."""
    assert invalid("x").kind is RefusalKind.INVALID
    assert ConditionFailed().previous is None
    unavailable = Unavailable(UnavailableKind.LOCKED, "x")
    assert (unavailable.kind, unavailable.retry_after_ms) == (UnavailableKind.LOCKED, None)
    assert Corrupt("x", file="f", where="page 1").where == "page 1"


def test_excerpt() -> None:
    """A quoted text is short and cannot carry control characters into a log or terminal."""
    assert excerpt("a\n\x1b[31mé") == r"'a\n\x1b[31m\xe9'"
    assert len(excerpt("x" * 500)) == 45
