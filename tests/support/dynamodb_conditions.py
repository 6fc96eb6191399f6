"""Conditions, for ConditionExpression and FilterExpression: refused ones, and their truth.

A refusal's text stands without `Invalid <member>: `, and the order of complaints is dynalite's
db/conditionParser.js, whose `checkErrors` and `checkConditionErrors` follow the real service.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.support.dynamodb_cases import Case, enveloped, invalid
from tests.support.dynamodb_values import (
    BAD_VALUES,
    LAYERS,
    NEWER_VALUES,
    VALIDATIONS,
    WRITTEN_VALUES,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

PARSER: Final = "dynalite db/conditionParser.js"
TESTS: Final = "dynalite test/putItem.js, test/scan.js, test/query.js"
ALTERNATOR: Final = "Alternator test/alternator/test_condition_expression.py"
COMPARISON: Final = "paritysuite/dynamodb-conformance tests/tier2/partiql/comparison.test.ts"
FUNCTIONS: Final = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
    "Expressions.OperatorsAndFunctions.html"
)

# One attribute of every type; `p` and `c` come from the test.
ITEM: Final[Mapping[str, Any]] = {
    "s": {"S": "hello"},
    "e": {"S": ""},
    "n": {"N": "5"},
    "b": {"B": "AQID"},
    "t": {"BOOL": True},
    "z": {"NULL": True},
    "ss": {"SS": ["a", "b"]},
    "ns": {"NS": ["1", "2"]},
    "bs": {"BS": ["AQ==", "Ag=="]},
    "l": {"L": [{"S": "x"}, {"N": "1"}, {"M": {"k": {"S": "v"}}}]},
    "m": {"M": {"k": {"S": "v"}, "n": {"N": "7"}, "l": {"L": [{"S": "y"}]}}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An expression that is refused."""

    name: str
    expression: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    source: str = TESTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """An expression and whether `ITEM` satisfies it."""

    expression: str
    holds: bool
    values: Mapping[str, Any]
    source: str = f"{FUNCTIONS}; {ALTERNATOR}"


def _bad(name: str, expression: str, text: str, **values: Any) -> Refused:
    named = {f":{key}": value for key, value in values.items()}
    return Refused(name=name, expression=expression, text=text, values=named)


_S: Final = {"S": "a"}
_N: Final = {"N": "1"}
_TOKEN: Final = "Syntax error; token: "
_COUNT: Final = "Incorrect number of operands for operator or function; operator or function: "
_TYPE: Final = "Incorrect operand type for operator or function; operator or function: "
_PATH: Final = "Operator or function requires a document path; operator or function: "
_MISUSED: Final = "The function is not allowed to be used this way in an expression; function: "
_RESERVED: Final = "Attribute name is a reserved keyword; reserved keyword: "
_SAME: Final = (
    "The first operand must be distinct from the remaining operands for this operator or function; "
    "operator: "
)
_NO_NAME: Final = (
    "An expression attribute name used in the document path is not defined; attribute name: "
)
_NO_VALUE: Final = (
    "An expression attribute value used in expression is not defined; attribute value: "
)
_BOUNDS: Final = "The BETWEEN operator requires upper bound to be greater than or equal to lower "
_BOUND_TYPES: Final = "The BETWEEN operator requires same data type for lower and upper bounds; "

