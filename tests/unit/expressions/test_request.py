"""The maps of names and values, what is left unused, the sentences, and the cache."""

from __future__ import annotations

import pytest

from dstore.expressions import Complaint, ExpressionError, ExpressionKind, Expressions, sentence
from dstore.expressions.cache import ParsedCache
from dstore.expressions.messages import _SENTENCES
from dstore.model.errors import RefusalKind
from dstore.model.values import Attribute

NAMES = "ExpressionAttributeNames "
VALUES = "ExpressionAttributeValues "
TOO_LONG = "contains invalid key: The expression attribute map contains a key that is too long;"


# Source: ExtendDB/extenddb, its suite on expression attribute entries, and dynalite (from AWS).
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, NAMES + "must not be empty"),
        ({"a": "a"}, NAMES + 'contains invalid key: Syntax error; key: "a"'),
        ({"#": "foo"}, NAMES + 'contains invalid key: Syntax error; key: "#"'),
        ({"#a-b": "foo"}, NAMES + 'contains invalid key: Syntax error; key: "#a-b"'),
        ({"#va#l2": "foo"}, NAMES + 'contains invalid key: Syntax error; key: "#va#l2"'),
        ({"#" + "a" * 255: "foo"}, NAMES + TOO_LONG + " size of key: 256"),
        ({"#" + "a" * 255 + "-x": "foo"}, NAMES + TOO_LONG + " size of key: 258"),
        ({"#" + "é" * 128: "foo"}, NAMES + TOO_LONG + " size of key: 257"),
        ({"#a": ""}, NAMES + "contains invalid value: Empty attribute name for key #a"),
        ({"#a\n": "x"}, NAMES + 'contains invalid key: Syntax error; key: "#a\n"'),
        ({"#a_1": "foo", "#1": "x", "#_": "y", "#" + "a" * 254: "z"}, ""),
    ],
)
def test_names(names: dict[str, str], expected: str) -> None:
    """A map of names is checked before any expression is read, a key's length before its form."""
    assert _maps_said(names, None) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, VALUES + "must not be empty"),
        ({"b": {"S": "a"}}, VALUES + 'contains invalid key: Syntax error; key: "b"'),
        ({":": {"S": "x"}}, VALUES + 'contains invalid key: Syntax error; key: ":"'),
        ({":a-b": {"S": "x"}}, VALUES + 'contains invalid key: Syntax error; key: ":a-b"'),
        ({":" + "a" * 255: {"S": "x"}}, VALUES + TOO_LONG),
        ({":a_1": {"S": ""}, ":" + "a" * 254: {"N": "1"}}, ""),
    ],
)
def test_values(values: dict[str, Attribute], expected: str) -> None:
    """The same for values, whose sentence leaves the size out."""
    assert _maps_said(None, values) == expected


def _maps_said(names: dict[str, str] | None, values: dict[str, Attribute] | None) -> str:
    try:
        Expressions(names, values)
    except ExpressionError as error:
        return sentence(error)
    return ""


def test_substitutions_together() -> None:
    """All names and values together hold 2 MB (DynamoDB developer guide, "Constraints")."""
    mib = 1_024 * 1_024
    fits: dict[str, Attribute] = {":a": {"S": "x" * mib}, ":b": {"S": "x" * (mib - 4)}}
    Expressions(None, fits)
    with pytest.raises(ExpressionError) as refused:
        Expressions({"#a": "x"}, fits)
    assert refused.value.complaint is Complaint.SUBSTITUTIONS_TOO_LARGE
    lists: dict[str, Attribute] = {":a": {"L": [{"B": "YWFh"}] * 600_000}}
    with pytest.raises(ExpressionError):
        Expressions(None, lists)


# Source: architect/dynalite, test/updateItem.js: names before values, over all expressions.
def test_unused() -> None:
    """What no expression of the request uses is a mistake; names are told before values."""
    names = {"#a": "a", "#b": "b"}
    values: dict[str, Attribute] = {":a": {"L": []}, ":b": {"S": "a"}, ":c": {"S": "a"}}
    expressions = Expressions(names, values)
    update = "remove a set b = list_append(b, if_not_exists(d, :a))"
    expressions.update(update)
    expressions.condition("a = :b")
    assert _finish_said(expressions) == (
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a, #b}"
    )
    expressions.projection("#a, #b")
    assert _finish_said(expressions) == (
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:c}"
    )
    expressions.filter("c = :c")
    assert _finish_said(expressions) == ""


