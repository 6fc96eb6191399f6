"""How errors travel: known ones as they are, unknown ones as what a caller can act on."""

from __future__ import annotations

import pytest

from dstore.model.errors import DStoreError, Refused, Unavailable, UnavailableKind, Unknown
from dstore.replication.peers.errors import Unreachable, decode_error, encode_error
from dstore.replication.peers.records import encode


def types_below(kind: type[DStoreError]) -> set[str]:
    """Return the names of the errors of the model below `kind`."""
    below = [one for one in kind.__subclasses__() if one.__module__ == "dstore.model.errors"]
    return {one.__name__ for one in below}.union(*map(types_below, below))


def test_every_error_of_the_house_has_its_own_code() -> None:
    """Whoever adds one decides how it travels."""
    known = {"Refused", "ConditionFailed", "Unavailable", "NotMine", "Unknown", "Corrupt"}
    assert types_below(DStoreError) == known


@pytest.mark.parametrize(
    "encoded",
    [b"", b"\xc1", encode(7), encode({"code": "newer", "message": "x"}), b"\x91" * 100_000],
)
def test_what_is_not_understood(encoded: bytes) -> None:
    """It counts as a failure over there: retried by a reader, never by a writer."""
    assert isinstance(decode_error(encoded, is_safe=True), Unreachable)
    assert isinstance(decode_error(encoded, is_safe=False), Unknown)


def test_newer_kinds_have_an_older_reading() -> None:
    """A kind that this version does not know keeps its type and its sentence."""
    refused = decode_error(encode({"code": "refused", "message": "m", "kind": "new"}), is_safe=True)
    busy = decode_error(
        encode({"code": "unavailable", "message": "m", "kind": "new", "retry_after_ms": -1}),
        is_safe=True,
    )
    assert (type(refused), refused.message) == (Refused, "m")
    assert isinstance(busy, Unavailable)
    assert (busy.kind, busy.retry_after_ms) == (UnavailableKind.OVERLOADED, None)


def test_a_mistake_tells_nothing_of_itself() -> None:
    """A message of somebody's library may quote a key or a value."""
    assert b"secret" not in encode_error(KeyError("secret"))
