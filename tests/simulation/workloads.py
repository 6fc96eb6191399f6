"""What clients ask for: registers, conditional puts and counters, each key of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING

from tests.simulation.history import Add, Call, Put, Read, Swap, Value

if TYPE_CHECKING:
    from random import Random

Draw = Callable[[], tuple[str, Call]]
Workload = Callable[[int, "Random", Sequence[str]], Draw]
"""Makes one client's source of operations, by the client's number."""


def mixed(client: int, random: Random, keys: Sequence[str]) -> Draw:
    """Use a third of the keys as registers, a third as conditional registers, the rest as counters.

    Every value that is put is put once in a run, so that a reader tells whose it is.
    """
    third = max(1, len(keys) // 3)
    numbers = count(1)
    last: dict[str, Value] = {}

    def draw() -> tuple[str, Call]:
        index = random.randrange(len(keys))
        key = keys[index]
        if random.random() < 0.35:
            return key, Read()
        if index >= 2 * third:
            return key, Add(random.randrange(1, 10))
        value = f"{client}-{next(numbers)}"
        if index < third:
            return key, Put(None if random.random() < 0.1 else value)
        expected = last.get(key) if random.random() < 0.7 else None
        last[key] = value
        return key, Swap(expected, value)

    return draw
