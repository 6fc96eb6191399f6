"""What AWS refuses in a condition that parses, sentence by sentence and in its order."""

from __future__ import annotations

import pytest

from dstore.expressions import Complaint, ExpressionError, ExpressionKind, Expressions, sentence
from dstore.expressions.reserved_words import RESERVED_WORDS, is_reserved
from dstore.model.values import Attribute
from tests.support.expression_requests import filter_said, said

OPERAND = "Incorrect operand type for operator or function; operator or function: "
COUNT = "Incorrect number of operands for operator or function; operator or function: "
MISUSED = "The function is not allowed to be used this way in an expression; function: "
ALL_TYPES: list[Attribute] = [
    {"S": "a"},
    {"N": "1"},
    {"B": "YQ=="},
    {"BOOL": True},
    {"NULL": True},
    {"L": []},
    {"M": {}},
    {"SS": ["1"]},
    {"NS": ["1"]},
    {"BS": ["YQ=="]},
]


def types_but(*tags: str) -> list[Attribute]:
    return [value for value in ALL_TYPES if not value.keys() & set(tags)]


# Source: architect/dynalite, test/scan.js (asked of AWS).
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=a and whatever((:things)) > a", "Invalid function name; function: whatever"),
        ("attRIbute_exIsts((views), #a)", "Invalid function name; function: attRIbute_exIsts"),
        ("a=a and attribute_exists((views), (#a)) > b", MISUSED + "attribute_exists"),
        ("attribute_not_exists(things) > b", MISUSED + "attribute_not_exists"),
        ("attribute_type(things, :a) > b", MISUSED + "attribute_type"),
        ("begins_with(things, a) > b", MISUSED + "begins_with"),
        ("contains(:things, c) > b", MISUSED + "contains"),
        ("size(contains(a, b)) > a", MISUSED + "contains"),
        ("size(things)", MISUSED + "size"),
        ("a between b and attribute_exists(things)", MISUSED + "attribute_exists"),
        ("a in (b, attribute_exists(things))", MISUSED + "attribute_exists"),
        (
            "attribute_exists(views, #a)",
            "Attribute name is a reserved keyword; reserved keyword: views",
        ),
        (":a < abOrT", "Attribute name is a reserved keyword; reserved keyword: abOrT"),
        # Source: scylladb, test/alternator/test_limits.py (AWS's answer).
        ("a < " + "f(" * 1355 + "b" + ")" * 1355, "Invalid function name; function: f"),
        # Source: DynamoDB's answers in the tests of a public emulator (2026).
        ("m.COMMENT = :v", "Attribute name is a reserved keyword; reserved keyword: COMMENT"),
        (
            "if_not_exists(s, :f) = :f",
            "The function is not allowed in a condition expression; function: if_not_exists",
        ),
        (
            "list_append(s, :f)",
            "The function is not allowed in a condition expression; function: list_append",
        ),
        ("not size(a)", MISUSED + "size"),
        ("size(a) and b = c", MISUSED + "size"),
        (
            "remove_ = :v and #x.set_ = :w and b.Name = :u",
            "Attribute name is a reserved keyword; reserved keyword: Name",
        ),
        # Source: floci-io/floci, ProjectionEvaluatorTest (AWS's answers).
        ("a[4294967295] = :v", "List index is not within the allowable range; index: [4294967295]"),
        (
            "a[999999999999999999999] = :v",
            "List index is not within the allowable range; index: [999999999999999999999]",
        ),
    ],
)
def test_the_tree_by_itself(text: str, expected: str) -> None:
    """These come before any name or value is looked up: none is given."""
    assert filter_said(text) == expected


