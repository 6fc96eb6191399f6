"""What a condition says about an item."""

from __future__ import annotations

import pytest

from dstore.expressions import Condition, Expressions
from dstore.model.values import Attribute, Item

ITEM: Item = {
    "one": {"N": "1"},
    "ten": {"N": "10"},
    "nine": {"N": "9"},
    "neg": {"N": "-2.50"},
    "big": {"N": "99999999999999999999999999999999999999"},
    "same": {"N": "10.0"},
    "cat": {"S": "cat"},
    "blank": {"S": ""},
    "dog": {"S": "dog"},
    "uni": {"S": "é😀"},
    "bin": {"B": "Y2F0"},
    "yes": {"BOOL": True},
    "nope": {"BOOL": False},
    "nil": {"NULL": True},
    "ss": {"SS": ["b", "a"]},
    "ss2": {"SS": ["a", "b"]},
    "ns": {"NS": ["1", "2.0"]},
    "ns2": {"NS": ["2", "1"]},
    "bs": {"BS": ["Y2F0", "ZG9n"]},
    "li": {"L": [{"N": "1"}, {"S": "x"}, {"M": {"y": {"L": [{"S": "deep"}]}}}]},
    "li2": {"L": [{"N": "1.0"}, {"S": "x"}, {"M": {"y": {"L": [{"S": "deep"}]}}}]},
    "ma": {"M": {"a": {"N": "1"}, "b": {"S": "x"}}},
    "ma2": {"M": {"b": {"S": "x"}, "a": {"N": "1.00"}}},
    "dot.ted": {"S": "flat"},
}
VALUES: dict[str, Attribute] = {
    ":one": {"N": "1"},
    ":two": {"N": "2"},
    ":ten": {"N": "10"},
    ":cat": {"S": "cat"},
    ":ca": {"S": "ca"},
    ":at": {"S": "at"},
    ":e": {"S": ""},
    ":x": {"S": "x"},
    ":bcat": {"B": "Y2F0"},
    ":bca": {"B": "Y2E="},
    ":bat": {"B": "YXQ="},
    ":true": {"BOOL": True},
    ":null": {"NULL": True},
    ":ssab": {"SS": ["a", "b"]},
    ":li": {"L": [{"N": "1"}]},
    ":ma": {"M": {"y": {"L": [{"S": "deep"}]}}},
    ":S": {"S": "S"},
    ":N": {"S": "N"},
    ":L": {"S": "L"},
    ":M": {"S": "M"},
    ":NULL": {"S": "NULL"},
    ":SS": {"S": "SS"},
}


def condition(text: str) -> Condition:
    return Expressions({"#d": "dot.ted"}, VALUES).condition(text)


