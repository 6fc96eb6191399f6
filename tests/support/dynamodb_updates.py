"""Updates: refused ones with their sentences, and what they make of `UPDATED`.

A refusal's text stands without `Invalid UpdateExpression: `; the sentences and their order are
dynalite's db/updateParser.js (`checkErrors`), recorded from the real service.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.support.dynamodb_conditions import ITEM

if TYPE_CHECKING:
    from collections.abc import Mapping

PARSER: Final = "dynalite db/updateParser.js, test/updateItem.js"
ALTERNATOR: Final = "Alternator test/alternator/test_update_expression.py"
PARITY: Final = "paritysuite/dynamodb-conformance tests/tier1/updateItem/paths.test.ts"
DYNAMOID: Final = "https://github.com/Dynamoid/dynamoid spec/dynamoid/persistence_spec.rb"
DOC: Final = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
    "Expressions.UpdateExpressions.html"
)

_S: Final = {"S": "a"}
_N: Final = {"N": "1"}
_L: Final = {"L": [{"S": "new"}]}
_TOKEN: Final = "Syntax error; token: "
_COUNT: Final = "Incorrect number of operands for operator or function; operator or function: "
_TYPE: Final = "Incorrect operand type for operator or function; operator or function: "
_OPERATOR: Final = "Incorrect operand type for operator or function; operator: "
_OVERLAP: Final = (
    "Two document paths overlap with each other; must remove or rewrite one of these paths; "
)
_CONFLICT: Final = (
    "Two document paths conflict with each other; must remove or rewrite one of these paths; "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadUpdate:
    """An update that is refused before it looks at an item."""

    name: str
    expression: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)
    source: str = PARSER


def _bad(name: str, expression: str, text: str, **values: Any) -> BadUpdate:
    named = {f":{key}": value for key, value in values.items()}
    return BadUpdate(name=name, expression=expression, text=text, values=named)


BAD_UPDATES: Final[tuple[BadUpdate, ...]] = (
    _bad("empty", "", "The expression can not be empty;"),
    _bad("words", "INVALID SYNTAX HERE", f'{_TOKEN}"INVALID", near: "INVALID SYNTAX"'),
    _bad("set-alone", "SET", f'{_TOKEN}"<EOF>", near: "SET"'),
    _bad("no-value", "SET a =", f'{_TOKEN}"<EOF>", near: "="'),
    _bad("set-comma", "SET a = :a,", f'{_TOKEN}"<EOF>", near: ","', a=_S),
    _bad("twice-equal", "SET a = = :a", f'{_TOKEN}"=", near: "= = :a"', a=_S),
    _bad("remove-value", "REMOVE :a", f'{_TOKEN}":a", near: "REMOVE :a"', a=_S),
    _bad("add-equal", "ADD a = :a", f'{_TOKEN}"=", near: "a = :a"', a=_N),
    _bad("add-path", "ADD a b", f'{_TOKEN}"b", near: "a b"'),
    _bad("number-literal", "SET a = 1", f'{_TOKEN}"1", near: "= 1"'),
    _bad("multiplication", "SET a = b * :a", f'{_TOKEN}"*", near: "b * :a"', a=_N),
    _bad(
        "reserved",
        "SET abort = :a",
        "Attribute name is a reserved keyword; reserved keyword: abort",
    ),
    _bad(
        "reserved-in-value",
        "SET a = b + Size",
        "Attribute name is a reserved keyword; reserved keyword: Size",
    ),
    _bad("unknown-function", "SET a = nope(b)", "Invalid function name; function: nope"),
    _bad(
        "function-case",
        "SET a = If_not_exists(a, :a)",
        "Invalid function name; function: If_not_exists",
    ),
    _bad(
        "set-twice",
        "SET a = :a SET b = :a",
        'The "SET" section can only be used once in an update expression;',
        a=_S,
    ),
    _bad(
        "remove-twice",
        "REMOVE a REMOVE b",
        'The "REMOVE" section can only be used once in an update expression;',
    ),
    _bad(
        "add-twice",
        "ADD a :a ADD b :a",
        'The "ADD" section can only be used once in an update expression;',
        a=_N,
    ),
    _bad(
        "delete-twice",
        "DELETE a :a DELETE b :a",
        'The "DELETE" section can only be used once in an update expression;',
        a={"SS": ["a"]},
    ),
    _bad(
        "undefined-name",
        "SET #a = :a",
        "An expression attribute name used in the document path is not defined; attribute name: #a",
        a=_S,
    ),
    _bad(
        "undefined-value",
        "SET a = :b",
        "An expression attribute value used in expression is not defined; attribute value: :b",
        a=_S,
    ),
    _bad("overlap", "SET a = :a, a = :a", f"{_OVERLAP}path one: [a], path two: [a]", a=_S),
    _bad(
        "overlap-sections", "SET a = :a REMOVE a", f"{_OVERLAP}path one: [a], path two: [a]", a=_S
    ),
    _bad(
        "overlap-child", "SET a.b = :a REMOVE a", f"{_OVERLAP}path one: [a, b], path two: [a]", a=_S
    ),
    _bad(
        "overlap-element",
        "SET a[1] = :a, a[1].b = :a",
        f"{_OVERLAP}path one: [a, [1]], path two: [a, [1], b]",
        a=_S,
    ),
    _bad(
        "conflict",
        "SET a.b = :a, a[1] = :a",
        f"{_CONFLICT}path one: [a, b], path two: [a, [1]]",
        a=_S,
    ),
    _bad(
        "if-operands", "SET a = if_not_exists(a)", f"{_COUNT}if_not_exists, number of operands: 1"
    ),
    _bad(
        "if-three",
        "SET a = if_not_exists(a, :a, :a)",
        f"{_COUNT}if_not_exists, number of operands: 3",
        a=_S,
    ),
    _bad(
        "append-operands", "SET a = list_append(a)", f"{_COUNT}list_append, number of operands: 1"
    ),
    _bad(
        "if-of-value",
        "SET a = if_not_exists(:a, :a)",
        "Operator or function requires a document path; operator or function: if_not_exists",
        a=_S,
    ),
    _bad(
        "append-string", "SET a = list_append(a, :a)", f"{_TYPE}list_append, operand type: S", a=_S
    ),
    _bad(
        "append-map",
        "SET a = list_append(:a, a)",
        f"{_TYPE}list_append, operand type: M",
        a={"M": {}},
    ),
    _bad("plus-string", "SET a = a + :a", f"{_TYPE}+, operand type: S", a=_S),
    _bad("minus-list", "SET a = :a - a", f"{_TYPE}-, operand type: L", a={"L": []}),
    *[
        BadUpdate(
            name=f"add-{kind}",
            expression="ADD a :a",
            text=f"{_OPERATOR}ADD, operand type: {word}, typeSet: ALLOWED_FOR_ADD_OPERAND",
            values={":a": value},
            source=DYNAMOID,
        )
        for kind, word, value in (
            ("S", "STRING", _S),
            ("B", "BINARY", {"B": "AQ=="}),
            ("BOOL", "BOOLEAN", {"BOOL": True}),
            ("NULL", "NULL", {"NULL": True}),
            ("L", "LIST", {"L": []}),
            ("M", "MAP", {"M": {}}),
        )
    ],
    *[
        BadUpdate(
            name=f"delete-{kind}",
            expression="DELETE a :a",
            text=f"{_OPERATOR}DELETE, operand type: {word}, typeSet: ALLOWED_FOR_DELETE_OPERAND",
            values={":a": value},
            source=DYNAMOID,
        )
        for kind, word, value in (("S", "STRING", _S), ("N", "NUMBER", _N), ("L", "LIST", _L))
    ],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An update and what it does to `UPDATED`: these attributes become so, None goes."""

    expression: str
    values: Mapping[str, Any]
    changes: Mapping[str, Any]
    source: str = DOC


