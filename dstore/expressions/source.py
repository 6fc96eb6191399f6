"""What an expression was read from, so that another process can read it again.

The text travels, with the names and values that it uses; the tree never does, and stays free to
change. At the other end `Expressions` parses the text through its cache, and checks it as it checks
a client's. What was asked without a text, by the parameters that expressions have replaced, travels
as their terms, and is made into a tree again by `former`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from dstore.model.values import Attribute

# A name or value wherever it stands: the language has no quotes, and no word holds a sign.
_ALIAS: Final = re.compile("[#:][A-Za-z0-9_]+")


class Source(msgspec.Struct, frozen=True):
    """An expression's text, and the request's maps of names and values; None if it has none."""

    text: str
    names: Mapping[str, str] | None = None
    values: Mapping[str, Attribute] | None = None

    def condensed(self) -> Source:
        """Leave out the names and values that only other expressions of the request use."""
        if self.names is None and self.values is None:
            return self
        aliases = dict.fromkeys(_ALIAS.findall(self.text))
        names, values = self.names or {}, self.values or {}
        return Source(
            self.text,
            {alias: names[alias] for alias in aliases if alias in names} or None,
            {alias: values[alias] for alias in aliases if alias in values} or None,
        )


class FormerTerm(msgspec.Struct, frozen=True):
    """What a former parameter says about one attribute of the item.

    Attributes:
        name: the attribute; never a path into one.
        operator: a ComparisonOperator, an Action of AttributeUpdates, or "" of AttributesToGet.
        values: what it is compared or changed with.
    """

    name: str
    operator: str = ""
    values: tuple[Attribute, ...] = ()


class FormerSource(msgspec.Struct, frozen=True):
    """A former parameter; of a condition, `is_any` says that one term of it is enough."""

    terms: tuple[FormerTerm, ...]
    is_any: bool = False


AnySource = Source | FormerSource
