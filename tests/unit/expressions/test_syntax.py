"""What parses, what does not, and the token and neighbourhood that AWS quotes."""

from __future__ import annotations

import pytest

from dstore.expressions.ast import (
    And,
    Arithmetic,
    Call,
    Compare,
    Field,
    Not,
    Or,
    Path,
    ValueRef,
)
from dstore.expressions.errors import Complaint, ExpressionError
from dstore.expressions.lexer import TokenKind, tokenize
from dstore.expressions.messages import sentence
from dstore.expressions.parser import parse_condition, parse_projection, parse_update


def a(name: str) -> Path:
    return Path((Field(name),))


def equals(left: str, right: str) -> Compare:
    return Compare("=", a(left), a(right))


# Source: the sentences that moto's authors recorded from AWS (tests/test_dynamodb/
# test_dynamodb_expressions.py and test_dynamodb_expression_tokenizer.py).
UPDATE_SYNTAX = [
    ("SET attrName = 3", "3", "= 3"),
    ("SET attrName = 34", "34", "= 34"),
    ("SET MyStr[ 3", "<EOF>", "3"),
    ("SET MyStr[3 )", ")", "3 )"),
    ("SET MyStr[3)", ")", "3)"),
    ("SET 2", "2", "SET 2"),
    ("2", "2", "2"),
    ("SET )", ")", "SET )"),
    ("SET ) 3", ")", "SET ) 3"),
    ("SET MyStr[ 3 ", "<EOF>", "3 "),
    ("SET MyStr = (:_val", "<EOF>", ":_val"),
    ("SET MyStr = (:_val ", "<EOF>", ":_val "),
    ("SET MyStr = [:_val", "[", "= [:_val"),
    ("SET MyStr = [:_val  ", "[", "= [:_val"),
    ("SET MyStr = (:_val + (:val2", "<EOF>", ":val2"),
    ("SET MyStr = ):_val", ")", "= ):_val"),
    ("SET MyStr = ]:_val", "]", "= ]:_val"),
    ("SET MyStr = ):_val + :val2", ")", "= ):_val"),
    ("RESET NonExistent", "RESET", "RESET NonExistent"),
    ("RESET NonExistent value", "RESET", "RESET NonExistent"),
    ("  RESET NonExistent value", "RESET", "  RESET NonExistent"),
    ("RESET", "RESET", "RESET"),
    ("SET a[0].b = 5", "5", "= 5"),
    ("SET a [  2 ]. b = 5", "5", "= 5"),
    ("SET a [2][ 3  ]. b = 5", "5", "= 5"),
    ("SET a . b = 5", "5", "= 5"),
    ("SET a [  [2] ]. b = 5", "[", "[  [2"),
    ("SET a [2 1]. b = 5", "1", "2 1]"),
    ("SET #a a = 5", "a", "#a a ="),
    ("SET #a.a = 5", "5", "= 5"),
    ("SET MyStr = NoExist + + :_val ", "+", "+ + :_val"),
    ("SET MyStr = NoExist + - :_val ", "-", "+ - :_val"),
    ("REMOVE NoExist + ", "+", "NoExist + "),
    ("ADD attr val foobar", "val", "attr val foobar"),
    ("ADD attr :val foobar", "foobar", ":val foobar"),
    ("DELETE attr val", "val", "attr val"),
    ("DELETE attr :val foobar", "foobar", ":val foobar"),
    ("SET path = VALUE 1", "1", "VALUE 1"),
    ("REMOVE if_not_exists(a,b)", "(", "if_not_exists(a"),
    ("SET attrName = _idid", "_", "= _idid"),
    ("|", "|", "|"),
    ("   |", "|", "   |"),
    ("SET|", "|", "SET|"),
    ("SET a|", "|", "a|"),
    # Source: scylladb, test/alternator/test_update_expression.py (from AWS).
    ("SET _123 = :val1", "_", "SET _123"),
    # Source: paritysuite/dynamodb-conformance, tier3/error-messages/updateItem.test.ts (from AWS).
    ("INVALID SYNTAX HERE", "INVALID", "INVALID SYNTAX"),
    # Source: a note on the aws CLI (AWS's answer to `= {"NULL": true}`).
    ('SET NewAttr = {"NULL": true}', "{", '= {"'),
    # AWS's grammar (GRAMMAR.md): keywords are no names, and white space is blank, tab, CR, LF.
    ("SET set = :a", "set", "SET set ="),
    ("SET a = :a,", "<EOF>", ","),
    ("SET a = :a REMOVE", "<EOF>", "REMOVE"),
    ("SET a = b / c", "/", "b / c"),
    ("SET a = (b.c).d + e", ".", ").d"),
    ("SET a = b + c + d", "+", "c + d"),
    ("SET (a = (b + c))", "(", "SET (a"),
    ("SET a = (b + c) + d", "+", ") + d"),
    ("SET a =\f:a", "\f", "=\f:a"),
]


