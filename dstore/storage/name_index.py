"""Where a range's file has the names of its newest writes, in memory: name → the row it is in.

A name that is found here was written and committed in the range, for ever; whether its row is still
there, the file says. So what is here may be old, or lost, and never wrong.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, Final

from dstore.base.limits import NAMES_HELD_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

_GENERATIONS: Final = 8


class _Generation:
    """Names that one file was given within some time, to be forgotten together."""

    __slots__ = ("began_at", "is_gone", "seqs")

    def __init__(self, began_at: int) -> None:
        """Begin empty; `began_at` is how many names all files had been given by then."""
        self.began_at = began_at
        self.seqs: dict[bytes, int] = {}
        self.is_gone = False


class HeldNames:
    """What the indexes of all files of a process hold together: the newest `names_max` names.

    Used from several threads. The oldest generation goes when there is one name too many; none
    takes names for longer than an eighth of the bound, so a name is there for at least seven
    eighths of it, whichever files the others come to.
    """

    def __init__(self, names_max: int = NAMES_HELD_MAX) -> None:
        """Begin empty."""
        self._names_max = names_max
        self._generations: deque[_Generation] = deque()  # the oldest first
        self._count = 0
        self._given = 0
        self._changing = Lock()

    def __len__(self) -> int:
        """Count the names that are held."""
        return self._count

    def give(self, young: _Generation | None, names: Sequence[bytes], seq: int) -> _Generation:
        """Note names in a file's youngest generation, or in a new one. Returns: which."""
        with self._changing:
            given = self._given
            is_over = young is not None and (
                young.is_gone or given - young.began_at >= self._names_max // _GENERATIONS
            )
            if young is None or is_over:
                young = _Generation(given)
                self._generations.append(young)
            before = len(young.seqs)
            young.seqs.update(dict.fromkeys(names, seq))
            self._count += len(young.seqs) - before
            self._given = given + len(names)
            while self._count > self._names_max:
                self._forget(self._generations.popleft())
            return young

    def drop(self, generations: Sequence[_Generation]) -> None:
        """Forget generations of a file."""
        with self._changing:
            for each in generations:
                if not each.is_gone:
                    self._generations.remove(each)
                    self._forget(each)

    def _forget(self, generation: _Generation) -> None:
        self._count -= len(generation.seqs)
        generation.seqs, generation.is_gone = {}, True


class NameIndex:
    """The names of one range's newest writes. Used by one thread at a time."""

    __slots__ = ("_generations", "_held")

    def __init__(self, held: HeldNames) -> None:
        """Begin empty, sharing a bound with other files."""
        self._held = held
        self._generations: list[_Generation] = []  # the youngest first

    def find(self, name: bytes) -> int | None:
        """Return SEQ of the row that should have a name, or None."""
        for generation in self._generations:
            seq = generation.seqs.get(name)
            if seq is not None:
                return seq
        return None

    def note(self, names: Sequence[bytes], seq: int) -> None:
        """Remember where names are."""
        former = self._generations[0] if self._generations else None
        young = self._held.give(former, names, seq)
        if young is not former:
            self._generations = [young, *(each for each in self._generations if not each.is_gone)]

    def clear(self) -> None:
        """Forget all of them."""
        self._held.drop(self._generations)
        self._generations = []
