"""Terms of former parameters as hypothesis draws them, and the expressions that say the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypothesis import assume
from hypothesis import strategies as st

from dstore.expressions import (
    Condition,
    ExpressionError,
    FormerTerm,
    Projection,
    Update,
    former,
)
from dstore.model.values import Attribute
from tests.property.test_expressions import (
    ATTRIBUTE_NAMES,
    attributes,
    base64_texts,
    number_texts,
    numeric_set,
    scalars,
    short_texts,
    tagged,
)

# What a condition says of `path` and its values, in an expression.
CONDITION_TEXTS: Final = {
    "EQ": "{path} = {0}",
    "NE": "{path} <> {0}",
    "LT": "{path} < {0}",
    "LE": "{path} <= {0}",
    "GT": "{path} > {0}",
    "GE": "{path} >= {0}",
    "IN": "{path} IN ({all})",
    "BETWEEN": "{path} BETWEEN {0} AND {1}",
    "BEGINS_WITH": "begins_with({path}, {0})",
    "CONTAINS": "contains({path}, {0})",
    "NOT_CONTAINS": "attribute_exists({path}) AND NOT contains({path}, {0})",
    "NULL": "attribute_not_exists({path})",
    "NOT_NULL": "attribute_exists({path})",
}

numbers = tagged("N", number_texts)
strings = tagged("S", short_texts)
binaries = tagged("B", base64_texts)
sets = st.one_of(
    tagged("SS", st.lists(short_texts, min_size=1, max_size=3, unique=True)),
    tagged("NS", st.lists(number_texts, min_size=1, max_size=3).map(numeric_set)),
    tagged("BS", st.lists(base64_texts, min_size=1, max_size=3, unique=True)),
)
lists = tagged("L", st.lists(attributes, max_size=3))
of_one_type = st.one_of(*(st.lists(one, min_size=1, max_size=4) for one in (numbers, strings)))


def _values(operator: str) -> st.SearchStrategy[Sequence[Attribute]]:
    match operator:
        case "NULL" | "NOT_NULL":
            return st.just([])
        case "EQ" | "NE":
            return st.lists(attributes, min_size=1, max_size=1)
        case "CONTAINS" | "NOT_CONTAINS":
            return st.lists(scalars, min_size=1, max_size=1)
        case "BEGINS_WITH":
            return st.lists(strings | binaries, min_size=1, max_size=1)
        case "IN":
            return of_one_type
        case "BETWEEN":
            return st.one_of(
                *(st.lists(one, min_size=2, max_size=2) for one in (numbers, strings, binaries))
            )
        case _:
            return st.lists(numbers | strings | binaries, min_size=1, max_size=1)


@st.composite
def comparisons(draw: st.DrawFn) -> FormerTerm:
    """A comparison that AWS takes; the name is for `of_attributes` to choose."""
    operator = draw(st.sampled_from(list(CONDITION_TEXTS)))
    term = FormerTerm("", operator, tuple(draw(_values(operator))))
    try:
        former.check_comparison(term)
    except ExpressionError:
        assume(condition=False)
    return term


changes = st.one_of(
    st.builds(lambda value: FormerTerm("", "PUT", (value,)), attributes),
    st.just(FormerTerm("", "DELETE")),
    st.builds(lambda value: FormerTerm("", "DELETE", (value,)), sets),
    st.builds(lambda value: FormerTerm("", "ADD", (value,)), st.one_of(numbers, sets, lists)),
)


@st.composite
def of_attributes(draw: st.DrawFn, terms: st.SearchStrategy[FormerTerm]) -> list[FormerTerm]:
    """Some terms, each of another attribute."""
    names = draw(st.lists(st.sampled_from(ATTRIBUTE_NAMES), min_size=1, max_size=4, unique=True))
    drawn = [draw(terms) for _ in names]
    return [
        FormerTerm(name, one.operator, one.values) for name, one in zip(names, drawn, strict=True)
    ]


former_conditions: st.SearchStrategy[Condition] = st.builds(
    lambda terms, is_any: former.condition_of(terms, is_any=is_any),
    of_attributes(comparisons()),
    st.booleans(),
)
former_updates: st.SearchStrategy[Update] = of_attributes(changes).map(former.update_of)
former_projections: st.SearchStrategy[Projection] = st.lists(
    st.sampled_from(ATTRIBUTE_NAMES), min_size=1, max_size=4, unique=True
).map(former.projection_of)


class Spelling:
    """Names and values with the aliases that an expression's text calls them by."""

    def __init__(self) -> None:
        """Begin without any."""
        self.names: dict[str, str] = {}
        self.values: dict[str, Attribute] = {}

    def name(self, name: str) -> str:
        """Give an attribute's alias."""
        alias = f"#n{len(self.names)}"
        self.names[alias] = name
        return alias

    def value(self, value: Attribute) -> str:
        """Give a value's alias."""
        alias = f":v{len(self.values)}"
        self.values[alias] = value
        return alias

    def condition(self, terms: Sequence[FormerTerm], *, is_any: bool) -> str:
        """Spell terms as a condition."""
        texts = []
        for term in terms:
            values = [self.value(value) for value in term.values]
            shape = CONDITION_TEXTS[term.operator]
            text = shape.format(*values, path=self.name(term.name), all=", ".join(values))
            texts.append(f"({text})" if len(terms) > 1 else text)
        return (" OR " if is_any else " AND ").join(texts)

    def update(self, terms: Sequence[FormerTerm]) -> str:
        """Spell terms as an update; ADD of a list is a SET."""
        sections: dict[str, list[str]] = {}
        for term in terms:
            path = self.name(term.name)
            values = [self.value(value) for value in term.values]
            if not values:
                sections.setdefault("REMOVE", []).append(path)
            elif term.operator == "PUT":
                sections.setdefault("SET", []).append(f"{path} = {values[0]}")
            elif "L" in term.values[0]:
                empty = self.value({"L": []})
                appended = f"list_append(if_not_exists({path}, {empty}), {values[0]})"
                sections.setdefault("SET", []).append(f"{path} = {appended}")
            else:
                sections.setdefault(term.operator, []).append(f"{path} {values[0]}")
        return " ".join(f"{kind} {', '.join(actions)}" for kind, actions in sections.items())
