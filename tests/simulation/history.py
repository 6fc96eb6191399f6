"""What clients did and what they were told: the evidence that checkers judge.

An operation has a fate. OK: it was answered. FAILED: the client was told that certainly nothing was
written. UNKNOWN: nobody told; it may take effect at any time after it was asked for, or never.
A condition that was false is an answer like any other.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from dstore.model.errors import Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

Value: TypeAlias = int | str | None  # None: there is no such entry


@dataclass(frozen=True, slots=True)
class Read:
    """Answered with the value."""


@dataclass(frozen=True, slots=True)
class Put:
    """Answered with None."""

    value: Value


@dataclass(frozen=True, slots=True)
class Swap:
    """Puts `value` if `expected` is there; answered with whether it was."""

    expected: Value
    value: Value


@dataclass(frozen=True, slots=True)
class Add:
    """Adds to a number, an absent one being 0; answered with the sum."""

    amount: int


Call: TypeAlias = Read | Put | Swap | Add


class Anything:
    """Stands for an answer that the client was not given, though it was told of success."""

    def __repr__(self) -> str:
        """Show it alike in every process: it stands in traces."""
        return "ANYTHING"


ANYTHING: Final = Anything()


class Fate(StrEnum):
    """What became of an operation, as its client knows."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(slots=True, kw_only=True)
class Operation:
    """One operation of one client; `invoked` and `returned` count the events of the history."""

    client: str
    key: str
    call: Call
    invoked: int
    returned: int | None = None
    fate: Fate = Fate.UNKNOWN
    answer: Hashable = None

    def __str__(self) -> str:
        """Show it in a line."""
        span = f"{self.invoked}..{'' if self.returned is None else self.returned}"
        return f"{self.client} {span} {self.key} {self.call} {self.fate} {self.answer!r}"


def step(value: Value, call: Call) -> tuple[Value, Hashable]:
    """Say what a call does to a value, all by itself. Returns: the new value and the answer."""
    match call:
        case Read():
            return value, value
        case Put():
            return call.value, None
        case Swap():
            return (call.value, True) if value == call.expected else (value, False)
        case Add():
            assert value is None or isinstance(value, int), value
            total = (value or 0) + call.amount
            return total, total
        case _:
            assert_never(call)


def fate_of(error: BaseException) -> Fate:
    """Say what an error tells a client of its write; what it does not say is unknown."""
    return Fate.FAILED if isinstance(error, Unavailable | Refused) else Fate.UNKNOWN


class History:
    """All operations, in the order in which they were asked for."""

    def __init__(self) -> None:
        """Begin with none."""
        self.operations: list[Operation] = []
        self._events = count(1)

    def __iter__(self) -> Iterator[Operation]:
        """Walk the operations."""
        return iter(self.operations)

    def __len__(self) -> int:
        """Count the operations."""
        return len(self.operations)

    def invoke(self, client: str, key: str, call: Call) -> Operation:
        """Note that a client asks for something; its fate is unknown until `end` says more."""
        operation = Operation(client=client, key=key, call=call, invoked=next(self._events))
        self.operations.append(operation)
        return operation

    def end(self, operation: Operation, fate: Fate, answer: Hashable = None) -> None:
        """Note what the client was told. An unknown operation never returns."""
        operation.fate = fate
        operation.answer = answer
        operation.returned = next(self._events) if fate is not Fate.UNKNOWN else None

    def by_key(self) -> dict[str, list[Operation]]:
        """Group the operations by their key."""
        keys: dict[str, list[Operation]] = {}
        for operation in self.operations:
            keys.setdefault(operation.key, []).append(operation)
        return keys

    def count(self, fate: Fate) -> int:
        """Count the operations of a fate."""
        return sum(operation.fate is fate for operation in self.operations)
