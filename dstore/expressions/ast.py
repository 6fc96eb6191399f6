"""The trees: what the parser makes of a text, and what is left when names and values are in it.

All nodes are frozen. An operand is a `Path`, a `ValueRef` or a `Call` as it was written; resolving
puts a `Route` in a path's place and a `Constant` in a value's, and leaves the rest as it is. The
tree never travels and is never stored: it is free to change.

`offset` is the character where a node begins; it is no part of a node's equality. Parentheses are
not kept: the tree's shape says what they said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from dstore.model.values import Attribute

Keys = tuple[str | int, ...]
"""The steps of a resolved path: a str looks up in a map, an int in a list; the first is a str."""


@dataclass(frozen=True, slots=True)
class Field:
    """A path's step written as a name."""

    name: str
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class NameRef:
    """A path's step written as `#name`, the sign included."""

    alias: str
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Index:
    """A path's step `[digits]`; the digits as written, for they may be too many."""

    digits: str
    offset: int = field(compare=False, default=0)


Step = Field | NameRef | Index


@dataclass(frozen=True, slots=True)
class Path:
    """A document path as written; its first step is no Index."""

    steps: tuple[Step, ...]
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Route:
    """A document path with its names put in."""

    keys: Keys
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class ValueRef:
    """A value as written: `:value`, the sign included."""

    alias: str
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Constant:
    """A value put in, and the type tag it has."""

    attribute: Attribute
    tag: str
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its operands; any name parses."""

    function: str
    operands: tuple[Operand, ...]
    offset: int = field(compare=False, default=0)


Operand = Path | Route | ValueRef | Constant | Call

Comparator = Literal["=", "<>", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Compare:
    """Two operands compared."""

    operator: Comparator
    left: Operand
    right: Operand
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Between:
    """An operand between two others, both included."""

    operand: Operand
    low: Operand
    high: Operand
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class In:
    """An operand equal to one of several."""

    operand: Operand
    options: tuple[Operand, ...]
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Not:
    """A condition denied."""

    condition: ConditionNode
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class And:
    """Two or more conditions that must all hold."""

    conditions: tuple[ConditionNode, ...]
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more conditions of which one must hold."""

    conditions: tuple[ConditionNode, ...]
    offset: int = field(compare=False, default=0)


ConditionNode = Compare | Between | In | Call | Not | And | Or
"""A Call here is a function that is a condition by itself."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A sum or difference of two operands."""

    operator: Literal["+", "-"]
    left: Operand
    right: Operand
    offset: int = field(compare=False, default=0)


SetValue = Operand | Arithmetic


class SectionKind(StrEnum):
    """The four sections of an update."""

    SET = "SET"
    REMOVE = "REMOVE"
    ADD = "ADD"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Action:
    """What an update does at one path; REMOVE has no value, ADD and DELETE a plain one."""

    kind: SectionKind
    target: Path | Route
    value: SetValue | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A section with its one or more actions, in the order of the text."""

    kind: SectionKind
    actions: tuple[Action, ...]
    offset: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class UpdateTree:
    """An update: its sections in the order of the text."""

    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class ProjectionTree:
    """A projection: one or more paths."""

    paths: tuple[Path, ...]