@pytest.mark.parametrize(("text", "token", "near"), UPDATE_SYNTAX)
def test_update_syntax(text: str, token: str, near: str) -> None:
    """A user finds the mistake by the token and its neighbours, which are AWS's to the blank."""
    with pytest.raises(ExpressionError) as refused:
        parse_update(text)
    assert sentence(refused.value) == f'Syntax error; token: "{token}", near: "{near}"'
    offset = refused.value.offset
    assert offset is not None
    assert text[offset:].startswith("" if token == "<EOF>" else token)


# Source: architect/dynalite, test/scan.js and test/query.js, "syntax errors" (all refused by AWS);
# tokens by the rule of the table above.
CONDITION_SYNTAX = [
    ("things are not gonna be ok", "are", "things are not"),
    ("a > 4", "4", "> 4"),
    ("attribute_exists(Pictures-RearView)", "-", "Pictures-RearView"),
    ('attribute_exists("Pictures.RearView")', '"', '("Pictures'),
    ("attribute_exists(Pictures..RearView)", ".", "..RearView"),
    ("attribute_exists(Pi#ctures.RearView)", "#ctures", "Pi#ctures."),
    ("attribute_exists(asdf[a])", "a", "[a]"),
    ("a.:a < b.:b", ":a", ".:a <"),
    ("a in b, c", "b", "in b,"),
    ("a > between", "between", "> between"),
    ("a in b", "b", "in b"),
    ("a in (b,c,)", ")", ",)"),
    ("(a)between(b.(c.d))and(c)", "(", ".(c"),
    ("(a)between(b.c.d)and((c)", "<EOF>", ")"),
    ("#$.b > a", "#", "#$"),
    ("a > :things.stuff", ".", ":things.stuff"),
    ("b[:a] > a", ":a", "[:a]"),
    ("b[#_] > a", "#_", "[#_]"),
    ("ü > a", "ü", "ü >"),
    ("(a)between(b.c[4.5].#d)and(:a)", ".", "4.5"),
    ("size(a).b > a", ".", ").b"),
    ("(size(a)).b > a", ".", ").b"),
    ("size(a)[0] > a", "[", ")[0"),
    ("(size(a))[0] > a", "[", ")[0"),
    ("attribute_type()", ")", "()"),
    ("a", "<EOF>", "a"),
    ("a =", "<EOF>", "="),
    ("a = b or", "<EOF>", "or"),
    ("not a", "<EOF>", "a"),
    ("(a)", "<EOF>", ")"),
    ("(a = b", "<EOF>", "b"),
    ("a = b)", ")", "b)"),
    ("((a = b) c = d)", "c", ") c ="),
    (":a", "<EOF>", ":a"),
    ("a = b = c", "=", "b = c"),
    ("a between b", "<EOF>", "b"),
    ("a == b", "=", "== b"),
    ("a != b", "!", "a !="),
    ("set = :a", "set", "set ="),
    ("(" * 4096, "<EOF>", "("),
    ("()", ")", "()"),
    ("a.b[01] = :a", "1", "01]"),
    ("(a. = b)", "=", ". = b"),
    ("(a[0 = b)", "=", "0 = b"),
    ("(f(a = b)", "=", "a = b"),
]


