"""What a server stored can't steer the terminal on which it is shown."""

import json

import pytest

from dstore.cli.text import printable, printable_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, é, 東京, 😀", "plain, é, 東京, 😀"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines", "two\\x0alines"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_controls_are_spelled_out(text: str, shown: str) -> None:
    """An ID with an escape sequence could retitle, recolour or type into the reader's terminal."""
    assert printable(text) == shown


def test_json_means_the_same_after_escaping() -> None:
    """Programs parse what people see; only the spelling of a string may change."""
    value = {"a": "\x9b2J\u202e", "é": [1, None, "東京"]}
    text = json.dumps(value, ensure_ascii=False)
    shown = printable_json(text)
    assert json.loads(shown) == value
    assert "\x9b" not in shown
    assert "東京" in shown