# Semantics: DynamoDB developer guide, "Comparison operator and function reference"; scylladb,
# test/alternator/test_condition_expression.py, which is run against AWS.
TRUE = [
    # equality of every type
    "one = :one", "same = ten", "cat = :cat", "bin = :bcat", "yes = :true", "nil = :null",
    "ss = ss2", "ss = :ssab", "ns = ns2", "li = li2", "ma = ma2", "one <> ten", "cat <> dog",
    "yes <> nope", "ss <> ns", "li <> ma", "one <> :cat", "cat <> bin", "bs <> ss",
    # order
    "nine < ten", "ten <= same", "same >= ten", "neg < one", "big > ten", "cat < dog",
    "blank < cat", "bin <= :bcat", "dog > :cat", "one >= :one", "neg <= neg2 or neg < one",
    # what is not there
    "gone <> one", "gone <> gone2", "not gone = gone2", "not gone < one", "not gone in (one)",
    "attribute_not_exists(gone)", "not attribute_exists(gone)", "attribute_not_exists(one.a)",
    "attribute_not_exists(li[9])", "attribute_not_exists(ma[0])", "attribute_not_exists(li.a)",
    "not gone between :one and :two", "not begins_with(gone, :ca)", "not contains(gone, :ca)",
    "size(gone) <> :one", "not size(gone) >= :one", "attribute_not_exists(ma.a.b.c)",
    # paths
    "ma.a = :one", "li[0] = one", "li[2].y[0] = li2[2].y[0]", "attribute_exists(li[2].y)",
    "#d <> :cat", "attribute_exists(#d)", "attribute_not_exists(dot.ted)", "ma = ma2 and li = li2",
    # between and in
    "one between :one and :two", "nine between :one and :ten", "cat between :ca and dog",
    "bin between :bca and :bcat", "not cat between :one and :ten",
    "not one between :two and gone",
    ":one between neg and ten", "one in (:two, gone, :one)", "ss in (one, ss2)",
    "not one in (:cat)",
    # functions
    "begins_with(cat, :ca)", "begins_with(cat, :cat)", "begins_with(bin, :bca)",
    "begins_with(cat, :e)", "not begins_with(bin, :ca)", "not begins_with(ten, :one2)",
    "not begins_with(cat, :at)", "begins_with(:cat, blank)",
    "contains(cat, :at)", "contains(ss, :x2)", "contains(ss, li2[9]) or contains(ns, :two)",
    "contains(ns, one)", "contains(bs, :bcat)", "contains(bin, :bat)", "contains(li, :one)",
    "contains(li, :x)", "contains(li, :ma)", "not contains(li, :cat)", "not contains(ma, :x)",
    "not contains(one, :one)", "not contains(ns, :cat)", "not contains(ss, :one)",
    "not contains(cat, :one)", "contains(cat, :e)", "not contains(bin, :ca)",
    "not contains(yes, yes2)",
    "attribute_type(cat, :S)", "attribute_type(one, :N)", "attribute_type(li, :L)",
    "attribute_type(ma, :M)", "attribute_type(nil, :NULL)", "attribute_type(ss, :SS)",
    "not attribute_type(cat, :N)", "not attribute_type(gone, :S)", "attribute_type(ma.b, :S)",
    # size
    "size(cat) > :two", "size(blank) < :one", "size(uni) > :two", "size(bin) > size(ss)",
    "size(ss) = :two", "size(ns) = :two", "size(bs) = :two", "size(li) > :two", "size(ma) = :two",
    "not size(one) = :one", "not size(yes) = :one", "not size(nil) = :one",
    "size(:cat) = size(cat2) or size(:cat) = size(bin)",
    # logic
    "one = :one and cat = :cat or gone = :one", "gone = :one or one = :one and cat = :cat",
    "not one = :two and not (cat = dog or cat = :x)", "not not one = :one",
    "(one = :two or one = :one) and (cat = :cat)",
]  # fmt: skip

EXTRA: Item = {"neg2": {"N": "-3"}, "yes2": {"BOOL": True}, "cat2": {"S": "dog"}}


@pytest.mark.parametrize("text", TRUE)
def test_holds(text: str) -> None:
    """Each of these is true of the item above, and its denial is false."""
    values = VALUES | {":one2": {"S": "1"}, ":x2": {"S": "b"}}
    item = ITEM | EXTRA
    expressions = Expressions({"#d": "dot.ted"}, values)
    assert expressions.condition(text).holds(item)
    assert not expressions.filter(f"not ({text})").holds(item)


FALSE = [
    "one = :two", "one = :cat", "gone = :one", "gone = gone2", "one <> :one", "same <> ten",
    "ten < nine", "one < :cat", "cat < :one", "gone < one", "one < gone",
    "yes < nope or yes > nope",
    "li < li2", "ss <= ss2", "nil >= nil2", "ma > ma2", "bin < :ca", "one in (gone, :two)",
    "gone in (gone2)", "one between :two and :ten", "attribute_exists(gone)",
    "attribute_not_exists(one)", "attribute_exists(ma.c)", "size(one) >= :one", "size(gone) = :one",
    "one = :one and one = :two", "not (one = :one or one = :two)", "ss = ns", "li = ma",
    "begins_with(one, cat)", "contains(one, one.a)",
]  # fmt: skip


