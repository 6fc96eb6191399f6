"""The trees: what the parser makes of a text, and what is left when names and values are in it.

All nodes are frozen. An operand is a `Path`, a `ValueRef` or a `Call` as it was written; resolving
puts a `Route` in a path's place and a `Constant` in a value's, and leaves the rest as it is. The
tree never travels and is never stored: it is free to change.

`offset` is the character where a node begins; it is no part of a node's equality. Parentheses are
not kept: the tree's shape says what they said.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from dstore.model.values import Attribute

Keys = tuple[str | int, ...]
"""The steps of a resolved path: a str looks up in a map, an int in a list; the first is a str."""


class Node(msgspec.Struct, frozen=True):
    """A part of a tree.

    A struct and no dataclass, since each request's names and values make some ten nodes: a frozen
    dataclass takes 1.2 us to make, a struct 0.2.
    """

    def __eq__(self, other: object) -> bool:
        """Compare all but where the nodes begin."""
        return type(self) is type(other) and self._content() == other._content()

    def __hash__(self) -> int:
        """Hash what is compared."""
        return hash(self._content())

    def _content(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name != "offset")


class Field(Node, frozen=True):
    """A path's step written as a name."""

    name: str
    offset: int = 0


class NameRef(Node, frozen=True):
    """A path's step written as `#name`, the sign included."""

    alias: str
    offset: int = 0


class Index(Node, frozen=True):
    """A path's step `[digits]`; the digits as written, for they may be too many."""

    digits: str
    offset: int = 0


Step = Field | NameRef | Index


class Path(Node, frozen=True):
    """A document path as written; its first step is no Index."""

    steps: tuple[Step, ...]
    offset: int = 0


class Route(Node, frozen=True):
    """A document path with its names put in."""

    keys: Keys
    offset: int = 0


class ValueRef(Node, frozen=True):
    """A value as written: `:value`, the sign included."""

    alias: str
    offset: int = 0


class Constant(Node, frozen=True):
    """A value put in, and the type tag it has."""

    attribute: Attribute
    tag: str
    offset: int = 0


class Call(Node, frozen=True):
    """A function with its operands; any name parses."""

    function: str
    operands: tuple[Operand, ...]
    offset: int = 0


Operand = Path | Route | ValueRef | Constant | Call

Comparator = Literal["=", "<>", "<", "<=", ">", ">="]


class Compare(Node, frozen=True):
    """Two operands compared."""

    operator: Comparator
    left: Operand
    right: Operand
    offset: int = 0


class Between(Node, frozen=True):
    """An operand between two others, both included."""

    operand: Operand
    low: Operand
    high: Operand
    offset: int = 0


class In(Node, frozen=True):
    """An operand equal to one of several."""

    operand: Operand
    options: tuple[Operand, ...]
    offset: int = 0


class Not(Node, frozen=True):
    """A condition denied."""

    condition: ConditionNode
    offset: int = 0


class And(Node, frozen=True):
    """Two or more conditions that must all hold."""

    conditions: tuple[ConditionNode, ...]
    offset: int = 0


class Or(Node, frozen=True):
    """Two or more conditions of which one must hold."""

    conditions: tuple[ConditionNode, ...]
    offset: int = 0


ConditionNode = Compare | Between | In | Call | Not | And | Or
"""A Call here is a function that is a condition by itself."""


class Arithmetic(Node, frozen=True):
    """A sum or difference of two operands."""

    operator: Literal["+", "-"]
    left: Operand
    right: Operand
    offset: int = 0


SetValue = Operand | Arithmetic


class SectionKind(StrEnum):
    """The four sections of an update."""

    SET = "SET"
    REMOVE = "REMOVE"
    ADD = "ADD"
    DELETE = "DELETE"


class Action(Node, frozen=True):
    """What an update does at one path; REMOVE has no value, ADD and DELETE a plain one."""

    kind: SectionKind
    target: Path | Route
    value: SetValue | None = None


class Section(Node, frozen=True):
    """A section with its one or more actions, in the order of the text."""

    kind: SectionKind
    actions: tuple[Action, ...]
    offset: int = 0


class UpdateTree(Node, frozen=True):
    """An update: its sections in the order of the text."""

    sections: tuple[Section, ...]


class ProjectionTree(Node, frozen=True):
    """A projection: one or more paths."""

    paths: tuple[Path, ...]
