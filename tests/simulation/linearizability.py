"""Is there an order of one key's operations that explains what every client was told?

Two searches. The first walks the events once with all (value, operations done) that are possible by
then, and is quick to find that there is none; it gives up where too many are possible, above all
because of unknown fates. The second is of Wing and Gong with Lowe's memory of (set of operations
done, value): walk the events, try each operation that may come next, and go back where an operation
ended that fits nowhere; it is quick to find an order if there is one.
An operation of unknown fate may be put anywhere behind its beginning, or nowhere; one that failed
certainly is in no order at all, so whoever has seen its effect finds no explanation.
Source: "Testing for linearizability", G. Lowe, 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.simulation.history import ANYTHING, Fate, Operation, Read, Value, step

if TYPE_CHECKING:
    from tests.simulation.history import History

OPERATIONS_MAX: Final = 300  # of one key: with unknown fates the search may take too long beyond
STATES_MAX: Final = 200_000
SWEPT_MAX: Final = 20_000


class Verdict(StrEnum):
    """What came of a search."""

    LINEARIZABLE = "linearizable"
    ILLEGAL = "illegal"
    UNDECIDED = "undecided"  # given up; to be looked into as if it were illegal


_State: TypeAlias = tuple[Value, int]  # and the bits of operations that are done, and not ended


class _Event:
    """The beginning of an operation, whose `end` is its end if it has one; or an end."""

    __slots__ = ("after", "before", "bit", "end", "operation")

    def __init__(self, operation: Operation | None, bit: int) -> None:
        self.operation = operation  # None: this is an end
        self.bit = bit
        self.end: _Event | None = None
        self.before: _Event | None = None
        self.after: _Event | None = None

    def take_out(self) -> None:
        """Leave the list, with the end, remembering the place."""
        for event in (self, self.end):
            if event is not None:
                assert event.before is not None
                event.before.after = event.after
                if event.after is not None:
                    event.after.before = event.before

    def put_back(self) -> None:
        """Undo `take_out`."""
        for event in (self.end, self):
            if event is not None:
                assert event.before is not None
                event.before.after = event
                if event.after is not None:
                    event.after.before = event


def judge(
    operations: Sequence[Operation], *, initial: Value = None, states_max: int = STATES_MAX
) -> Verdict:
    """Tell whether there is an order of one key's operations.

    Args:
        operations: of one key; in any order.
        initial: the key's value before all of them.
        states_max: how many (operations done, value) each search looks at before giving up.
    """
    swept = _sweep(operations, initial, states_max=min(states_max, SWEPT_MAX))
    if swept is not Verdict.UNDECIDED:
        return swept
    head, left = _events(operations)
    seen: set[tuple[int, Value]] = set()
    done: list[tuple[_Event, Value]] = []
    value, mask = initial, 0
    event = head.after
    while left:
        if event is not None and event.operation is not None:
            operation = event.operation
            is_unknown = operation.fate is Fate.UNKNOWN
            after, answer = step(value, operation.call)
            fits = (
                after != value
                if is_unknown  # without an effect it need not have happened
                else operation.answer is ANYTHING or answer == operation.answer
            )
            if fits and (mask | event.bit, after) not in seen:
                seen.add((mask | event.bit, after))
                if len(seen) > states_max:
                    return Verdict.UNDECIDED
                done.append((event, value))
                value, mask = after, mask | event.bit
                event.take_out()
                left -= not is_unknown
                event = head.after
            else:
                event = event.after
            continue
        if not done:
            return Verdict.ILLEGAL
        event, value = done.pop()
        assert event.operation is not None
        mask ^= event.bit
        event.put_back()
        left += event.operation.fate is not Fate.UNKNOWN
        event = event.after
    return Verdict.LINEARIZABLE


def _sweep(operations: Sequence[Operation], initial: Value, *, states_max: int) -> Verdict:
    """Walk the events with everything that is possible; an operation is done when it must be."""
    head, _ = _events(operations)
    possible: set[_State] = {(initial, 0)}
    begun: dict[int, Operation] = {}
    looked_at = 0
    event = head.after
    while event is not None:
        if event.operation is not None:
            begun[event.bit] = event.operation
        else:
            found: set[_State] = set()
            seen = {_with_idle(state, begun) for state in possible}
            stack = list(seen)
            while stack:
                state = value, mask = stack.pop()
                if mask & event.bit:
                    found.add((value, mask ^ event.bit))
                    continue
                looked_at += 1
                if looked_at > states_max:
                    return Verdict.UNDECIDED
                for bit, operation in begun.items():
                    after, is_possible = _done(operation, value)
                    is_of_use = after != value or operation.fate is not Fate.UNKNOWN
                    if not mask & bit and is_possible and is_of_use:
                        state = _with_idle((after, mask | bit), begun)
                        if state not in seen:
                            seen.add(state)
                            stack.append(state)
            del begun[event.bit]
            if not found:
                return Verdict.ILLEGAL
            possible = found
        event = event.after
    return Verdict.LINEARIZABLE


def _with_idle(state: _State, begun: dict[int, Operation]) -> _State:
    """Do at once what never changes anything, if it fits: it can't be in anybody's way."""
    value, mask = state
    for bit, operation in begun.items():
        is_idle = isinstance(operation.call, Read) or operation.answer is False
        if not mask & bit and is_idle and step(value, operation.call)[1] == operation.answer:
            mask |= bit
    return value, mask


def _done(operation: Operation, value: Value) -> tuple[Value, bool]:
    """Do an operation. Returns: the value then, and whether its client may have been told so."""
    after, answer = step(value, operation.call)
    is_told = operation.fate is not Fate.UNKNOWN and operation.answer is not ANYTHING
    return after, not is_told or answer == operation.answer


def violations(history: History, *, initial: Value = None) -> list[str]:
    """Judge every key of a history. Returns: a text for each that no order explains."""
    found = []
    for key, operations in history.by_key().items():
        assert len(operations) <= OPERATIONS_MAX, f"{len(operations)} operations of {key}"
        verdict = judge(operations, initial=initial)
        if verdict is not Verdict.LINEARIZABLE:
            told = "\n".join(f"    {operation}" for operation in operations)
            found.append(f"{key} is {verdict}:\n{told}")
    return found


def _events(operations: Sequence[Operation]) -> tuple[_Event, int]:
    """Make the list of events. Returns: its head, and how many operations must be explained."""
    placed: list[tuple[int, _Event]] = []
    left = 0
    for index, operation in enumerate(operations):
        is_unknown = operation.fate is Fate.UNKNOWN
        if operation.fate is Fate.FAILED or (is_unknown and isinstance(operation.call, Read)):
            continue
        begun = _Event(operation, 1 << index)
        placed.append((operation.invoked, begun))
        if not is_unknown:
            assert operation.returned is not None, operation
            left += 1
            begun.end = _Event(None, begun.bit)
            placed.append((operation.returned, begun.end))
    placed.sort(key=lambda place: place[0])
    head = last = _Event(None, 0)
    for _, event in placed:
        event.before, last.after = last, event
        last = event
    return head, left