UPDATED: Final = ITEM
_M: Final = ITEM["m"]["M"]
_ITEMS: Final = ITEM["l"]["L"]
_V: Final = {"S": "new"}


def _change(
    expression: str, changes: Mapping[str, Any], source: str = DOC, **values: Any
) -> Change:
    named = {f":{key}": value for key, value in values.items()}
    return Change(expression=expression, values=named, changes=changes, source=source)


def _list(*items: Any) -> dict[str, Any]:
    return {"L": list(items)}


CHANGES: Final[tuple[Change, ...]] = (
    _change("SET a = :a", {"a": _V}, a=_V),
    _change("set a = :a", {"a": _V}, ALTERNATOR, a=_V),
    _change("SET s = :a", {"s": _V}, a=_V),
    _change("SET s = :a", {"s": {"N": "1.5"}}, a={"N": "1.50"}),
    _change("SET a = :a, s = :b", {"a": _V, "s": _N}, a=_V, b=_N),
    _change("SET a = s", {"a": ITEM["s"]}),
    _change("SET s = n, n = s", {"s": ITEM["n"], "n": ITEM["s"]}, ALTERNATOR),
    _change("SET a = m.k", {"a": _M["k"]}),
    _change("SET a = l[0]", {"a": {"S": "x"}}),
    _change("SET n = n + :a", {"n": {"N": "6"}}, a=_N),
    _change("SET n = n - :a", {"n": {"N": "4"}}, a=_N),
    _change("SET n = :a - n", {"n": {"N": "-4"}}, a=_N),
    _change("SET n = n + n", {"n": {"N": "10"}}),
    _change("SET a = :a + :b", {"a": {"N": "3"}}, a=_N, b={"N": "2"}),
    _change("SET n = n + :a", {"n": {"N": "5.1"}}, a={"N": "0.1"}),
    _change("SET n = n - :a", {"n": {"N": "0"}}, a={"N": "5.0"}),
    _change("SET n = n + :a", {"n": {"N": "1" + "0" * 36 + "5"}}, a={"N": "1e37"}),
    _change("SET m.n = m.n + :a", {"m": {"M": {**_M, "n": {"N": "8"}}}}, PARITY, a=_N),
    _change("SET a = if_not_exists(a, :a)", {"a": _V}, a=_V),
    _change("SET s = if_not_exists(s, :a)", {}, a=_V),
    _change("SET a = if_not_exists(s, :a)", {"a": ITEM["s"]}, a=_V),
    _change("SET a = if_not_exists(a, :a) + :b", {"a": {"N": "3"}}, ALTERNATOR, a=_N, b={"N": "2"}),
    _change("SET n = if_not_exists(n, :a) + :b", {"n": {"N": "7"}}, ALTERNATOR, a=_N, b={"N": "2"}),
    _change("SET a = if_not_exists(m.gone, s)", {"a": ITEM["s"]}, ALTERNATOR),
    _change("SET a = if_not_exists(a, if_not_exists(b2, :a))", {"a": _V}, ALTERNATOR, a=_V),
    _change("SET l = list_append(l, :a)", {"l": _list(*_ITEMS, _V)}, a=_L),
    _change("SET l = list_append(:a, l)", {"l": _list(_V, *_ITEMS)}, a=_L),
    _change("SET a = list_append(:a, :a)", {"a": _list(_V, _V)}, a=_L),
    _change(
        "SET a = list_append(if_not_exists(a, :b), :a)", {"a": _L}, ALTERNATOR, a=_L, b={"L": []}
    ),
    _change("SET l[0] = :a", {"l": _list(_V, *_ITEMS[1:])}, a=_V),
    _change("SET l[3] = :a", {"l": _list(*_ITEMS, _V)}, PARITY, a=_V),
    _change("SET l[9] = :a", {"l": _list(*_ITEMS, _V)}, PARITY, a=_V),
    _change("SET l[9] = :a, l[7] = :b", {"l": _list(*_ITEMS, _S, _V)}, ALTERNATOR, a=_V, b=_S),
    _change("SET l[2].k = :a", {"l": _list(*_ITEMS[:2], {"M": {"k": _V}})}, a=_V),
    _change("SET m.k = :a", {"m": {"M": {**_M, "k": _V}}}, a=_V),
    _change("SET m.fresh = :a", {"m": {"M": {**_M, "fresh": _V}}}, PARITY, a=_V),
    _change("SET m.a = :a, m.b = :b", {"m": {"M": {**_M, "a": _V, "b": _S}}}, PARITY, a=_V, b=_S),
    _change("REMOVE s", {"s": None}),
    _change("REMOVE gone", {}),
    _change("REMOVE s, n", {"s": None, "n": None}),
    _change("REMOVE m.k", {"m": {"M": {"n": _M["n"], "l": _M["l"]}}}, PARITY),
    _change("REMOVE m.gone", {}, ALTERNATOR),
    _change("REMOVE l[1]", {"l": _list(_ITEMS[0], _ITEMS[2])}, PARITY),
    _change("REMOVE l[0], l[2]", {"l": _list(_ITEMS[1])}, ALTERNATOR),
    _change("REMOVE l[9]", {}, ALTERNATOR),
    _change("ADD n :a", {"n": {"N": "6"}}, a=_N),
    _change("ADD n :a", {"n": {"N": "3"}}, a={"N": "-2"}),
    _change("ADD a :a", {"a": _N}, a=_N),
    _change("ADD ss :a", {"ss": {"SS": ["a", "b", "c"]}}, a={"SS": ["c", "a"]}),
    _change("ADD ns :a", {"ns": {"NS": ["1", "2", "3"]}}, a={"NS": ["3", "2.0"]}),
    _change("ADD bs :a", {"bs": {"BS": ["AQ==", "Ag==", "Aw=="]}}, a={"BS": ["Aw=="]}),
    _change("ADD a :a", {"a": {"SS": ["x"]}}, a={"SS": ["x"]}),
    _change("ADD m.n :a", {"m": {"M": {**_M, "n": {"N": "8"}}}}, ALTERNATOR, a=_N),
    _change("DELETE ss :a", {"ss": {"SS": ["b"]}}, a={"SS": ["a", "z"]}),
    _change("DELETE ss :a", {"ss": None}, a={"SS": ["a", "b"]}),
    _change("DELETE gone :a", {}, a={"SS": ["a"]}),
    _change("DELETE ns :a", {"ns": {"NS": ["2"]}}, a={"NS": ["1.0"]}),
    _change(
        "SET a = :a REMOVE s ADD n :b DELETE ss :c",
        {"a": _V, "s": None, "n": {"N": "6"}, "ss": {"SS": ["b"]}},
        a=_V,
        b=_N,
        c={"SS": ["a"]},
    ),
    _change("ADD n :b SET a = :a", {"a": _V, "n": {"N": "6"}}, ALTERNATOR, a=_V, b=_N),
    _change("SET a = n ADD n :b", {"a": {"N": "5"}, "n": {"N": "6"}}, ALTERNATOR, b=_N),
    _change("SET a = s REMOVE s", {"a": ITEM["s"], "s": None}, ALTERNATOR),
)

