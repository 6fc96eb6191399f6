"""The parameters that expressions have replaced: comparisons, their truth, and what is refused.

Sentences stand without a member's name, since Expected, the filters and KeyConditions share them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INVALID: Final = "One or more parameter values were invalid: "
ALTERNATOR: Final = "Alternator test/alternator"
EXPECTED: Final = f"{ALTERNATOR}/test_expected.py"
FILTER: Final = f"{ALTERNATOR}/test_query_filter.py"
CONDITIONS: Final = f"{ALTERNATOR}/test_key_conditions.py"
UPDATES: Final = f"{ALTERNATOR}/test_item.py"
LOCAL: Final = "DynamoDB local, LocalDBComparisonOperator, InputConverter"
QUERY: Final = "dynalite test/query.js"
DOC: Final = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Condition.html; "
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ExpectedAttributeValue.html"
)
# Run against both: the service and ExtendDB.
EXTENDDB: Final = "ExtendDB tests/test_conditional_operator.py"
PARITY: Final = "paritysuite/dynamodb-conformance tests/tier3/legacy-api"

WITHOUT: Final = "ConditionalOperator cannot be used without Filter or Expected"
TOO_FEW: Final = (
    "ConditionalOperator can only be used when Filter or Expected has two or more elements"
)
REVERSED: Final = (
    "The BETWEEN condition was provided a range where the lower bound is greater than the upper "
    "bound"
)
DIFFERENT: Final = f"{INVALID}AttributeValues inside AttributeValueList must be of same type"
MISMATCH: Final = "Type mismatch for attribute to update"

# One value of every type.
VALUES: Final[Mapping[str, Any]] = {
    "S": {"S": "a"},
    "N": {"N": "1"},
    "B": {"B": "YQ=="},
    "BOOL": {"BOOL": True},
    "NULL": {"NULL": True},
    "SS": {"SS": ["a"]},
    "NS": {"NS": ["1"]},
    "BS": {"BS": ["YQ=="]},
    "L": {"L": []},
    "M": {"M": {}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison of one attribute of `dynamodb_conditions.ITEM`, and whether it holds."""

    attribute: str
    operator: str
    values: Sequence[Any]
    holds: bool
    source: str

    @property
    def name(self) -> str:
        """Name it, for pytest's ids."""
        shown = ",".join(f"{tag}:{content}" for one in self.values for tag, content in one.items())
        return f"{self.attribute}-{self.operator}-{shown}"

    @property
    def condition(self) -> dict[str, Any]:
        """Spell it as a Condition or ExpectedAttributeValue."""
        return condition(self.operator, *self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedComparison:
    """A comparison that is refused before any item is looked at."""

    name: str
    condition: Mapping[str, Any]
    text: str
    source: str = field(default=QUERY)


def condition(operator: str, *values: Any) -> dict[str, Any]:
    """Spell a condition."""
    given = {"AttributeValueList": list(values)} if values else {}
    return {"ComparisonOperator": operator, **given}


def s(text: str) -> dict[str, Any]:
    """Spell a string."""
    return {"S": text}


def n(number: float) -> dict[str, Any]:
    """Spell a number."""
    return {"N": str(number)}


def b(base64: str) -> dict[str, Any]:
    """Spell a binary."""
    return {"B": base64}


def _compared(
    source: str, holds: bool, *comparisons: tuple[str, str, Sequence[Any]]
) -> list[Comparison]:
    return [
        Comparison(attribute=name, operator=operator, values=values, holds=holds, source=source)
        for name, operator, values in comparisons
    ]


_LIST: Final = {"L": [s("x"), n(1), {"M": {"k": s("v")}}]}
_MAP: Final = {"M": {"k": s("v"), "n": n(7), "l": {"L": [s("y")]}}}
# b is the bytes 1, 2, 3: AQID.

TRUTHS: Final[list[Comparison]] = [
    *_compared(
        f"{EXPECTED}::test_update_expected_1_eq_true; {FILTER}::test_query_filter_eq",
        True,
        ("s", "EQ", [s("hello")]),
        ("n", "EQ", [n(5)]),
        ("n", "EQ", [{"N": "5.0"}]),
        ("b", "EQ", [b("AQID")]),
        ("t", "EQ", [{"BOOL": True}]),
        ("z", "EQ", [{"NULL": True}]),
        ("ss", "EQ", [{"SS": ["b", "a"]}]),
        ("ns", "EQ", [{"NS": ["2", "1"]}]),
        ("bs", "EQ", [{"BS": ["Ag==", "AQ=="]}]),
        ("l", "EQ", [_LIST]),
        ("m", "EQ", [_MAP]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_eq_false; {FILTER}::test_query_filter_r_eq",
        False,
        ("s", "EQ", [s("hell")]),
        ("s", "EQ", [b("aGVsbG8=")]),
        ("n", "EQ", [n(6)]),
        ("n", "EQ", [s("5")]),
        ("t", "EQ", [{"BOOL": False}]),
        ("ss", "EQ", [{"SS": ["a"]}]),
        ("ss", "EQ", [{"SS": ["a", "c"]}]),
        ("l", "EQ", [{"L": []}]),
        ("m", "EQ", [{"M": {}}]),
        ("gone", "EQ", [n(1)]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_ne_true; {FILTER}::test_query_filter_r_ne",
        True,
        ("s", "NE", [s("hell")]),
        ("n", "NE", [n(6)]),
        ("n", "NE", [s("5")]),
        ("ss", "NE", [{"SS": ["a"]}]),
        ("l", "NE", [{"L": []}]),
        ("m", "NE", [{"M": {}}]),
        ("gone", "NE", [n(1)]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_ne_false; {FILTER}::test_query_filter_ne",
        False,
        ("s", "NE", [s("hello")]),
        ("n", "NE", [{"N": "5.0"}]),
        ("ss", "NE", [{"SS": ["b", "a"]}]),
        ("l", "NE", [_LIST]),
        ("m", "NE", [_MAP]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_lt; {FILTER}::test_query_filter_lt",
        True,
        ("s", "LT", [s("help")]),
        ("n", "LT", [n(10)]),
        ("b", "LT", [b("AQIE")]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_lt; {FILTER}::test_query_filter_lt",
        False,
        ("s", "LT", [s("hello")]),
        ("n", "LT", [n(5)]),
        ("n", "LT", [n(-5)]),
        ("b", "LT", [b("AQID")]),
        ("n", "LT", [s("9")]),
        ("ns", "LT", [n(9)]),
        ("gone", "LT", [n(9)]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_le; {FILTER}::test_query_filter_le",
        True,
        ("s", "LE", [s("hello")]),
        ("n", "LE", [n(5)]),
        ("n", "LE", [n(10)]),
        ("b", "LE", [b("AQID")]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_le; {FILTER}::test_query_filter_le",
        False,
        ("s", "LE", [s("hell")]),
        ("n", "LE", [n(4)]),
        ("b", "LE", [b("AQIC")]),
        ("n", "LE", [s("9")]),
        ("gone", "LE", [n(9)]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_gt; {FILTER}::test_query_filter_gt",
        True,
        ("s", "GT", [s("hell")]),
        ("n", "GT", [n(4.5)]),
        ("b", "GT", [b("AQIC")]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_gt; {FILTER}::test_query_filter_gt",
        False,
        ("s", "GT", [s("hello")]),
        ("n", "GT", [n(5)]),
        ("n", "GT", [n(10)]),
        ("b", "GT", [b("AQID")]),
        ("n", "GT", [s("1")]),
        ("gone", "GT", [n(0)]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_ge; {FILTER}::test_query_filter_ge",
        True,
        ("s", "GE", [s("hello")]),
        ("n", "GE", [n(5)]),
        ("b", "GE", [b("AQID")]),
        ("b", "GE", [b("AQ==")]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_ge; {FILTER}::test_query_filter_ge",
        False,
        ("s", "GE", [s("help")]),
        ("n", "GE", [n(10)]),
        ("n", "GE", [s("1")]),
        ("gone", "GE", [n(0)]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_between; {FILTER}::test_query_filter_between",
        True,
        ("n", "BETWEEN", [n(4), n(6)]),
        ("n", "BETWEEN", [n(5), n(10)]),
        ("n", "BETWEEN", [n(-10), n(5)]),
        ("n", "BETWEEN", [n(5), n(5)]),
        ("s", "BETWEEN", [s("a"), s("i")]),
        ("b", "BETWEEN", [b("AQ=="), b("Ag==")]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_between; {FILTER}::test_query_filter_between",
        False,
        ("n", "BETWEEN", [n(6), n(10)]),
        ("n", "BETWEEN", [n(0), n(4)]),
        ("n", "BETWEEN", [s("0"), s("9")]),
        ("s", "BETWEEN", [s("i"), s("j")]),
        ("gone", "BETWEEN", [n(0), n(100)]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_in; {FILTER}::test_query_filter_in",
        True,
        ("n", "IN", [n(2), n(5), n(8)]),
        ("n", "IN", [{"N": "5.00"}]),
        ("s", "IN", [s("a"), s("hello")]),
        ("b", "IN", [b("AQID")]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_in; {FILTER}::test_query_filter_in",
        False,
        ("n", "IN", [n(1), n(2)]),
        ("n", "IN", [s("5")]),
        ("ns", "IN", [n(1)]),
        ("ns", "IN", [n(1), n(2)]),
        ("gone", "IN", [n(1)]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_not_null; {FILTER}::test_query_filter_null",
        True,
        ("n", "NOT_NULL", []),
        ("s", "NOT_NULL", []),
        ("z", "NOT_NULL", []),
        ("l", "NOT_NULL", []),
        ("gone", "NULL", []),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_null; {FILTER}::test_query_filter_null",
        False,
        ("gone", "NOT_NULL", []),
        ("n", "NULL", []),
        ("s", "NULL", []),
        ("z", "NULL", []),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_contains; {FILTER}::test_query_filter_contains_member",
        True,
        ("s", "CONTAINS", [s("ell")]),
        ("ss", "CONTAINS", [s("b")]),
        ("ns", "CONTAINS", [n(2)]),
        ("bs", "CONTAINS", [b("Ag==")]),
        ("l", "CONTAINS", [n(1)]),
        ("l", "CONTAINS", [s("x")]),
        ("b", "CONTAINS", [b("AgM=")]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_contains; "
        f"{FILTER}::test_query_filter_contains_substring",
        False,
        ("s", "CONTAINS", [s("dog")]),
        ("s", "CONTAINS", [n(1)]),
        ("ss", "CONTAINS", [s("c")]),
        ("ns", "CONTAINS", [n(4)]),
        ("l", "CONTAINS", [n(2)]),
        ("b", "CONTAINS", [b("AQM=")]),
        ("n", "CONTAINS", [n(5)]),
        ("gone", "CONTAINS", [n(1)]),
    ),
    *_compared(
        LOCAL, False, ("l", "CONTAINS", [{"BOOL": True}]), ("l", "CONTAINS", [{"NULL": True}])
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_not_contains; "
        f"{FILTER}::test_query_filter_contains_member",
        True,
        ("s", "NOT_CONTAINS", [s("dog")]),
        ("s", "NOT_CONTAINS", [n(1)]),
        ("ss", "NOT_CONTAINS", [s("c")]),
        ("ns", "NOT_CONTAINS", [n(4)]),
        ("l", "NOT_CONTAINS", [n(2)]),
        ("b", "NOT_CONTAINS", [b("AQM=")]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_not_contains; "
        f"{FILTER}::test_query_filter_contains_member",
        False,
        ("s", "NOT_CONTAINS", [s("ell")]),
        ("ss", "NOT_CONTAINS", [s("a")]),
        ("ns", "NOT_CONTAINS", [n(1)]),
        ("l", "NOT_CONTAINS", [n(1)]),
        ("b", "NOT_CONTAINS", [b("AgM=")]),
        ("gone", "NOT_CONTAINS", [n(1)]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_begins_with_true; {FILTER}::test_query_filter_begins",
        True,
        ("s", "BEGINS_WITH", [s("hell")]),
        ("s", "BEGINS_WITH", [s("")]),
        ("b", "BEGINS_WITH", [b("AQI=")]),
    ),
    *_compared(
        f"{EXPECTED}::test_update_expected_1_begins_with_false",
        False,
        ("s", "BEGINS_WITH", [s("dog")]),
        ("s", "BEGINS_WITH", [b("aGVs")]),
        ("n", "BEGINS_WITH", [s("5")]),
        ("ss", "BEGINS_WITH", [s("a")]),
        ("gone", "BEGINS_WITH", [s("a")]),
    ),
]


def _counted(operator: str, *values: Any) -> RefusedComparison:
    return RefusedComparison(
        name=f"{operator}-of-{len(values)}",
        condition=condition(operator, *values),
        text=f"{INVALID}Invalid number of argument(s) for the {operator} ComparisonOperator",
    )


def _typed(operator: str, tag: str, source: str = QUERY, count: int = 1) -> RefusedComparison:
    return RefusedComparison(
        name=f"{operator}-of-{tag}",
        condition=condition(operator, *[VALUES[tag]] * count),
        text=f"{INVALID}ComparisonOperator {operator} is not valid for {tag} AttributeValue type",
        source=source,
    )


_ONE: Final = ("EQ", "NE", "LE", "LT", "GE", "GT", "CONTAINS", "NOT_CONTAINS", "BEGINS_WITH")
_UNSORTED: Final = ("BOOL", "NULL", "SS", "NS", "BS", "M", "L")

COUNTS: Final[list[RefusedComparison]] = [
    *[_counted(operator) for operator in (*_ONE, "IN", "BETWEEN")],
    *[_counted(operator, s("a"), s("a")) for operator in (*_ONE, "NULL", "NOT_NULL")],
    *[_counted(operator, s("a")) for operator in ("NULL", "NOT_NULL", "BETWEEN")],
    _counted("BETWEEN", s("a"), s("a"), s("a")),
]
TYPES: Final[list[RefusedComparison]] = [
    *[_typed(op, tag) for op in ("LT", "LE", "GT", "GE", "IN") for tag in _UNSORTED],
    *[
        _typed(op, tag)
        for op in ("CONTAINS", "NOT_CONTAINS")
        for tag in ("SS", "NS", "BS", "M", "L")
    ],
    *[_typed("BETWEEN", tag, count=2) for tag in _UNSORTED],
    *[_typed("BEGINS_WITH", tag) for tag in ("N", *_UNSORTED)],
]
OTHERS: Final[list[RefusedComparison]] = [
    RefusedComparison(
        name="IN-of-two-types", condition=condition("IN", s("b"), n(1)), text=DIFFERENT
    ),
    RefusedComparison(
        name="BETWEEN-of-two-types",
        condition=condition("BETWEEN", s("a"), n(1)),
        text=DIFFERENT,
        source=f"{FILTER}::test_query_filter_between_different_types; {LOCAL}",
    ),
    RefusedComparison(
        name="BETWEEN-reversed", condition=condition("BETWEEN", s("b"), s("a")), text=REVERSED
    ),
    RefusedComparison(
        name="BETWEEN-reversed-numbers",
        condition=condition("BETWEEN", n(10), n(9)),
        text=REVERSED,
        source=f"{FILTER}::test_query_filter_num_between_reverse; {LOCAL}",
    ),
    RefusedComparison(
        name="BETWEEN-reversed-binaries",
        condition=condition("BETWEEN", b("Ag=="), b("AQ==")),
        text=REVERSED,
        source=f"{EXPECTED}::test_update_expected_1_between; {LOCAL}",
    ),
    RefusedComparison(
        name="count-before-type",
        condition=condition("LT", {"L": []}, {"L": []}),
        text=f"{INVALID}Invalid number of argument(s) for the LT ComparisonOperator",
        source=LOCAL,
    ),
]