# Source: architect/dynalite, test/scan.js, "missing attribute names" and "values".
@pytest.mark.parametrize(
    ("text", "alias"),
    [
        ("attribute_exists(#Pictures.RearView, :a) and a=a", "#Pictures"),
        ("begins_with(Pictures.#RearView)", "#RearView"),
        ("(#P between :lo and :hi) and (#PC in (:cat1, :cat2))", "#P"),
        ("#4g > a", "#4g"),
        ("#_ > a", "#_"),
        ("(a)between(b.c[45].#d)and(:a)", "#d"),
        ("begins_with(:hello, #a, #b)", ":hello"),
        (":a < :b", ":a"),
        (":_ > a", ":_"),
    ],
)
def test_undefined(text: str, alias: str) -> None:
    """What is not defined is told before the number and the types of operands."""
    what = "name used in the document path" if alias[0] == "#" else "value used in expression"
    kind = "name" if alias[0] == "#" else "value"
    assert filter_said(text) == (
        f"An expression attribute {what} is not defined; attribute {kind}: {alias}"
    )


# Source: architect/dynalite, test/scan.js, "functions with incorrect operands".
@pytest.mark.parametrize(
    ("text", "function", "count"),
    [
        ("attribute_exists(things, a) and a=a", "attribute_exists", 2),
        ("attribute_not_exists(things, b)", "attribute_not_exists", 2),
        ("attribute_type(things)", "attribute_type", 1),
        ("begins_with(things)", "begins_with", 1),
        ("begins_with(things, size(a), b)", "begins_with", 3),
        ("contains(things)", "contains", 1),
        ("size(things, a) > b", "size", 2),
    ],
)
def test_operand_counts(text: str, function: str, count: int) -> None:
    """A function says how many operands it was given."""
    assert filter_said(text) == f"{COUNT}{function}, number of operands: {count}"


# Source: architect/dynalite, test/scan.js, "functions with incorrect operand type";
# ExtendDB/extenddb#216 and paritysuite (queryKeyConditionOperands.test.ts) for the comparisons.
@pytest.mark.parametrize(
    ("text", "operator", "wrong"),
    [
        ("attribute_type(a, :a)", "attribute_type", types_but("S")),
        ("begins_with(a, :a)", "begins_with", types_but("S", "B")),
        ("begins_with(:a, a)", "begins_with", types_but("S", "B")),
        ("size(:a) > a", "size", [{"N": "1"}, {"BOOL": True}, {"NULL": True}]),
        ("a < :a", "<", types_but("S", "N", "B")),
        (":a >= a", ">=", types_but("S", "N", "B")),
        ("a > :a", ">", types_but("S", "N", "B")),
        ("not a <= :a", "<=", types_but("S", "N", "B")),
        ("a between :a and b", "BETWEEN", types_but("S", "N", "B")),
        ("a between b and :a", "BETWEEN", types_but("S", "N", "B")),
        (":a between a and b", "BETWEEN", types_but("S", "N", "B")),
    ],
)
def test_operand_types(text: str, operator: str, wrong: list[Attribute]) -> None:
    """A value of a type that can never do is refused; the types that can, pass."""
    for value in ALL_TYPES:
        [tag] = value
        expected = f"{OPERAND}{operator}, operand type: {tag}" if value in wrong else ""
        if operator == "attribute_type" and not expected:
            continue
        assert filter_said(text, values={":a": value}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Source: architect/dynalite, test/scan.js.
        (
            "attribute_type(a, size(a)) and a=a and a=:s",
            OPERAND + "attribute_type, operand type: N",
        ),
        ("begins_with(a, size(a)) and a=:s", OPERAND + "begins_with, operand type: N"),
        ("size(size(a)) > :s", OPERAND + "size, operand type: N"),
        ("attribute_not_exists(size(:n))", OPERAND + "size, operand type: N"),
        (
            "attribute_not_exists(size(:s))",
            (
                "Operator or function requires a document path; "
                "operator or function: attribute_not_exists"
            ),
        ),
        (
            "attribute_exists(:s) and a=a",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            "attribute_type(:s, :s)",
            "Operator or function requires a document path; operator or function: attribute_type",
        ),
        # Source: DynamoDB's answers in the tests of a public emulator (2026); an older layer of AWS
        # lists the same words in another order.
        (
            "attribute_type(a, b)",
            OPERAND + "attribute_type, operand type: {S,SS,N,NS,B,BS,BOOL,NULL,L,M,HD,DOUBLE,"
            "FLOAT,HDS,FS,DOUBLESET,DICT,DECIMAL,INT,DECIMALSET,INTSET}",
        ),
        (
            "attribute_type(a, :s)",
            (
                "Invalid attribute type name found; type: s, "
                "valid types: {S,SS,N,NS,B,BS,BOOL,NULL,L,M}"
            ),
        ),
    ],
)
def test_function_operands(text: str, expected: str) -> None:
    """The innermost and leftmost trouble is told first."""
    assert filter_said(text, values={":s": {"S": "s"}, ":n": {"N": "1"}}) == expected


