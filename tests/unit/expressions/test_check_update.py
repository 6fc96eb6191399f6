"""What AWS refuses in an update or projection that parses, sentence by sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dstore.expressions import ExpressionError, ExpressionKind, Expressions, sentence
from dstore.model.values import Attribute
from tests.support.expression_requests import said, update_said

OPERAND = "Incorrect operand type for operator or function; operator or function: "
MISUSED = "The function is not allowed to be used this way in an expression; function: "
REWRITE = "must remove or rewrite one of these paths; path one: {one}, path two: {two}"
VALUES: dict[str, Attribute] = {
    ":a": {"S": "a"},
    ":b": {"N": "1"},
    ":c": {"B": "YQ=="},
    ":d": {"BOOL": False},
    ":e": {"NULL": True},
    ":f": {"SS": ["a"]},
    ":g": {"NS": ["1"]},
    ":h": {"BS": ["YQ=="]},
    ":i": {"M": {}},
    ":j": {"L": []},
}


# Source: architect/dynalite, test/updateItem.js (asked of AWS), unless it says otherwise.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            " set #c = :c set abOrt = true ",
            "Attribute name is a reserved keyword; reserved keyword: abOrt",
        ),
        (" remove Absolute ", "Attribute name is a reserved keyword; reserved keyword: Absolute"),
        ("set #c = if_not_exist(:c) set c = d", "Invalid function name; function: if_not_exist"),
        (
            "set a = #c set c = :d",
            'The "SET" section can only be used once in an update expression;',
        ),
        (
            "remove #d set a = b remove e",
            'The "REMOVE" section can only be used once in an update expression;',
        ),
        (
            "add #d :e set a = b add e :f",
            'The "ADD" section can only be used once in an update expression;',
        ),
        (
            "delete #d :e set a = b delete #e :f",
            'The "DELETE" section can only be used once in an update expression;',
        ),
        (
            "SET #c = if_not_exists(:c)",
            (
                "An expression attribute name used in the document path "
                "is not defined; attribute name: #c"
            ),
        ),
        (
            "SET #a = if_not_exists(:z)",
            "An expression attribute value used in expression is not defined; attribute value: :z",
        ),
        (
            "set a = if_not_exists(c)",
            (
                "Incorrect number of operands for operator or function; "
                "operator or function: if_not_exists, number of operands: 1"
            ),
        ),
        (
            "set a = list_append(c)",
            (
                "Incorrect number of operands for operator or function; "
                "operator or function: list_append, number of operands: 1"
            ),
        ),
        (
            "set a = if_not_exists(:a, c)",
            "Operator or function requires a document path; operator or function: if_not_exists",
        ),
        (
            "set a = if_not_exists(if_not_exists(a, b), c)",
            "Operator or function requires a document path; operator or function: if_not_exists",
        ),
        # Source: scylladb, test_update_expression.py; DynamoDB's answers in an emulator's tests.
        ("SET a = list_append(list_append(:j, :j), :j)", MISUSED + "list_append"),
        ("SET a = if_not_exists(b, list_append(:j, :j))", MISUSED + "list_append"),
        ("SET a = if_not_exists(b, if_not_exists(c, :b))", ""),
        ("SET a = list_append(if_not_exists(b, :j), :j)", ""),
        ("SET a = f123_hi(b,c,d)", "Invalid function name; function: f123_hi"),
        ("SET a = LIST_APPEND(:j, :j)", "Invalid function name; function: LIST_APPEND"),
        (
            "SET r = contains(s, :a)",
            "The function is not allowed in an update expression; function: contains",
        ),
        ("SET r = size(s)", "The function is not allowed in an update expression; function: size"),
        # Source: a public playground's record: AWS goes from the last action to the first.
        (
            "SET a = :y, b = :z",
            "An expression attribute value used in expression is not defined; attribute value: :z",
        ),
        (
            "SET a = #y, b = :z",
            (
                "An expression attribute name used in the document path is not "
                "defined; attribute name: #y"
            ),
        ),
        (
            "SET a[4294967295] = :a",
            "List index is not within the allowable range; index: [4294967295]",
        ),
        (
            "SET " + ",".join(f"a{i} = b + c" for i in range(301)),
            "The expression contains too many operators; operator count: 301",
        ),
        ("SET " + ",".join(f"a{i}=b+c" for i in range(300)), ""),
        ("REMOVE " + ",".join(f"a{i}" for i in range(700)), ""),
    ],
)
def test_update(text: str, expected: str) -> None:
    """Each complaint in AWS's words, the first of several first."""
    assert update_said(text, names={"#a": "a"}, values=VALUES) == expected