def test_unused_order() -> None:
    """Several come as a Java hash set has them: by hash, not by the request's order."""
    # "#zz" hashes to 37539, "#a" to 1182, "#b" to 1183: buckets 3, 14 and 15 of 16.
    assert _finish_said(Expressions({"#b": "b", "#a": "a", "#zz": "d"})) == (
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#zz, #a, #b}"
    )
    many = {f"#n{i}": "x" for i in range(40)}
    assert _finish_said(Expressions(many)).count("#") == 40


def _finish_said(expressions: Expressions) -> str:
    try:
        expressions.finish()
    except ExpressionError as error:
        return sentence(error)
    return ""


def test_every_complaint_has_a_sentence() -> None:
    """A complaint without words would be a 500."""
    assert set(_SENTENCES) == set(Complaint)


def test_an_error_is_a_refusal() -> None:
    """What is no DynamoDB door answers it as an invalid request, and learns no values."""
    with pytest.raises(ExpressionError) as refused:
        Expressions().condition("a = :secret")
    assert refused.value.kind is RefusalKind.INVALID
    assert refused.value.message == "The expression is refused: value_undefined."


@pytest.mark.parametrize("text", ["{token}", "{0.__class__}", "%s", "{", "\x00", "a" * 4_000])
def test_sentences_quote_verbatim(text: str) -> None:
    """A text is quoted, never interpreted."""
    for kind, read in [
        (ExpressionKind.FILTER, Expressions().filter),
        (ExpressionKind.UPDATE, Expressions().update),
    ]:
        with pytest.raises(ExpressionError) as refused:
            read(text)
        assert sentence(refused.value).startswith(f"Invalid {kind}: ")
        assert text[:1] in sentence(refused.value)


def test_cache_parses_once() -> None:
    """The same text of the same kind is parsed once while it is in use; others are dropped."""
    parsed: list[str] = []

    def parse(_kind: ExpressionKind, text: str) -> str:
        parsed.append(text)
        return text.upper()

    cache = ParsedCache[str](entries_max=2, chars_max=100)
    kind = ExpressionKind.FILTER
    for text in ["a", "a", "b", "c", "a", "d", "e", "a"]:
        assert cache.get(kind, text, parse) == text.upper()
    assert parsed == ["a", "b", "c", "d", "e"]
    assert cache.get(kind, "b", parse) == "B"
    assert parsed.count("b") == 2
    assert cache.get(ExpressionKind.UPDATE, "b", parse) == "B"
    assert parsed.count("b") == 3
    assert len(cache) <= 4


def test_cache_is_bounded_by_characters() -> None:
    """Long texts drop others sooner: memory is bounded whatever clients send."""
    cache = ParsedCache[str](entries_max=1_000, chars_max=50)
    for at in range(1_000):
        cache.get(ExpressionKind.FILTER, f"{at:010}", lambda _kind, text: text)
    assert len(cache) <= 10


def test_cache_keeps_no_refusal() -> None:
    """A text that is refused costs no memory, and is refused again."""

    def refuse(_kind: ExpressionKind, _text: str) -> str:
        raise ExpressionError(Complaint.EMPTY)

    cache = ParsedCache[str]()
    for _ in range(2):
        with pytest.raises(ExpressionError):
            cache.get(ExpressionKind.FILTER, "", refuse)
    assert len(cache) == 0


def test_without_names_and_values_a_text_is_made_once() -> None:
    """`attribute_not_exists(id)` on every put costs a look-up; a refusal keeps its sentence."""
    once = Expressions().condition("attribute_not_exists(made_once)")
    assert Expressions().condition("attribute_not_exists(made_once)") is once
    assert Expressions({"#a": "a"}).condition("attribute_not_exists(made_once)") is not once
    assert Expressions().filter("attribute_not_exists(made_once)") is not once
    projection = Expressions().projection("made_once, b")
    assert Expressions().projection("made_once, b") is projection
    for _ in range(2):
        with pytest.raises(ExpressionError) as refused:
            Expressions().condition("a = :undefined")
        assert sentence(refused.value).startswith("Invalid ConditionExpression: ")
