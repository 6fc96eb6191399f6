"""Join tokens: read by who carries them, checked by who made them."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from dstore.base.limits import (
    JOIN_ADDRESSES_MAX,
    JOIN_TOKEN_CHARS_MAX,
    JOIN_TOKEN_LIFE_S,
    JOIN_TOKEN_LIFE_S_MAX,
)
from dstore.model.errors import Refused
from dstore.security.identity import ComponentRole
from dstore.security.join_tokens import (
    PREFIX,
    JoinToken,
    new_join_token,
    parse_join_token,
    require_usable,
    secret_digest,
    secret_is_right,
)
from tests.unit.security.builders import NOW_US, SeededEntropy

ENTROPY = SeededEntropy(14)
PLANE = ENTROPY.uuid()
PIN = sha256(b"authority").hexdigest()


def made(addresses: tuple[str, ...] = ("control.example.net:8001",), **changes: Any) -> JoinToken:
    asked: dict[str, Any] = {
        "control_plane": PLANE,
        "role": ComponentRole.NODE,
        "fingerprint": PIN,
        "now_us": NOW_US,
        "entropy": ENTROPY,
    }
    return new_join_token(addresses=addresses, **{**asked, **changes})


def body_of(token: JoinToken) -> dict[str, Any]:
    encoded = token.text().removeprefix(PREFIX)
    whole = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    body: dict[str, Any] = msgspec.json.decode(whole[:-4])
    return body


def spelled(body: Any) -> str:
    """Spell any body as a token with a right checksum."""
    encoded = msgspec.json.encode(body)
    whole = encoded + sha256(encoded).digest()[:4]
    return PREFIX + urlsafe_b64encode(whole).decode().rstrip("=")


def test_a_token_reads_back() -> None:
    """The joiner finds in it all that control put there."""
    token = made(("control.example.net:8001", "10.0.0.7:1", "[fd00::7]:65535"))
    assert parse_join_token(f"  {token.text()}\n") == token
    assert token.expires_at_us == NOW_US + JOIN_TOKEN_LIFE_S * 1_000_000


def test_the_largest_token_fits_its_bound() -> None:
    """What can be made can be read."""
    host = "a" * 122
    token = made(tuple(f"{host}:{8_000 + i}" for i in range(JOIN_ADDRESSES_MAX)))
    assert len(token.text()) <= JOIN_TOKEN_CHARS_MAX
    assert parse_join_token(token.text()) == token


def test_control_keeps_a_digest_and_knows_the_secret_by_it() -> None:
    """Right id and right secret together; anything else is wrong, an unknown token too."""
    token = made()
    digest = token.digest()
    assert digest == secret_digest(token.token_id, token.secret)
    assert token.secret not in digest
    assert secret_is_right(token.token_id, token.secret, digest)
    assert not secret_is_right(token.token_id, token.secret, None)
    assert not secret_is_right(token.token_id, made().secret, digest)
    assert not secret_is_right(made().token_id, token.secret, digest)
    assert not secret_is_right(token.token_id, b"", digest)


def test_ten_thousand_guesses_join_nobody() -> None:
    """A secret is 256 bits; its neighbours by one bit are no nearer than any other."""
    token = made()
    digest = token.digest()
    guesses = [ENTROPY.token(32) for _ in range(10_000 - 256)]
    for bit in range(256):
        flipped = int.from_bytes(token.secret, "big") ^ 1 << bit
        guesses.append(flipped.to_bytes(32, "big"))
    assert not any(secret_is_right(token.token_id, guess, digest) for guess in guesses)


def test_every_cut_and_every_changed_character_is_noticed() -> None:
    """A token that was copied badly says so, and never dials somewhere else."""
    text = made().text()
    for length in range(len(text)):
        with pytest.raises(Refused):
            parse_join_token(text[:length])
    last = len(text) - 1
    for at in range(len(PREFIX), last):  # the last character may hold unused bits
        changed = "A" if text[at] != "A" else "B"
        with pytest.raises(Refused, match="incomplete or mistyped"):
            parse_join_token(text[:at] + changed + text[at + 1 :])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no join token"),
        ("dst_abcdefghijkl_secret", "no join token"),
        ("dstore-join-v2.AAAA", "another version"),
        (PREFIX, "incomplete"),
        (PREFIX + "A", "incomplete"),
        (PREFIX + "ü" * 8, "incomplete"),
        (PREFIX + "A" * JOIN_TOKEN_CHARS_MAX, "incomplete"),
        (spelled([1, 2]), "incomplete"),
        (spelled({}), "incomplete"),
    ],
)
def test_other_texts_are_refused_with_a_sentence(text: str, said: str) -> None:
    """An operator learns what to do, whatever was pasted."""
    with pytest.raises(Refused, match=said):
        parse_join_token(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("controlPlane", "x"),
        ("controlPlane", PLANE.upper()),
        ("role", "operator"),
        ("tokenId", "short"),
        ("secret", "AAAA"),
        ("secret", "é"),
        ("fingerprint", "00"),
        ("addresses", []),
        ("addresses", ["h:1"] * (JOIN_ADDRESSES_MAX + 1)),
        ("addresses", ["host"]),
        ("addresses", ["host:0"]),
        ("addresses", ["host:65536"]),
        ("addresses", ["http://host:1"]),
        ("addresses", ["user@host:1"]),
        ("addresses", ["host:1/path"]),
        ("addresses", ["h" * 200 + ":1"]),
        ("expiresAtUs", 0),
        ("expiresAtUs", "soon"),
        ("extra", 1),
    ],
)
def test_forged_fields_are_refused(field: str, value: object) -> None:
    """Anybody can make the checksum right; each field must still be one of ours."""
    with pytest.raises(Refused):
        parse_join_token(spelled({**body_of(made()), field: value}))


@pytest.mark.parametrize(
    "asked",
    [
        {"life_s": 0},
        {"life_s": JOIN_TOKEN_LIFE_S_MAX + 1},
        {"addresses": ()},
        {"addresses": ("h:1",) * (JOIN_ADDRESSES_MAX + 1)},
        {"addresses": ("not an address",)},
    ],
)
def test_what_nobody_could_use_is_not_made(asked: dict[str, Any]) -> None:
    """An operator's mistake shows when the token is made, not when it is carried away."""
    with pytest.raises(Refused):
        made(**asked)


def test_a_joiner_notices_another_role_and_an_old_token() -> None:
    """It need not dial to be refused; but its clock alone does not end a token early."""
    token = made()
    require_usable(token, role=ComponentRole.NODE, now_us=NOW_US)
    with pytest.raises(Refused, match="admits a node, not a proxy"):
        require_usable(token, role=ComponentRole.PROXY, now_us=NOW_US)
    late_us = token.expires_at_us + 60_000_000
    require_usable(token, role=ComponentRole.NODE, now_us=late_us)
    with pytest.raises(Refused, match="has expired"):
        require_usable(
            token, role=ComponentRole.NODE, now_us=late_us + JOIN_TOKEN_LIFE_S_MAX * 1_000_000
        )


def test_the_secret_is_not_shown() -> None:
    """A repr goes into logs and tracebacks, an error to a terminal that others see."""
    token = made()
    text = token.text()
    assert repr(token.secret) not in repr(token)
    with pytest.raises(Refused) as caught:
        parse_join_token(text[:-3])
    assert text[20:40] not in str(caught.value)
    assert replace(token, secret=bytes(32)).text() != text