LONG = {
    ":a": "STRING",
    ":b": "NUMBER",
    ":c": "BINARY",
    ":d": "BOOLEAN",
    ":e": "NULL",
    ":i": "MAP",
    ":j": "LIST",
}


@pytest.mark.parametrize("action", ["ADD", "DELETE"])
@pytest.mark.parametrize("alias", list(VALUES))
def test_action_types(action: str, alias: str) -> None:
    """ADD takes a number or a set, DELETE a set; dynalite, and a Dynamoid spec for `typeSet`."""
    wrong = LONG.get(alias)
    expected = (
        "Incorrect operand type for operator or function; "
        f"operator: {action}, operand type: {wrong}, typeSet: ALLOWED_FOR_{action}_OPERAND"
    )
    if wrong is None or (wrong, action) == ("NUMBER", "ADD"):
        expected = ""
    assert update_said(f"{action} a.b {alias}", values=VALUES) == expected


def test_last_action_first() -> None:
    """The ADD at the end is told before the SETs before it (dynalite, updateItem.js)."""
    text = "set b = list_append(:a, a), c = if_not_exists(a) add a.b :a"
    assert update_said(text, values=VALUES).startswith(
        "Incorrect operand type for operator or function; operator: ADD, operand type: STRING"
    )


@pytest.mark.parametrize("alias", list(VALUES))
@pytest.mark.parametrize(
    ("text", "operator", "fits"),
    [
        ("set a = list_append({}, a)", "list_append", "L"),
        ("set a = list_append(a, {})", "list_append", "L"),
        ("set a = a + {}", "+", "N"),
        ("set a = {} + a", "+", "N"),
        ("set a = a - {}", "-", "N"),
        ("set a = {} - if_not_exists(a, :a)", "-", "N"),
    ],
)
def test_operand_types(alias: str, text: str, operator: str, fits: str) -> None:
    """A value that can never do is refused (dynalite, updateItem.js)."""
    [tag] = VALUES[alias]
    expected = "" if tag == fits else f"{OPERAND}{operator}, operand type: {tag}"
    assert update_said(text.format(alias), values=VALUES) == expected


# Source: architect/dynalite, test/updateItem.js, "overlapping paths" (#c is c, #d is [3]).
OVERLAPS = [
    ("set d[1] = a, d.b = a, c[1].a = a, #c = if_not_exists(a)", "[c, [1], a]", "[c]"),
    ("set c.b.#c = a, c = a, #d = a", "[c, b, c]", "[c]"),
    ("set a = b remove a, #c, #d", "[a]", "[a]"),
    ("set #c[3].#d = a, #c[3] = a", "[c, [3], [3]]", "[c, [3]]"),
    ("remove c, #c.a, #d", "[c]", "[c, a]"),
    ("remove a, #c, a, #d", "[a]", "[a]"),
    # Source: DynamoDB's answers in the tests of a public emulator.
    ("SET mapx = :m, mapx.num = :n", "[mapx]", "[mapx, num]"),
    ("SET lst[0] = :v, lst[0].ok = :v", "[lst, [0]]", "[lst, [0], ok]"),
    ("SET #c = :v, c = :v", "[c]", "[c]"),
    ("add a.b :v, a.c :v delete a.b.c :v", "[a, b]", "[a, b, c]"),
]


@pytest.mark.parametrize(("text", "one", "two"), OVERLAPS)
def test_overlaps(text: str, one: str, two: str) -> None:
    """An update writes a place once; names are put in before paths are compared."""
    assert update_said(text, names={"#c": "c", "#d": "[3]"}) == (
        "Two document paths overlap with each other; " + REWRITE.format(one=one, two=two)
    )


# Source: architect/dynalite, test/updateItem.js, "conflicting paths"; scylladb for the last.
@pytest.mark.parametrize(
    ("text", "one", "two"),
    [
        ("set #c[3].#d = a, #c.#d[3] = if_not_exists(a)", "[c, [3], [3]]", "[c, [3], [3]]"),
        ("remove a.#c set a[1] = #d", "[a, c]", "[a, [1]]"),
        ("SET a.b.c = :val1, a.b[2] = :val2", "[a, b, c]", "[a, b, [2]]"),
    ],
)
def test_conflicts(text: str, one: str, two: str) -> None:
    """Nothing is a list and a map at once."""
    assert update_said(text, names={"#c": "c", "#d": "[3]"}) == (
        "Two document paths conflict with each other; " + REWRITE.format(one=one, two=two)
    )