_MISSING: Final = "The provided expression refers to an attribute that does not exist in the item"
_OPERAND: Final = "An operand in the update expression has an incorrect data type"
_PATH: Final = "The document path provided in the update expression is invalid for update"

# expression, values, the whole sentence: refused once the item is known
BAD_FOR_ITEM: Final[tuple[tuple[str, Mapping[str, Any], str], ...]] = (
    ("SET a = gone", {}, _MISSING),
    ("SET a = gone + :a", {":a": _N}, _MISSING),
    ("SET a = m.gone", {}, _MISSING),
    ("SET a = l[9]", {}, _MISSING),
    ("SET a = list_append(gone, :a)", {":a": _L}, _MISSING),
    ("SET a = if_not_exists(gone, gone2)", {}, _MISSING),
    ("SET a = s + :a", {":a": _N}, _OPERAND),
    ("SET a = :a - s", {":a": _N}, _OPERAND),
    ("SET a = list_append(s, :a)", {":a": _L}, _OPERAND),
    ("SET a = list_append(:a, ss)", {":a": _L}, _OPERAND),
    ("ADD s :a", {":a": _N}, _OPERAND),
    ("ADD ss :a", {":a": _N}, _OPERAND),
    ("ADD ss :a", {":a": {"NS": ["1"]}}, _OPERAND),
    ("ADD n :a", {":a": {"SS": ["a"]}}, _OPERAND),
    ("DELETE n :a", {":a": {"NS": ["5"]}}, _OPERAND),
    ("DELETE ss :a", {":a": {"NS": ["5"]}}, _OPERAND),
    ("SET gone.a = :a", {":a": _S}, _PATH),
    ("SET gone[0] = :a", {":a": _S}, _PATH),
    ("SET s.a = :a", {":a": _S}, _PATH),
    ("SET s[0] = :a", {":a": _S}, _PATH),
    ("SET m[0] = :a", {":a": _S}, _PATH),
    ("SET l.a = :a", {":a": _S}, _PATH),
    ("SET m.gone.a = :a", {":a": _S}, _PATH),
    ("REMOVE gone.a", {}, _PATH),
    ("REMOVE s.a", {}, _PATH),
    ("REMOVE m[0]", {}, _PATH),
    ("ADD gone.a :a", {":a": _N}, _PATH),
    ("DELETE gone.a :a", {":a": {"SS": ["a"]}}, _PATH),
)
