"""The checker of linearizability, checked: known histories, a dumb oracle, and mutated truths."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.history import (
    ANYTHING,
    Add,
    Call,
    Fate,
    Operation,
    Put,
    Read,
    Swap,
    Value,
    step,
)
from tests.simulation.linearizability import OPERATIONS_MAX, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

OK, FAILED, UNKNOWN = Fate.OK, Fate.FAILED, Fate.UNKNOWN


def operation(
    span: tuple[int, int], call: Call, answer: Hashable = None, fate: Fate = OK
) -> Operation:
    return Operation(
        client="c",
        key="k",
        call=call,
        invoked=span[0],
        returned=None if fate is UNKNOWN else span[1],
        fate=fate,
        answer=answer,
    )


KNOWN: dict[str, tuple[Verdict, list[Operation]]] = {
    "a read of the latest write": (
        Verdict.LINEARIZABLE,
        [operation((1, 2), Put(1)), operation((3, 4), Read(), 1)],
    ),
    "a stale read": (
        Verdict.ILLEGAL,
        [
            operation((1, 2), Put(1)),
            operation((3, 4), Put(2)),
            operation((5, 6), Read(), 1),
        ],
    ),
    "a lost write": (
        Verdict.ILLEGAL,
        [operation((1, 2), Put(1)), operation((3, 4), Read(), None)],
    ),
    "reads that disagree about two writes at once": (
        Verdict.ILLEGAL,
        [
            operation((1, 10), Put(1)),
            operation((2, 9), Put(2)),
            operation((11, 12), Read(), 1),
            operation((13, 14), Read(), 2),
        ],
    ),
    "an unknown write that is seen late": (
        Verdict.LINEARIZABLE,
        [
            operation((1, 2), Put(1)),
            operation((3, 0), Put(2), fate=UNKNOWN),
            operation((4, 5), Read(), 1),
            operation((6, 7), Read(), 2),
        ],
    ),
    "an unknown write that is seen, then unseen": (
        Verdict.ILLEGAL,
        [
            operation((1, 2), Put(1)),
            operation((3, 0), Put(2), fate=UNKNOWN),
            operation((4, 5), Read(), 2),
            operation((6, 7), Read(), 1),
        ],
    ),
    "an unknown write that is seen before it was asked for": (
        Verdict.ILLEGAL,
        [operation((1, 2), Read(), 2), operation((3, 0), Put(2), fate=UNKNOWN)],
    ),
    "a failed write that is seen": (
        Verdict.ILLEGAL,
        [operation((1, 2), Put(2), fate=FAILED), operation((3, 4), Read(), 2)],
    ),
    "two swaps that both won": (
        Verdict.ILLEGAL,
        [operation((1, 4), Swap(None, 1), True), operation((2, 3), Swap(None, 2), True)],
    ),
    "a swap that lost against nobody": (
        Verdict.ILLEGAL,
        [operation((1, 2), Swap(None, 1), False)],
    ),
    "an addition that was done twice": (
        Verdict.ILLEGAL,
        [operation((1, 2), Add(1), 1), operation((3, 4), Read(), 2)],
    ),
    "additions whose sums nobody was told": (
        Verdict.LINEARIZABLE,
        [
            operation((1, 2), Add(1), ANYTHING),
            operation((3, 0), Add(1), fate=UNKNOWN),
            operation((4, 5), Read(), 2),
        ],
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_histories(name: str) -> None:
    """Each names one way in which a store may break its promise, or only seems to."""
    verdict, operations = KNOWN[name]
    assert judge(operations) is verdict


def explained(operations: Sequence[Operation], value: Value = None) -> bool:
    """Try every order, without memory and without cleverness."""
    if all(one.fate is UNKNOWN for one in operations):
        return True
    first_end = min(one.returned for one in operations if one.returned is not None)
    for index, one in enumerate(operations):
        after, answer = step(value, one.call)
        if one.invoked > first_end or (one.fate is OK and answer != one.answer):
            continue
        if explained([*operations[:index], *operations[index + 1 :]], after):
            return True
    return False


calls = st.one_of(
    st.just(Read()),
    st.builds(Put, st.integers(1, 3)),
    st.builds(Swap, st.sampled_from([None, 1, 2]), st.integers(1, 3)),
    st.builds(Add, st.integers(1, 2)),
)
answers: dict[type, list[Hashable]] = {
    Read: [None, 1, 2, 3],
    Put: [None],
    Swap: [True, False],
    Add: [1, 2, 3, 4],
}


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Draw up to six operations with any spans, fates and answers."""
    count = draw(st.integers(1, 6))
    moments = draw(st.permutations(range(2 * count)))
    found = []
    for index in range(count):
        call = draw(calls)
        span = sorted(moments[2 * index : 2 * index + 2])
        fate = draw(st.sampled_from([OK, OK, OK, UNKNOWN, FAILED]))
        answer = draw(st.sampled_from(answers[type(call)])) if fate is OK else None
        found.append(operation((span[0], span[1]), call, answer, fate))
    return found


@settings(max_examples=600)
@given(histories())
def test_the_search_agrees_with_a_dumb_oracle(operations: list[Operation]) -> None:
    """Cleverness and memory must not change the verdict."""
    kept = [
        one
        for one in operations
        if one.fate is not FAILED and not (one.fate is UNKNOWN and one.call == Read())
    ]
    expected = Verdict.LINEARIZABLE if explained(kept) else Verdict.ILLEGAL
    assert judge(operations) is expected


def truth(random: Random, count: int) -> list[Operation]:
    """Make a history that is linearizable by construction: each takes effect within its span."""
    value: Value = 0
    found, moment = [], 0
    for index in range(count):
        moment += random.randrange(2, 6)
        expected = value if random.random() < 0.5 else -1
        kinds: tuple[Call, ...] = (Read(), Put(index), Swap(expected, index), Add(1))
        call = random.choice(kinds)
        fate = UNKNOWN if random.random() < 0.03 else OK
        answer: Hashable = None
        if fate is OK or random.random() < 0.5:
            value, answer = step(value, call)
        span = (moment * 10 - random.randrange(40), moment * 10 + random.randrange(40))
        found.append(operation(span, call, answer if fate is OK else None, fate))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_true_history_passes_and_a_mutated_one_does_not(seed: int) -> None:
    """At full size: what is true is never accused; one answer changed is found out."""
    random = Random(seed)
    operations = truth(random, OPERATIONS_MAX)
    assert judge(operations, initial=0) is Verdict.LINEARIZABLE
    reads = [one for one in operations if isinstance(one.call, Read) and one.fate is OK]
    random.choice(reads).answer = "what nobody ever wrote"
    assert judge(operations, initial=0) is Verdict.ILLEGAL


def test_giving_up_is_not_passing() -> None:
    """A search that takes too long says so, and counts as a failure to look into."""
    random = Random(1)
    operations = truth(random, 100)
    assert judge(operations, initial=0, states_max=10) is Verdict.UNDECIDED