@pytest.mark.parametrize("text", FALSE)
def test_does_not_hold(text: str) -> None:
    """Each of these is false of the item; whatever does not fit is false, never an error."""
    assert not condition(text).holds(ITEM)


ONE_OF_EACH: list[Attribute] = [
    {"N": "1"}, {"S": "1"}, {"B": "MQ=="}, {"BOOL": True}, {"NULL": True}, {"SS": ["1"]},
    {"NS": ["1"]}, {"BS": ["MQ=="]}, {"L": [{"N": "1"}]}, {"M": {"1": {"N": "1"}}},
]  # fmt: skip


@pytest.mark.parametrize("one", ONE_OF_EACH)
@pytest.mark.parametrize("other", ONE_OF_EACH)
def test_types_do_not_mix(one: Attribute, other: Attribute) -> None:
    """Values of two types are never equal and in no order (scylladb, ..._eq_different)."""
    expressions = Expressions(None, {":v": other})
    item = {"a": one, "b": other}
    assert expressions.condition("a = :v").holds(item) is (one == other)
    assert expressions.condition("a <> :v").holds(item) is (one != other)
    ordered = one == other and not one.keys() & {"BOOL", "NULL", "SS", "NS", "BS", "L", "M"}
    assert expressions.condition("a <= b and a >= b").holds(item) is ordered
    assert not expressions.condition("a < b or a > b").holds(item)


def test_numbers_to_38_digits() -> None:
    """No digit is lost: floats would call these equal."""
    item = {"a": {"N": "9" * 38}, "b": {"N": "9" * 37 + "8"}, "c": {"N": "1E-130"}}
    expressions = Expressions(None, {":z": {"N": "0"}, ":t": {"N": "0.1E-129"}})
    assert expressions.condition("a > b and a <> b and c > :z and c = :t").holds(item)


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 0), ("abc", 3), ("é", 1), ("日本", 2), ("😀", 2), ("a😀b", 4)],
)
def test_size_counts_as_java_does(text: str, size: int) -> None:
    """A character beyond the BMP counts twice (paritysuite/dynamodb-conformance#17)."""
    expressions = Expressions(None, {":n": {"N": str(size)}})
    assert expressions.condition("size(a) = :n").holds({"a": {"S": text}})


def test_no_item() -> None:
    """A condition on an item that is not there sees no attributes."""
    assert condition("attribute_not_exists(id)").holds(None)
    assert not condition("attribute_exists(id) or id = :one").holds(None)


def test_order_of_strings_is_that_of_their_bytes() -> None:
    """UTF-8, not UTF-16: U+FFFF comes before U+10000."""
    assert condition("a < b").holds({"a": {"S": "\uffff"}, "b": {"S": "\U00010000"}})


@pytest.mark.parametrize(
    ("member", "sought", "is_inside"),
    [
        ("2.0", "2", True),
        ("100", "1E+2", True),
        ("-0", "0", True),
        ("0.1", "0.1000000000000000000000000000000000001", False),  # the same as floats
        ("1E-130", "0", False),
        ("9.9E+125", "99" + "0" * 124, True),
    ],
)
def test_numbers_inside_are_found_by_value(member: str, sought: str, is_inside: bool) -> None:
    """To all 38 digits and whatever the spelling, in a list, in a set and by themselves."""
    item: Item = {"li": {"L": [{"N": member}]}, "ns": {"NS": ["7", member]}, "n": {"N": member}}
    for text in ("contains(li, :n)", "contains(ns, :n)", "n = :n", "n in (:n)", "li = :l"):
        values: Item = {":n": {"N": sought}, ":l": {"L": [{"N": sought}]}}
        used = {name: value for name, value in values.items() if name in text}
        assert Expressions(None, used).condition(text).holds(item) is is_inside, text
