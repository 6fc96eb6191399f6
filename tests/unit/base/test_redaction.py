"""No log line says a key, a token or a stored value, whatever it is given."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.base.limits import LOG_TEXT_CHARS_MAX, LOG_VALUES_MAX
from dstore.base.logging import LogLevel
from dstore.base.redaction import HIDDEN, clean_text, redact

CANARY = "canary-7f3a"


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "secret_access_key",
        "SecretAccessKey",
        "token",
        "DSTORE_TOKEN",
        "session-token",
        "key",
        "partition_key",
        "password",
        "Authorization",
        "http.authorization",
        "value",
        "new_values",
        "data",
        "body",
        "body_text",
        "entry_id",
        "items",
    ],
)
def test_field_with_a_telling_name_is_hidden(name: str) -> None:
    """The name of a field is the surest sign of what it holds."""
    assert redact({name: CANARY}) == {name: HIDDEN}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("body_bytes", 512),
        ("key_count", 3),
        ("access_key_id", "DSAKAAAABBBBCCCCDDDD"),
        ("token_id", "abcdefgh2345"),
        ("status", 200),
        ("keyspace", "main"),
        ("monkey", "see"),
    ],
)
def test_field_that_only_measures_or_names_is_shown(name: str, value: object) -> None:
    """Logs that hide everything help nobody at night."""
    assert redact({name: value}) == {name: value}


def test_measure_that_holds_a_text_is_hidden() -> None:
    """`key_max` may be a count; it may be somebody's key as well."""
    assert redact({"key_max": CANARY}) == {"key_max": HIDDEN}


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {CANARY}",
        f"token dst_abcdefgh2345_{CANARY} refused",
        f"joined with dstore-join-v1.{CANARY}",
        f"GET /v1/tenant/t/table/x/id/{CANARY}?a=b",
        f"GET /v1/tenant/t/table/x/id/{{id}}{CANARY}",
        f"Signature={CANARY}, SignedHeaders=host",
        f"?X-Amz-Signature={CANARY}&x=1",
        f"?X-Amz-Security-Token={CANARY}",
    ],
)
def test_secret_inside_a_longer_text_is_scrubbed(text: str) -> None:
    """Libraries quote whole headers and addresses in their messages."""
    assert CANARY not in clean_text(text)
    assert HIDDEN in clean_text(text)


def test_the_pattern_of_a_route_is_no_secret() -> None:
    """The line of a request names its operation by the pattern that it matched."""
    pattern = "/v1/tenant/{tenant}/table/{table}/id/{id}"
    assert redact({"route": pattern}) == {"route": pattern}


def test_nested_fields_are_judged_too() -> None:
    """A secret does not become harmless inside a map in a list."""
    told = redact({"nodes": [{"uuid": "u", "token": CANARY}, {"inner": {"data": CANARY}}]})
    assert told == {"nodes": [{"uuid": "u", "token": HIDDEN}, {"inner": {"data": HIDDEN}}]}


class _Telling:
    """An object whose text tells a secret."""

    def __repr__(self) -> str:
        return CANARY


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (_Telling(), "<_Telling>"),
        (ValueError(CANARY), "<ValueError>"),
        (CANARY.encode(), "[11 bytes]"),
        (Path("a/b"), "a/b"),
        (LogLevel.INFO, "info"),
        (2**64, "[65 bits]"),
        (True, True),
        (None, None),
        ([[[[["deep"]]]]], [[[["<list>"]]]]),
    ],
)
def test_value_is_shown_only_where_its_kind_is_known(value: object, shown: object) -> None:
    """An object's repr may quote anything."""
    assert redact({"given": value}) == {"given": shown}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u2028b", "a\\u2028b"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud800", "\\ud800"),
        ("Zürich", "Zürich"),
    ],
)
def test_unprintable_characters_are_spelled(text: str, clean: str) -> None:
    """A client must not write lines of its own into the log, nor steer a terminal."""
    assert clean_text(text) == clean


def test_long_values_are_cut() -> None:
    """A log line is bounded whatever a client sends."""
    told = redact({"given": "x" * 10**6, "many": list(range(10**4))})
    assert len(told["given"]) < LOG_TEXT_CHARS_MAX + 100
    assert len(told["many"]) == LOG_VALUES_MAX


@given(st.dictionaries(st.text(), st.recursive(st.text() | st.binary() | st.floats(), st.lists)))
def test_anything_becomes_one_printable_line(fields: dict[str, object]) -> None:
    """The encoder must not fail on what a client sent, and no line may break."""
    told = redact(fields)
    assert json.dumps(told, ensure_ascii=False).encode().decode().isprintable()