# Source: architect/dynalite, test/scan.js, "non-distinct expressions".
@pytest.mark.parametrize(
    ("text", "operator", "path"),
    [
        ("a = a AND #a = b AND :views > a", "=", "[a]"),
        ("#a <> a", "<>", "[a]"),
        ("a > #a", ">", "[a]"),
        ("((a=a) OR (a=a))", "=", "[a]"),
        ("((a=a) AND (a=a))", "=", "[a]"),
        ("contains(ab.bc[1].a, ab.bc[1].#a)", "contains", "[ab, bc, [1], a]"),
        ("attribute_type(ab.bc[1].#a, ab.bc[1].a)", "attribute_type", "[ab, bc, [1], a]"),
        ("begins_with(ab.bc[1].a, ab.bc[1].#a)", "begins_with", "[ab, bc, [1], a]"),
        ("a in (b, #a)", "IN", "[a]"),
        ("a between b and #a", "BETWEEN", "[a]"),
    ],
)
def test_not_distinct(text: str, operator: str, path: str) -> None:
    """AWS takes a comparison of a thing with itself for a mistake."""
    assert filter_said(text, names={"#a": "a"}) == (
        "The first operand must be distinct from the remaining operands for this operator or "
        f"function; operator: {operator}, first operand: {path}"
    )


def test_values_need_not_be_distinct() -> None:
    """`:a > :a` is all right, says dynalite's suite (from AWS)."""
    assert filter_said(":a > :a", values={":a": {"N": "1"}}) == ""


BOUNDS = "lower bound operand: AttributeValue: {low}, upper bound operand: AttributeValue: {high}"


# Source: architect/dynalite, test/query.js; DynamoDB's answers in a public emulator's tests for B.
@pytest.mark.parametrize(
    ("low", "high", "wrong"),
    [
        ({"S": "b"}, {"S": "a"}, "{S:b} {S:a}"),
        ({"N": "5"}, {"N": "4"}, "{N:5} {N:4}"),
        ({"B": "eg=="}, {"B": "YQ=="}, "{B:eg==} {B:YQ==}"),
        ({"N": "9"}, {"N": "10"}, ""),
        ({"N": "5"}, {"N": "5.0"}, ""),
        ({"S": "a"}, {"S": "a"}, ""),
        ({"S": "Z"}, {"S": "a"}, ""),
        ({"S": "\uffff"}, {"S": "\U00010000"}, ""),
        ({"B": "/w=="}, {"B": "AA=="}, "{B:/w==} {B:AA==}"),
    ],
)
def test_bounds_in_order(low: Attribute, high: Attribute, wrong: str) -> None:
    """BETWEEN with constant bounds that nothing can be between is a mistake."""
    answer = filter_said("a between :l and :h", values={":l": low, ":h": high})
    if not wrong:
        assert answer == ""
        return
    first, second = wrong.split()
    assert answer == (
        "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
        + BOUNDS.format(low=first, high=second)
    )


def test_bounds_alike() -> None:
    """Bounds of two types cannot bound anything (dynalite, test/query.js)."""
    assert filter_said("a between :l and :h", values={":l": {"N": "1"}, ":h": {"S": "a"}}) == (
        "The BETWEEN operator requires same data type for lower and upper bounds; "
        + BOUNDS.format(low="{N:1}", high="{S:a}")
    )