REFUSED: Final[tuple[Refused, ...]] = (
    _bad("empty", "", "The expression can not be empty;"),
    _bad("undefined-value", "a = :b", f"{_NO_VALUE}:b"),
    _bad("undefined-name", "#a = :b", f"{_NO_NAME}#a", b=_S),
    _bad("first-undefined", "a = :c and #b = :d", f"{_NO_VALUE}:c"),
    _bad("reserved", "size = :a", f"{_RESERVED}size", a=_N),
    _bad("reserved-upper", "DaTe = :a", f"{_RESERVED}DaTe", a=_N),
    _bad("reserved-nested", "a.name = :a", f"{_RESERVED}name", a=_N),
    _bad("reserved-before-undefined", "abort = :b", f"{_RESERVED}abort"),
    _bad("redundant-parens", "((a = :a))", "The expression has redundant parentheses;", a=_S),
    _bad(
        "parens-before-function",
        "((attribute_exists(:a, :b, :c)))",
        "The expression has redundant parentheses;",
    ),
    _bad("unknown-function", "nope(a)", "Invalid function name; function: nope"),
    _bad(
        "function-case",
        "Attribute_Exists(a)",
        "Invalid function name; function: Attribute_Exists",
    ),
    _bad(
        "unknown-function-before-misused",
        "contains(nope(a), :b)",
        "Invalid function name; function: nope",
    ),
    Refused(
        name="update-function",
        expression="if_not_exists(a, :a) = :a",
        text="The function is not allowed in a condition expression; function: if_not_exists",
        values={":a": _S},
        source=f"{ALTERNATOR}::test_update_condition_other_funcs",
    ),
    Refused(
        name="order-of-list",
        expression="a < :a",
        text="Incorrect operand type for operator or function; operator or function: <, "
        "operand type: L",
        values={":a": {"L": []}},
        source=f"{ALTERNATOR}::test_update_condition_lt; {COMPARISON}",
    ),
    Refused(
        name="order-of-boolean",
        expression=":a >= a",
        text="Incorrect operand type for operator or function; operator or function: >=, "
        "operand type: BOOL",
        values={":a": {"BOOL": True}},
        source=f"{ALTERNATOR}::test_update_condition_ge; {COMPARISON}",
    ),
    _bad("size-alone", "size(a)", f"{_MISUSED}size"),
    _bad("not-size", "not size(a)", f"{_MISUSED}size"),
    _bad("or-size", "a = :a or size(a)", f"{_MISUSED}size", a=_S),
    _bad("compared-function", "attribute_exists(a) = :a", f"{_MISUSED}attribute_exists", a=_S),
    _bad("nested-function", "contains(a, begins_with(b, :a))", f"{_MISUSED}begins_with", a=_S),
    _bad("misused-before-reserved", "size(abort)", f"{_MISUSED}size"),
    _bad(
        "exists-operands",
        "attribute_exists(a, b)",
        f"{_COUNT}attribute_exists, number of operands: 2",
    ),
    _bad(
        "not-exists-operands",
        "attribute_not_exists(a, b)",
        f"{_COUNT}attribute_not_exists, number of operands: 2",
    ),
    _bad("type-operands", "attribute_type(a)", f"{_COUNT}attribute_type, number of operands: 1"),
    _bad("begins-operands", "begins_with(a)", f"{_COUNT}begins_with, number of operands: 1"),
    _bad("contains-operands", "contains(a)", f"{_COUNT}contains, number of operands: 1"),
    _bad("contains-three", "contains(a, :a, :a)", f"{_COUNT}contains, number of operands: 3", a=_S),
    _bad("size-operands", "size(a, b) = :a", f"{_COUNT}size, number of operands: 2", a=_N),
    _bad("exists-of-value", "attribute_exists(:a)", f"{_PATH}attribute_exists", a=_S),
    _bad("not-exists-of-value", "attribute_not_exists(:a)", f"{_PATH}attribute_not_exists", a=_S),
    _bad("begins-with-number", "begins_with(a, :a)", f"{_TYPE}begins_with, operand type: N", a=_N),
    _bad(
        "begins-of-list", "begins_with(:a, a)", f"{_TYPE}begins_with, operand type: L", a={"L": []}
    ),
    _bad("size-of-number", "size(:a) = :b", f"{_TYPE}size, operand type: N", a=_N, b=_N),
    _bad(
        "size-of-boolean",
        "size(:a) = :b",
        f"{_TYPE}size, operand type: BOOL",
        a={"BOOL": True},
        b=_N,
    ),
    _bad(
        "size-of-null", "size(:a) = :b", f"{_TYPE}size, operand type: NULL", a={"NULL": True}, b=_N
    ),
    _bad(
        "type-by-number", "attribute_type(a, :a)", f"{_TYPE}attribute_type, operand type: N", a=_N
    ),
    _bad("same-operands", "a = a", f"{_SAME}=, first operand: [a]"),
    _bad("same-operands-unequal", "a <> a", f"{_SAME}<>, first operand: [a]"),
    _bad("same-nested-operands", "a[0].b < a[0].b", f"{_SAME}<, first operand: [a, [0], b]"),
    _bad("same-of-contains", "contains(a, a)", f"{_SAME}contains, first operand: [a]"),
    _bad("same-of-begins", "begins_with(a, a)", f"{_SAME}begins_with, first operand: [a]"),
    _bad(
        "between-types",
        "a between :a and :b",
        f"{_BOUND_TYPES}lower bound operand: AttributeValue: {{S:a}}, upper bound operand: "
        "AttributeValue: {N:1}",
        a=_S,
        b=_N,
    ),
    _bad(
        "between-reversed",
        "a between :a and :b",
        f"{_BOUNDS}bound; lower bound operand: AttributeValue: {{S:b}}, upper bound operand: "
        "AttributeValue: {S:a}",
        a={"S": "b"},
        b=_S,
    ),
    _bad(
        "between-reversed-numbers",
        "a between :a and :b",
        f"{_BOUNDS}bound; lower bound operand: AttributeValue: {{N:10}}, upper bound operand: "
        "AttributeValue: {N:9}",
        a={"N": "10"},
        b={"N": "9"},
    ),
    _bad("token", "a = :a b", f'{_TOKEN}"b", near: ":a b"', a=_S),
    _bad("end", "a =", f'{_TOKEN}"<EOF>", near: "="'),
    _bad("character", "a ! :a", f'{_TOKEN}"!", near: "a ! :a"', a=_S),
    _bad("number-literal", "a = 1", f'{_TOKEN}"1", near: "= 1"'),
    _bad("text-literal", 'a = "b"', f'{_TOKEN}""", near: "= "b"'),
    _bad("open-paren", "(a = :a", f'{_TOKEN}"<EOF>", near: ":a"', a=_S),
    _bad("no-operand", "= :a", f'{_TOKEN}"=", near: "= :a"', a=_S),
    _bad("two-comparisons", "a = :a = :a", f'{_TOKEN}"=", near: ":a = :a"', a=_S),
    _bad("bare-path", "a", f'{_TOKEN}"<EOF>", near: "a"'),
    _bad("bare-value", ":a", f'{_TOKEN}"<EOF>", near: ":a"', a=_S),
)


