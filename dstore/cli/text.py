"""Text on its way to a terminal: whatever a server stored, it can't steer the terminal."""

import re
from typing import Final

# C0 and C1 controls, DEL, halves of surrogate pairs, and the marks that turn the writing direction.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# The same in JSON text, where line ends are between the values and never in them.
_UNSAFE_IN_JSON: Final = re.compile(
    "[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Spell every character that a terminal acts upon as \x1b or \u202e; line ends too."""
    return _UNSAFE.sub(lambda match: _escaped(match[0]), text)


def printable_json(text: str) -> str:
    r"""Spell the same characters as \u001b; the JSON text means what it meant before.

    Outside of strings no such character can stand in JSON, and within them \u is an escape.
    """
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - one byte