def test_apart() -> None:
    """Neighbours do not overlap (scylladb, test_update_expression_multi_nested)."""
    text = "SET a.b = :a, a.c.d = :a, b.x = :a REMOVE a.x, b.y, l[0], l[1].x, l[2]"
    assert update_said(text, values=VALUES) == ""


# Source: floci-io/floci, ProjectionEvaluatorTest; nubo-db/dynoxide, CHANGELOG (AWS's answers).
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a, a", ("overlap", "[a]", "[a]")),
        ("#a, #b", ("overlap", "[a]", "[a]")),
        ("a, a.b.c", ("overlap", "[a]", "[a, b, c]")),
        ("a.b, a", ("overlap", "[a, b]", "[a]")),
        ("l, l[0]", ("overlap", "[l]", "[l, [0]]")),
        ("a.b, a[0]", ("conflict", "[a, b]", "[a, [0]]")),
        ("a.b, a.c, l[0], l[1]", None),
    ],
)
def test_projection_paths(text: str, expected: tuple[str, str, str] | None) -> None:
    """A projection's paths are apart too."""
    answer = said(ExpressionKind.PROJECTION, text, names={"#a": "a", "#b": "a"})
    if expected is None:
        assert answer == ""
    else:
        what, one, two = expected
        assert answer == (
            f"Two document paths {what} with each other; " + REWRITE.format(one=one, two=two)
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "#undef",
            (
                "An expression attribute name used in the document path is not defined; "
                "attribute name: #undef"
            ),
        ),
        ("a, name", "Attribute name is a reserved keyword; reserved keyword: name"),
        ("#undef, name", "Attribute name is a reserved keyword; reserved keyword: name"),
        ("l[4294967295]", "List index is not within the allowable range; index: [4294967295]"),
        ("l[4294967294]", ""),
        ("a" + ".b" * 32, "The document path has too many nesting levels; nesting levels: 33"),
        ("a" + ".b" * 31, ""),
        ("x" * 4_096, ""),
    ],
)
def test_projection(text: str, expected: str) -> None:
    """Names and depth, as floci's suite and scylladb's have them from AWS."""
    assert said(ExpressionKind.PROJECTION, text) == expected


def test_keys_of_the_table() -> None:
    """Keys are not updated, not entered, and not filtered (dynalite, three suites)."""
    expressions = Expressions(None, {":a": {"N": "1"}})
    update = expressions.update("SET d[1] = :a, x = e.f ADD b.c :a")
    condition = expressions.filter("attribute_exists(a.b.c) and d = e")
    projection = expressions.projection("a[0], c")
    inside = "list random access '[]' and map lookup '.' are not allowed: "
    refusals: list[tuple[Callable[[], None], str]] = [
        (
            lambda: update.check_keys(["a", "b"]),
            (
                "One or more parameter values were invalid: "
                "Cannot update attribute b. This attribute is part of the key"
            ),
        ),
        (
            lambda: update.check_key_paths(keys=["a"], index_keys=["d"]),
            f"Key attributes must be scalars; {inside}IndexKey: d",
        ),
        (
            lambda: update.check_key_paths(keys=["e"]),
            f"Key attributes must be scalars; {inside}Key: e",
        ),
        (
            lambda: condition.check_key_paths(keys=["a"]),
            f"Key attributes must be scalars; {inside}Key: a",
        ),
        (
            lambda: projection.check_key_paths(keys=["a"]),
            f"Key attributes must be scalars; {inside}Key: a",
        ),
        (
            lambda: condition.check_avoids_keys(["pk", "e"]),
            (
                "Filter Expression can only contain "
                "non-primary key attributes: Primary key attribute: e"
            ),
        ),
    ]
    for check, expected in refusals:
        with pytest.raises(ExpressionError) as refused:
            check()
        assert sentence(refused.value) == expected
    update.check_keys(["a", "c"])
    update.check_key_paths(keys=["x"], index_keys=["a"])
    condition.check_key_paths(keys=["d"])
    condition.check_avoids_keys(["b", "c"])


def test_assigned_types() -> None:
    """The check against secondary indexes' keys knows the types that need no item."""
    text = (
        "SET a = :a, b = c + d, e = list_append(f, g), h = if_not_exists(h, :b), i = j, k.l = :a "
        "ADD m :b DELETE n :f REMOVE o"
    )
    update = Expressions(None, VALUES).update(text)
    assert update.assigned_types() == {"a": "S", "b": "N", "e": "L", "h": "N", "m": "N"}