def _truths(*rows: tuple[str, bool, Mapping[str, Any]]) -> tuple[Truth, ...]:
    return tuple(Truth(expression=e, holds=holds, values=values) for e, holds, values in rows)


_A: Final = ":a"
TRUTHS: Final[tuple[Truth, ...]] = _truths(
    # Comparison of each type with its own, and with another, which is never an order.
    ("s = :a", True, {_A: {"S": "hello"}}),
    ("s = :a", False, {_A: {"S": "Hello"}}),
    (":a = s", True, {_A: {"S": "hello"}}),
    ("s <> :a", True, {_A: {"S": "Hello"}}),
    ("s <> :a", True, {_A: {"N": "5"}}),
    ("s < :a", True, {_A: {"S": "hellp"}}),
    ("s < :a", False, {_A: {"S": "hello"}}),
    ("s <= :a", True, {_A: {"S": "hello"}}),
    ("s > :a", True, {_A: {"S": "hell"}}),
    ("s >= :a", True, {_A: {"S": "hello"}}),
    ("s < :a", False, {_A: {"N": "9"}}),
    ("s > :a", False, {_A: {"N": "1"}}),
    ("e = :a", True, {_A: {"S": ""}}),
    ("n = :a", True, {_A: {"N": "5.00"}}),
    ("n = :a", True, {_A: {"N": "0.5e1"}}),
    ("n = :a", False, {_A: {"S": "5"}}),
    ("n < :a", True, {_A: {"N": "10"}}),
    ("n > :a", False, {_A: {"N": "10"}}),
    ("n >= :a", True, {_A: {"N": "5"}}),
    ("n <= :a", False, {_A: {"N": "4.9999"}}),
    ("n > :a", True, {_A: {"N": "-7"}}),
    ("b = :a", True, {_A: {"B": "AQID"}}),
    ("b < :a", True, {_A: {"B": "/w=="}}),
    ("b > :a", True, {_A: {"B": "AQI="}}),
    ("t = :a", True, {_A: {"BOOL": True}}),
    ("t = :a", False, {_A: {"BOOL": False}}),
    ("t <> :a", True, {_A: {"BOOL": False}}),
    ("z = :a", True, {_A: {"NULL": True}}),
    ("ss = :a", True, {_A: {"SS": ["b", "a"]}}),
    ("ss = :a", False, {_A: {"SS": ["a"]}}),
    ("ss <> :a", True, {_A: {"SS": ["a", "b", "c"]}}),
    ("ns = :a", True, {_A: {"NS": ["2.0", "1"]}}),
    ("bs = :a", True, {_A: {"BS": ["Ag==", "AQ=="]}}),
    ("l = :a", True, {_A: ITEM["l"]}),
    ("l = :a", False, {_A: {"L": [{"N": "1"}, {"S": "x"}, {"M": {"k": {"S": "v"}}}]}}),
    ("m = :a", True, {_A: ITEM["m"]}),
    ("m <> :a", True, {_A: {"M": {}}}),
    # What is absent equals nothing, and differs from everything.
    ("gone = :a", False, {_A: {"S": "a"}}),
    ("gone <> :a", True, {_A: {"S": "a"}}),
    ("gone < :a", False, {_A: {"S": "a"}}),
    ("gone >= :a", False, {_A: {"S": ""}}),
    ("gone = gone2", False, {}),
    ("gone <> gone2", True, {}),
    ("gone < gone2", False, {}),
    ("gone >= gone2", False, {}),
    ("gone between gone2 and gone3", False, {}),
    ("not gone = :a", True, {_A: {"S": "a"}}),
    # Paths.
    ("m.k = :a", True, {_A: {"S": "v"}}),
    ("m.l[0] = :a", True, {_A: {"S": "y"}}),
    ("l[2].k = :a", True, {_A: {"S": "v"}}),
    ("l[1] = :a", True, {_A: {"N": "1"}}),
    ("l[9] = :a", False, {_A: {"N": "1"}}),
    ("m[0] = :a", False, {_A: {"S": "v"}}),
    ("l.k = :a", False, {_A: {"S": "v"}}),
    ("s.k = :a", False, {_A: {"S": "v"}}),
    ("m.k = l[2].k", True, {}),
    ("m.n > n", True, {}),
    # Logic and its precedence: NOT, AND, OR.
    ("s = :a and n = :b", True, {_A: {"S": "hello"}, ":b": {"N": "5"}}),
    ("s = :a and n = :b", False, {_A: {"S": "hello"}, ":b": {"N": "6"}}),
    ("s = :a or n = :b", True, {_A: {"S": "x"}, ":b": {"N": "5"}}),
    ("not s = :a", False, {_A: {"S": "hello"}}),
    ("not (s = :a)", False, {_A: {"S": "hello"}}),
    ("not not s = :a", True, {_A: {"S": "hello"}}),
    ("n = :b or n = :b and s = :c", True, {":b": {"N": "5"}, ":c": {"S": "x"}}),
    ("(n = :b or n = :b) and s = :c", False, {":b": {"N": "5"}, ":c": {"S": "x"}}),
    ("not n = :b or n = :b", True, {":b": {"N": "5"}}),
    ("not (n = :b or s = :c)", False, {":b": {"N": "5"}, ":c": {"S": "x"}}),
    ("s = :a AND NOT n = :b", True, {_A: {"S": "hello"}, ":b": {"N": "6"}}),
    # BETWEEN and IN.
    ("n between :a and :b", True, {_A: {"N": "5"}, ":b": {"N": "5"}}),
    ("n BETWEEN :a AND :b", True, {_A: {"N": "-1"}, ":b": {"N": "10"}}),
    ("n between :a and :b", False, {_A: {"N": "6"}, ":b": {"N": "10"}}),
    ("s between :a and :b", True, {_A: {"S": "a"}, ":b": {"S": "z"}}),
    ("b between :a and :b", True, {_A: {"B": "AA=="}, ":b": {"B": "/w=="}}),
    ("s between :a and :b", False, {_A: {"N": "1"}, ":b": {"N": "9"}}),
    (":a between n and m.n", True, {_A: {"N": "6"}}),
    ("not n between :a and :b", False, {_A: {"N": "1"}, ":b": {"N": "9"}}),
    ("n in (:a)", True, {_A: {"N": "5"}}),
    ("n IN (:a, :b)", True, {_A: {"N": "1"}, ":b": {"N": "5.0"}}),
    ("n in (:a, :b)", False, {_A: {"S": "5"}, ":b": {"N": "6"}}),
    ("gone in (:a)", False, {_A: {"S": "a"}}),
    ("ss in (:a)", True, {_A: {"SS": ["b", "a"]}}),
    (":a in (s, e)", True, {_A: {"S": ""}}),
    # Functions.
    ("attribute_exists(s)", True, {}),
    ("attribute_exists(z)", True, {}),
    ("attribute_exists(gone)", False, {}),
    ("attribute_exists(m.k)", True, {}),
    ("attribute_exists(l[3])", False, {}),
    ("attribute_not_exists(gone)", True, {}),
    ("attribute_not_exists(s)", False, {}),
    ("attribute_not_exists(m.gone)", True, {}),
    ("not attribute_exists(gone)", True, {}),
    ("attribute_type(s, :a)", True, {_A: {"S": "S"}}),
    ("attribute_type(n, :a)", True, {_A: {"S": "N"}}),
    ("attribute_type(b, :a)", True, {_A: {"S": "B"}}),
    ("attribute_type(t, :a)", True, {_A: {"S": "BOOL"}}),
    ("attribute_type(z, :a)", True, {_A: {"S": "NULL"}}),
    ("attribute_type(ss, :a)", True, {_A: {"S": "SS"}}),
    ("attribute_type(ns, :a)", True, {_A: {"S": "NS"}}),
    ("attribute_type(bs, :a)", True, {_A: {"S": "BS"}}),
    ("attribute_type(l, :a)", True, {_A: {"S": "L"}}),
    ("attribute_type(m, :a)", True, {_A: {"S": "M"}}),
    ("attribute_type(s, :a)", False, {_A: {"S": "N"}}),
    ("attribute_type(gone, :a)", False, {_A: {"S": "S"}}),
    ("begins_with(s, :a)", True, {_A: {"S": "hel"}}),
    ("begins_with(s, :a)", True, {_A: {"S": ""}}),
    ("begins_with(s, :a)", False, {_A: {"S": "ell"}}),
    ("begins_with(b, :a)", True, {_A: {"B": "AQI="}}),
    ("begins_with(b, :a)", False, {_A: {"B": "Ag=="}}),
    ("begins_with(s, :a)", False, {_A: {"B": "aGVs"}}),
    ("begins_with(n, :a)", False, {_A: {"S": "5"}}),
    ("begins_with(gone, :a)", False, {_A: {"S": ""}}),
    ("contains(s, :a)", True, {_A: {"S": "ell"}}),
    ("contains(s, :a)", False, {_A: {"S": "elk"}}),
    ("contains(s, :a)", False, {_A: {"N": "5"}}),
    ("contains(b, :a)", True, {_A: {"B": "AgM="}}),
    ("contains(ss, :a)", True, {_A: {"S": "a"}}),
    ("contains(ss, :a)", False, {_A: {"S": "ab"}}),
    ("contains(ns, :a)", True, {_A: {"N": "2"}}),
    ("contains(ns, :a)", False, {_A: {"S": "2"}}),
    ("contains(bs, :a)", True, {_A: {"B": "Ag=="}}),
    ("contains(l, :a)", True, {_A: {"S": "x"}}),
    ("contains(l, :a)", True, {_A: {"N": "1"}}),
    ("contains(l, :a)", True, {_A: {"M": {"k": {"S": "v"}}}}),
    ("contains(l, :a)", False, {_A: {"S": "v"}}),
    ("contains(n, :a)", False, {_A: {"N": "5"}}),
    ("contains(m, :a)", False, {_A: {"S": "k"}}),
    ("contains(gone, :a)", False, {_A: {"S": "k"}}),
    ("contains(:a, s)", True, {_A: {"S": "well, hello there"}}),
    ("size(s) = :a", True, {_A: {"N": "5"}}),
    ("size(e) = :a", True, {_A: {"N": "0"}}),
    ("size(b) = :a", True, {_A: {"N": "3"}}),
    ("size(ss) = :a", True, {_A: {"N": "2"}}),
    ("size(l) > :a", True, {_A: {"N": "2"}}),
    ("size(m) = :a", True, {_A: {"N": "3"}}),
    ("size(n) = :a", False, {_A: {"N": "1"}}),
    ("size(gone) = :a", False, {_A: {"N": "0"}}),
    ("size(t) = :a", False, {_A: {"N": "1"}}),
    ("size(z) = :a", False, {_A: {"N": "1"}}),
    ("size(s) = :a", False, {_A: {"S": "5"}}),
    ("size(s) = size(:a)", True, {_A: {"S": "12345"}}),
    ("size(s) between :a and :b", True, {_A: {"N": "1"}, ":b": {"N": "5"}}),
    ("size(s) in (:a, :b)", True, {_A: {"N": "1"}, ":b": {"N": "5"}}),
    ("size(m.k) = :a", True, {_A: {"N": "1"}}),
)


