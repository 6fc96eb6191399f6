"""What a client may rely on: for each entry, the states in which it may be.

A write that was acknowledged leaves one state; one that got no answer leaves two, before and after.
Each entry belongs to one writer, so its writes follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]
State = Document | None  # None: there is no such entry


@dataclass(slots=True)
class Ledger:
    """The possible states of entries by their id; an id that is not in it does not exist."""

    states: dict[str, list[State]] = field(default_factory=dict)
    acknowledged: int = 0
    unknown: int = 0

    def now(self, entry_id: str) -> State:
        """Return the one state of an entry that is certain."""
        states = self.states.get(entry_id, [None])
        assert len(states) == 1, f"{entry_id} is uncertain"
        return states[0]

    def is_certain(self, entry_id: str) -> bool:
        """Tell whether there is one possible state."""
        return len(self.states.get(entry_id, [None])) == 1

    def acknowledge(self, entry_id: str, after: State) -> None:
        """Note that a write was acknowledged."""
        self.states[entry_id] = [after]
        self.acknowledged += 1

    def doubt(self, entry_id: str, after: State) -> None:
        """Note that a write got no answer."""
        self.states[entry_id] = [*self.states.get(entry_id, [None]), after]
        self.unknown += 1

    def settle(self, found: dict[str, Document]) -> None:
        """Check what a server has against every possibility, then take it as certain."""
        strangers = found.keys() - self.states.keys()
        assert not strangers, f"entries nobody wrote: {sorted(strangers)[:5]}"
        wrong = [
            (entry_id, found.get(entry_id), states)
            for entry_id, states in self.states.items()
            if found.get(entry_id) not in states
        ]
        assert not wrong, f"{len(wrong)} entries are not as acknowledged, such as {wrong[0]}"
        self.states = {entry_id: [found.get(entry_id)] for entry_id in self.states}
