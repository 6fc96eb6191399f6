"""Tokens and access keys have their documented shapes; comparing reveals nothing."""

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

import pytest

from dstore.model.errors import RefusalKind, Refused
from dstore.security.credentials import (
    TOKEN_CHARS_MAX,
    TokenRecord,
    imported_access_key,
    new_access_key,
    new_token,
    token_id,
    token_is_valid,
)
from tests.unit.security.builders import SeededEntropy

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_token_has_its_shape_and_only_its_digest_is_kept() -> None:
    """Leak scanners and users know the shape; a stolen database must not hold usable tokens."""
    for seed in range(200):
        text, record = new_token(SeededEntropy(seed))
        assert re.fullmatch(r"dst_[a-z2-7]{12}_[A-Za-z0-9_-]{43}", text)
        assert token_id(text) == record.id
        assert hashlib.sha256(text.encode()).digest() == record.digest
        assert token_is_valid(text, record)


def test_any_changed_character_is_refused() -> None:
    """The digest covers the whole text, the public part included."""
    text, record = new_token(SeededEntropy())
    for index in range(len(text)):
        changed = text[:index] + ("B" if text[index] == "A" else "A") + text[index + 1 :]
        assert not token_is_valid(changed, record)
    assert not token_is_valid(text + "=", record)
    assert not token_is_valid(text[:-1], record)


def test_an_unknown_token_costs_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing must not tell which ids exist: digest and constant-time compare run either way."""
    calls: list[tuple[bytes, bytes]] = []
    compare: Callable[[bytes, bytes], bool] = hmac.compare_digest

    def spy(left: bytes, right: bytes) -> bool:
        calls.append((left, right))
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    text, record = new_token(SeededEntropy())
    assert token_is_valid(text, record)
    assert not token_is_valid(text, None)
    assert [len(right) for _, right in calls] == [32, 32]


def test_no_token_matches_the_stand_in_digest() -> None:
    """An absent record never verifies, even against a record of zeros."""
    assert not token_is_valid("anything", None)
    _, record = new_token(SeededEntropy())
    assert not token_is_valid("x", TokenRecord(id=record.id, digest=bytes(32)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dst_",
        "dst_aaaaaaaaaaaa",
        "dst_aaaaaaaaaaaa_short",
        "DST_aaaaaaaaaaaa_" + "s" * 43,
        "dst_AAAAAAAAAAAA_" + "s" * 43,
        "dst_aaaaaaaaaaa1_" + "s" * 43,
        "dst_aaaaaaaaaaaa_" + "s" * 42 + "+",
        "dst_aaaaaaaaaaaa_" + "s" * 43 + "\n",
        "dst_aaaaaaaaaaaa_" + "s" * 42 + "é",
        "dst_aaaaaaaaaaaa_" + "s" * TOKEN_CHARS_MAX,
        "\udcff" * 20,
    ],
)
def test_what_is_no_token_has_no_id(text: str) -> None:
    """Garbage is turned away before a look-up, and never raises."""
    assert token_id(text) is None
    assert not token_is_valid(text, None)


def test_an_access_key_looks_like_one_of_aws() -> None:
    """Clients and tools check the shape: 20 characters of id, 40 of secret."""
    for seed in range(200):
        key = new_access_key(SeededEntropy(seed))
        assert re.fullmatch(r"DSAK[A-Z2-7]{16}", key.id)
        assert re.fullmatch(r"[A-Za-z0-9+/]{40}", key.secret)
        assert key == imported_access_key(key.id, key.secret)


@pytest.mark.parametrize(
    ("key_id", "secret"),
    [("A" * 16, "s" * 8), ("a_Z9" * 32, "!~" * 64), ("AKIAIOSFODNN7EXAMPLE", "wJalrXUt/+=")],
)
def test_imports_within_bounds_are_accepted(key_id: str, secret: str) -> None:
    """Keys of other stores come along in a migration."""
    assert imported_access_key(key_id, secret).secret == secret


@pytest.mark.parametrize(
    ("key_id", "secret"),
    [
        ("A" * 15, "s" * 8),
        ("A" * 129, "s" * 8),
        ("A" * 15 + "-", "s" * 8),
        ("A" * 15 + "é", "s" * 8),
        ("A" * 16 + "\n", "s" * 8),
        ("A" * 16, "s" * 7),
        ("A" * 16, "s" * 129),
        ("A" * 16, "secret with"),
        ("A" * 16, "sécretsecret"),
        ("A" * 16, "s" * 8 + "\n"),
    ],
)
def test_imports_out_of_bounds_are_refused_without_the_secret(key_id: str, secret: str) -> None:
    """A refusal says what to do and never repeats a secret."""
    with pytest.raises(Refused) as caught:
        imported_access_key(key_id, secret)
    assert caught.value.kind is RefusalKind.INVALID
    assert secret not in str(caught.value)


def test_secrets_are_not_printed() -> None:
    """A key or record in a log or traceback shows its public part only."""
    key = new_access_key(SeededEntropy())
    text, record = new_token(SeededEntropy())
    assert key.secret not in repr(key)
    assert repr(record) == f"TokenRecord(id='{record.id}')"
    assert text not in repr(record)