_NAMES: Final = "ExpressionAttributeNames"
_VALUES: Final = "ExpressionAttributeValues"


def condition_cases(
    request: Mapping[str, Any], member: str, *, absent: str | None = None, is_newer: bool = False
) -> list[Case]:
    """List the conditions that an operation refuses under this member, and their names and values.

    Args:
        request: the rest of the request, which is in order.
        member: ConditionExpression, of a write; or FilterExpression.
        absent: which expressions a read says are null if there are values and none of these.
        is_newer: whether a read has the newer words for values, as a Query has.
    """
    own = request.get(_VALUES, {})
    rows = [*_refused_conditions(member, own), *_refused_substitutions(member, own)]
    if not own:
        rows += _substitutions_alone(member, absent)
    is_write = member == "ConditionExpression"
    if is_write:
        rows = [(name, changes, enveloped(text), source) for name, changes, text, source in rows]
    rows += _refused_values(member, own, is_write=is_write, is_newer=is_newer)
    return [
        Case(
            name=f"condition-{name}",
            request={**request, **changes},
            error=invalid(text),
            source=source,
        )
        for name, changes, text, source in rows
    ]


# name, what changes in the request, the sentence, who says so
_Row = tuple[str, dict[str, Any], str, str]


def _refused_conditions(member: str, own: Mapping[str, Any]) -> list[_Row]:
    return [
        (
            bad.name,
            {member: bad.expression}
            | ({_VALUES: {**own, **bad.values}} if bad.values or own else {})
            | ({_NAMES: bad.names} if bad.names else {}),
            f"Invalid {member}: {bad.text}",
            bad.source,
        )
        for bad in REFUSED
    ]


