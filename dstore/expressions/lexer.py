"""Text → tokens, in AWS's own alphabet.

Nothing is refused here: a character that begins no token becomes a token of its own that no rule
of the parser takes, so that the first complaint is the leftmost, as it is at AWS. Keywords are
keywords in every expression and in any case: an attribute named `set` needs a `#name`.
Source: the grammar that Amazon published with its DAX clients (GRAMMAR.md).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple


class TokenKind(StrEnum):
    """What a token is; keywords and symbols are their own kinds."""

    WORD = "word"
    NAME = "#name"
    VALUE = ":value"
    INDEX = "index"
    IN = "IN"
    BETWEEN = "BETWEEN"
    NOT = "NOT"
    AND = "AND"
    OR = "OR"
    SET = "SET"
    ADD = "ADD"
    DELETE = "DELETE"
    REMOVE = "REMOVE"
    EQ = "="
    NE = "<>"
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    PLUS = "+"
    MINUS = "-"
    OPEN = "("
    CLOSE = ")"
    COMMA = ","
    DOT = "."
    OPEN_BRACKET = "["
    CLOSE_BRACKET = "]"
    UNKNOWN = "unknown"
    END = "<EOF>"


class Token(NamedTuple):
    """A piece of the text, `text[start:end]`; the last token of every text is END."""

    kind: TokenKind
    text: str
    start: int
    end: int


# An index has no leading zero: "01" is two of them, and so a syntax error.
_TOKEN = re.compile(
    r"(?P<space>[ \t\n\r]+)"
    r"|(?P<word>[A-Za-z][A-Za-z0-9_]*)"
    r"|(?P<name>\#[A-Za-z0-9_]+)"
    r"|(?P<value>:[A-Za-z0-9_]+)"
    r"|(?P<index>0|[1-9][0-9]*)"
    r"|(?P<symbol><>|<=|>=|[=<>+\-(),.\[\]])"
    r"|(?P<unknown>.)",
    re.DOTALL,
)
_KEYWORDS: Final = {
    kind.value: kind
    for kind in (
        TokenKind.IN,
        TokenKind.BETWEEN,
        TokenKind.NOT,
        TokenKind.AND,
        TokenKind.OR,
        TokenKind.SET,
        TokenKind.ADD,
        TokenKind.DELETE,
        TokenKind.REMOVE,
    )
}
_SYMBOLS: Final = {kind.value: kind for kind in TokenKind}
_KINDS: Final = {
    "name": TokenKind.NAME,
    "value": TokenKind.VALUE,
    "index": TokenKind.INDEX,
    "unknown": TokenKind.UNKNOWN,
}


def tokenize(text: str) -> tuple[Token, ...]:
    """Cut a text into tokens, white space left out, with END behind them.

    Cost: O(length); the caller has bounded it.
    """
    tokens = []
    for match in _TOKEN.finditer(text):
        group = match.lastgroup
        if group == "space":
            continue
        piece = match.group()
        if group == "word":
            kind = _KEYWORDS.get(piece.upper(), TokenKind.WORD)
        elif group == "symbol":
            kind = _SYMBOLS[piece]
        else:
            assert group is not None
            kind = _KINDS[group]
        tokens.append(Token(kind, piece, match.start(), match.end()))
    tokens.append(Token(TokenKind.END, TokenKind.END.value, len(text), len(text)))
    return tuple(tokens)


def near(text: str, tokens: tuple[Token, ...], at: int) -> str:
    """Quote what AWS quotes around a token: from the token before it to the one behind it.

    At the text's edges the white space outside counts in.
    """
    start = tokens[at - 1].start if at > 0 else 0
    end = tokens[at + 1].end if at + 1 < len(tokens) else len(text)
    return text[start:end]