@pytest.mark.parametrize(("text", "token", "near"), CONDITION_SYNTAX)
def test_condition_syntax(text: str, token: str, near: str) -> None:
    """The same rule quotes the trouble in conditions, filters and key conditions."""
    with pytest.raises(ExpressionError) as refused:
        parse_condition(text)
    assert sentence(refused.value) == f'Syntax error; token: "{token}", near: "{near}"'


# Source: floci-io/floci, ProjectionEvaluatorTest (AWS's answers).
PROJECTION_SYNTAX = [
    ("l[a]", "a", "[a]"),
    ("l[]", "]", "[]"),
    ("l[１２３]", "１", "[１２"),
    ("l[001]", "0", "001"),
    ("l[0000000000001]", "0", "000"),
    ("a b", "b", "a b"),
    ("a,", "<EOF>", ","),
    ("!!", "!", "!!"),
    ("a = b", "=", "a = b"),
    (":a", ":a", ":a"),
]


@pytest.mark.parametrize(("text", "token", "near"), PROJECTION_SYNTAX)
def test_projection_syntax(text: str, token: str, near: str) -> None:
    """An index is ASCII digits without a leading zero: 0, 0, 1 are three tokens."""
    with pytest.raises(ExpressionError) as refused:
        parse_projection(text)
    assert sentence(refused.value) == f'Syntax error; token: "{token}", near: "{near}"'


# Source: architect/dynalite, test/scan.js, "redundant parentheses"; paritysuite and scylladb's
# test_limits.py for 2,046 of them.
REDUNDANT = [
    "a=a and a > ((views))",
    "(a)between(((b.c)).d)and(c)",
    "a > whatever((:things), ((a)))",
    "a=a AND ((a=a AND a=a)) AND a=a",
    "a=a OR ((a=a OR a=a)) OR a=a",
    "a=a AND ((a=a AND (a=a AND a=a)))",
    "a=a OR ((a=a OR (a=a OR a=a)))",
    "((#name = :value))",
    "((#name)) = :value",
    "((attribute_exists(a)))",
    "a in (((b)), c)",
    "((not a = b))",
    "not ((a = b))",
    "((size(a))) > :a",
    "((a = b)) garbage here",
    "(" * 2046 + "a<b" + ")" * 2046,
]


@pytest.mark.parametrize("text", REDUNDANT)
def test_redundant_parentheses(text: str) -> None:
    """AWS refuses what says nothing, and says so before it reads on."""
    with pytest.raises(ExpressionError) as refused:
        parse_condition(text)
    assert refused.value.complaint is Complaint.REDUNDANT_PARENTHESES


@pytest.mark.parametrize("value", ["((b))", "((b + c))", "(((b)) + c)", "b + ((c))", "f(((b)), c)"])
def test_redundant_parentheses_in_updates(value: str) -> None:
    """The same in a SET's value, by AWS's grammar."""
    with pytest.raises(ExpressionError) as refused:
        parse_update(f"SET a = {value}")
    assert refused.value.complaint is Complaint.REDUNDANT_PARENTHESES