def _refused_substitutions(member: str, own: Mapping[str, Any]) -> list[_Row]:
    condition = {member: "a = b"}
    return [
        ("names-empty", condition | {_NAMES: {}}, f"{_NAMES} must not be empty", TESTS),
        (
            "name-syntax",
            condition | {_NAMES: {"a": "a"}},
            f'{_NAMES} contains invalid key: Syntax error; key: "a"',
            TESTS,
        ),
        (
            "value-syntax",
            condition | {_VALUES: {"a": _S, **own}},
            f'{_VALUES} contains invalid key: Syntax error; key: "a"',
            TESTS,
        ),
        (
            "name-unused",
            condition | {_NAMES: {"#a": "a"}},
            f"Value provided in {_NAMES} unused in expressions: keys: {{#a}}",
            TESTS,
        ),
        (
            "value-unused",
            condition | {_VALUES: {**own, ":unused": _S}},
            f"Value provided in {_VALUES} unused in expressions: keys: {{:unused}}",
            TESTS,
        ),
    ]


def _refused_values(
    member: str, own: Mapping[str, Any], *, is_write: bool, is_newer: bool
) -> list[_Row]:
    values = WRITTEN_VALUES if is_write else NEWER_VALUES if is_newer else BAD_VALUES
    text, source = "{}", LAYERS
    if values is BAD_VALUES:
        text, source = f"{_VALUES} contains invalid value: {{}} for key :bad", VALIDATIONS
    return [
        (
            f"value-{name}",
            {member: "a = :bad", _VALUES: {":bad": value, **own}},
            text.format(told),
            source,
        )
        for name, (value, told) in values.items()
    ]


def _substitutions_alone(member: str, absent: str | None) -> list[_Row]:
    only = "can only be specified when using expressions"
    which = "" if absent is None else f": {absent}"
    return [
        ("names-alone", {_NAMES: {"#a": "a"}}, f"{_NAMES} {only}", TESTS),
        ("values-alone", {_VALUES: {":a": _S}}, f"{_VALUES} {only}{which}", TESTS),
        (
            "values-empty",
            {member: "a = b", _VALUES: {}},
            f"{_VALUES} must not be empty",
            TESTS,
        ),
    ]