# Source: paritysuite/dynamodb-conformance, validation-ordering/queryKeyCondition.test.ts.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pk = :missing AND begins_with(sk, :n)", "value used in expression is not defined"),
        ("begins_with(sk, :n) AND pk = :missing", "operand type: N"),
        ("pk = :n AND begins_with(sk, :n) AND sk = :missing", "operand type: N"),
    ],
)
def test_left_to_right(text: str, expected: str) -> None:
    """Undefined values and wrong types come in the order of the text, not one before the other."""
    answer = said(ExpressionKind.KEY_CONDITION, text, values={":n": {"N": "1"}})
    assert expected in answer


@pytest.mark.parametrize("kind", list(ExpressionKind))
def test_size(kind: ExpressionKind) -> None:
    """4,096 bytes as sent are read, 4,097 are not, whatever they say (paritysuite, scylladb)."""
    too_long = "Expression size has exceeded the maximum allowed size;"
    assert "Syntax error" in said(kind, "(" * 4_096)
    assert said(kind, "(" * 4_097) == too_long
    assert said(kind, "é" * 2_049) == too_long
    assert said(kind, "") == "The expression can not be empty;"
    with pytest.raises(ExpressionError) as refused:
        Expressions().condition(" " * 5_000)
    assert refused.value.what == {"size": 5_000}


# Source: scylladb, test_limits.py and aws/aws-sdk-js#3721 (AWS says 301 however many there are).
@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("a<b " + "or (a<b " * 149 + ")" * 149, True),
        ("a<b " + "or (a<b " * 150 + ")" * 150, False),
        ("a<b " + "or (a<b " * 454 + ")" * 454, False),
        ("not " * 299 + "a<b", True),
        ("not " * 300 + "a<b", False),
        ("not " * 1_000 + "a<b", False),
        ("a<b" + " or a<b" * 149, True),
        ("a<b" + " or a<b" * 150, False),
        ("not(" * 299 + "a<b" + ")" * 299, True),
        ("not(" * 800 + "a<b" + ")" * 800, False),
        ("a < " + "size(" * 680 + "b" + ")" * 680, False),
    ],
)
def test_operators(text: str, allowed: bool) -> None:
    """300 operators and functions are allowed; parentheses are none."""
    expected = "" if allowed else "The expression contains too many operators; operator count: 301"
    assert filter_said(text) == expected


def test_in_options() -> None:
    """IN takes 100 operands (reapit/foundations#8255 quotes AWS)."""
    values: dict[str, Attribute] = {f":{i}": {"N": str(i)} for i in range(101)}
    options = ",".join(list(values)[:100])
    assert filter_said(f"a in ({options})", values=values) == ""
    assert filter_said(f"a in ({options},:100)", values=values) == (
        "The IN operator is provided with too many operands; number of operands: 101"
    )


def test_path_depth() -> None:
    """32 steps pass, 33 do not (scylladb, test_projection_expression.py quotes AWS)."""
    assert filter_said("a" + ".b" * 31 + " = c") == ""
    assert filter_said("a" + ".b" * 32 + " = c") == (
        "The document path has too many nesting levels; nesting levels: 33"
    )
    assert filter_said("a[4294967294] = c") == ""


def test_expression_is_named() -> None:
    """A sentence begins with the parameter that it is about."""
    with pytest.raises(ExpressionError) as refused:
        Expressions().filter("a = :v")
    assert refused.value.expression is ExpressionKind.FILTER
    assert refused.value.complaint is Complaint.VALUE_UNDEFINED
    assert (refused.value.offset, refused.value.token) == (4, ":v")
    assert sentence(refused.value) == (
        "Invalid FilterExpression: An expression attribute value used in expression is not "
        "defined; attribute value: :v"
    )


def test_reserved_words() -> None:
    """AWS lists 573 words, REMOVE not among them (moto's suite says the same)."""
    assert len(RESERVED_WORDS) == 573
    assert is_reserved("Name")
    assert not is_reserved("remove")
    assert not is_reserved("names_")
    for word in RESERVED_WORDS - {"ADD", "AND", "BETWEEN", "DELETE", "IN", "NOT", "OR", "SET"}:
        assert filter_said(f"{word.lower()} = :v").endswith(f"reserved keyword: {word.lower()}")