CONDITIONS = [
    ("a = b", equals("a", "b")),
    ("((a) = (b))", equals("a", "b")),
    ("(a = b)", equals("a", "b")),
    ("a = b AND c = d OR e = f", Or((And((equals("a", "b"), equals("c", "d"))), equals("e", "f")))),
    ("a = b or c = d and e = f", Or((equals("a", "b"), And((equals("c", "d"), equals("e", "f")))))),
    (
        "(a = b or c = d) and e = f",
        And((Or((equals("a", "b"), equals("c", "d"))), equals("e", "f"))),
    ),
    ("NOT a = b AND c = d", And((Not(equals("a", "b")), equals("c", "d")))),
    ("NOT (a = b AND c = d)", Not(And((equals("a", "b"), equals("c", "d"))))),
    ("nOt NOT a = b", Not(Not(equals("a", "b")))),
    ("a = b and c = d and e = f", And((equals("a", "b"), equals("c", "d"), equals("e", "f")))),
    (
        "a = b and (c = d and e = f)",
        And((equals("a", "b"), And((equals("c", "d"), equals("e", "f"))))),
    ),
    ("(size(a)) > :b", Compare(">", Call("size", (a("a"),)), ValueRef(":b"))),
    ("((size(a)) > :b)", Compare(">", Call("size", (a("a"),)), ValueRef(":b"))),
    ("(f(a))", Call("f", (a("a"),))),
    ("((f(a)) and a = b)", And((Call("f", (a("a"),)), equals("a", "b")))),
    ("((f(a)) = b)", Compare("=", Call("f", (a("a"),)), a("b"))),
]


@pytest.mark.parametrize(("text", "tree"), CONDITIONS)
def test_condition_trees(text: str, tree: object) -> None:
    """NOT binds before AND, AND before OR, and parentheses leave nothing but their shape."""
    assert tree == parse_condition(text)


@pytest.mark.parametrize(
    "text",
    [
        "a in (b)",
        "a IN(b,c , d)",
        "a between b and c and d between e and f",
        "a\tbetween\nb\rand c",
        "a.b[0][1].c = :v and #a.#b[2] <> d",
        "f(f(f(a, b), c), d)",
        "(a)between(b.c.d)and(c)",
        "a<b or (a<b or (a<b))",
        "a between (b) and (c)",
        "in_ = not_a and and1 = or_",
        "a<>b",
        "a<=b and c>=d and e<f and g>h",
    ],
)
def test_condition_parses(text: str) -> None:
    """Blanks are free, words that begin like keywords are words, and everything nests."""
    parse_condition(text)


UPDATE_VALUES = [
    ("b", a("b")),
    ("(b)", a("b")),
    ("b + c", Arithmetic("+", a("b"), a("c"))),
    ("(b + c)", Arithmetic("+", a("b"), a("c"))),
    ("(b) - (c)", Arithmetic("-", a("b"), a("c"))),
    ("((b) - (c))", Arithmetic("-", a("b"), a("c"))),
    ("f(b)+:c", Arithmetic("+", Call("f", (a("b"),)), ValueRef(":c"))),
]


@pytest.mark.parametrize(("text", "value"), UPDATE_VALUES)
def test_update_values(text: str, value: object) -> None:
    """A sum has exactly two operands, and one pair of parentheses may stand anywhere."""
    [section] = parse_update(f"set a = {text}").sections
    assert value == section.actions[0].value


def test_update_sections() -> None:
    """Sections follow each other without commas, in any order and case."""
    tree = parse_update("remove a, b[0] SET c.d = :e aDd f :g DELETE h :i")
    kinds = [(section.kind.value, len(section.actions)) for section in tree.sections]
    assert kinds == [("REMOVE", 2), ("SET", 1), ("ADD", 1), ("DELETE", 1)]


def test_deep_nests_are_read() -> None:
    """1,355 calls in each other fit into 4,096 bytes; Python's stack would not hold them."""
    tree = parse_condition("a < " + "f(" * 1355 + "b" + ")" * 1355)
    assert isinstance(tree, Compare)
    parse_condition("not " * 1000 + "a<b")
    parse_condition("not(" * 800 + "a<b" + ")" * 800)
    parse_condition("a<b " + "or (a<b " * 454 + ")" * 454)


def test_tokens() -> None:
    """A word that is a keyword is one in any case; the end is a token."""
    kinds = [token.kind for token in tokenize("aNd #a:b 10 <>=")]
    assert kinds == [
        TokenKind.AND,
        TokenKind.NAME,
        TokenKind.VALUE,
        TokenKind.INDEX,
        TokenKind.NE,
        TokenKind.EQ,
        TokenKind.END,
    ]
