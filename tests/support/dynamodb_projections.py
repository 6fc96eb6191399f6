"""Projections: refused ones with their sentences, and what they give of `dynamodb_conditions.ITEM`.

The sentences are dynalite's db/projectionParser.js, recorded from the real service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.support.dynamodb_conditions import ITEM

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARSER: Final = "dynalite db/projectionParser.js, test/getItem.js"
_PARITY: Final = "paritysuite/dynamodb-conformance tests/tier3/error-messages/batchGetItem.test.ts"
_ALTERNATOR: Final = "Alternator test/alternator/test_projection_expression.py"
_OVERLAP: Final = (
    "Two document paths overlap with each other; must remove or rewrite one of these paths; "
)
_CONFLICT: Final = (
    "Two document paths conflict with each other; must remove or rewrite one of these paths; "
)
_NO_NAME: Final = (
    "An expression attribute name used in the document path is not defined; attribute name: "
)
_TOKEN: Final = "Syntax error; token: "

# name, expression, names, the sentence behind "Invalid ProjectionExpression: ", source
BAD_PROJECTIONS: Final[tuple[tuple[str, str, Mapping[str, str], str, str], ...]] = (
    ("empty", "", {}, "The expression can not be empty;", _PARSER),
    (
        "reserved",
        "abort",
        {},
        "Attribute name is a reserved keyword; reserved keyword: abort",
        _PARSER,
    ),
    (
        "reserved-nested",
        "a.Name",
        {},
        "Attribute name is a reserved keyword; reserved keyword: Name",
        _PARSER,
    ),
    ("undefined-name", "#a", {}, f"{_NO_NAME}#a", _PARSER),
    ("undefined-second", "#a, #b", {"#a": "a"}, f"{_NO_NAME}#b", _PARSER),
    ("twice", "a, a", {}, f"{_OVERLAP}path one: [a], path two: [a]", _PARITY),
    (
        "twice-by-names",
        "#a, #b",
        {"#a": "a", "#b": "a"},
        f"{_OVERLAP}path one: [a], path two: [a]",
        _PARITY,
    ),
    ("parent-and-child", "a, a.b", {}, f"{_OVERLAP}path one: [a], path two: [a, b]", _PARITY),
    ("child-and-parent", "a.b, a", {}, f"{_OVERLAP}path one: [a, b], path two: [a]", _PARSER),
    (
        "element-twice",
        "a[1], a[1]",
        {},
        f"{_OVERLAP}path one: [a, [1]], path two: [a, [1]]",
        _PARSER,
    ),
    ("map-and-list", "a.b, a[1]", {}, f"{_CONFLICT}path one: [a, b], path two: [a, [1]]", _PARSER),
    (
        "deep-conflict",
        "a.b[0], a.b.c",
        {},
        f"{_CONFLICT}path one: [a, b, [0]], path two: [a, b, c]",
        _PARSER,
    ),
    (
        "character",
        "!!! INVALID !!!",
        {},
        f'{_TOKEN}"!", near: "!!"',
        "paritysuite/dynamodb-conformance tests/tier3/error-messages/getItem.test.ts",
    ),
    ("comma-last", "a,", {}, f'{_TOKEN}"<EOF>", near: ","', _ALTERNATOR),
    ("two-words", "a b", {}, f'{_TOKEN}"b", near: "a b"', _ALTERNATOR),
    ("value", ":a", {}, f'{_TOKEN}":a", near: ":a"', _ALTERNATOR),
    ("no-index", "a[]", {}, f'{_TOKEN}"]", near: "[]"', _ALTERNATOR),
    ("point-last", "a.", {}, f'{_TOKEN}"<EOF>", near: "."', _ALTERNATOR),
)

_M: Final = ITEM["m"]["M"]
_L: Final = ITEM["l"]["L"]

# expression, names, what it gives, source
PROJECTIONS: Final[tuple[tuple[str, Mapping[str, str], Mapping[str, Any], str], ...]] = (
    ("s", {}, {"s": ITEM["s"]}, _ALTERNATOR),
    ("s,n", {}, {"s": ITEM["s"], "n": ITEM["n"]}, _ALTERNATOR),
    (" s , n ", {}, {"s": ITEM["s"], "n": ITEM["n"]}, _ALTERNATOR),
    ("#x", {"#x": "s"}, {"s": ITEM["s"]}, _ALTERNATOR),
    ("gone", {}, {}, _ALTERNATOR),
    ("gone, s", {}, {"s": ITEM["s"]}, _ALTERNATOR),
    ("m.k", {}, {"m": {"M": {"k": _M["k"]}}}, _ALTERNATOR),
    ("m.#x", {"#x": "k"}, {"m": {"M": {"k": _M["k"]}}}, _ALTERNATOR),
    ("m.k, m.n", {}, {"m": {"M": {"k": _M["k"], "n": _M["n"]}}}, _ALTERNATOR),
    ("m.l[0]", {}, {"m": {"M": {"l": {"L": _M["l"]["L"]}}}}, _ALTERNATOR),
    ("l[0]", {}, {"l": {"L": [_L[0]]}}, _ALTERNATOR),
    ("l[2], l[0]", {}, {"l": {"L": [_L[0], _L[2]]}}, _ALTERNATOR),
    ("l[2].k", {}, {"l": {"L": [_L[2]]}}, _ALTERNATOR),
    ("l[9]", {}, {}, _ALTERNATOR),
    ("l.k", {}, {}, _ALTERNATOR),
    ("m[0]", {}, {}, _ALTERNATOR),
    ("m.gone", {}, {}, _ALTERNATOR),
    ("s.k, n", {}, {"n": ITEM["n"]}, _ALTERNATOR),
    ("ss, z, t", {}, {"ss": ITEM["ss"], "z": ITEM["z"], "t": ITEM["t"]}, _ALTERNATOR),
)
