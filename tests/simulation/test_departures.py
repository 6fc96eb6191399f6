"""Nodes that are stopped cleanly: no client sees it, and whatever comes between harms nothing."""

from __future__ import annotations

from typing import Final

import pytest

from dstore.base.limits import REPLICA_SILENT_MS
from dstore.replication.members import Members
from tests.simulation.departures import ROLLING
from tests.simulation.history import Fate
from tests.simulation.scenario import Outcome, simulate

SLOWEST_MS: Final = REPLICA_SILENT_MS * 2 // 3  # one that goes without a word is missed for longer


def _slowest_ms(outcome: Outcome) -> int:
    return outcome.counts["departed.slowest_ms"]


@pytest.mark.parametrize("seed", range(3))
def test_a_rolling_restart_fails_no_request(seed: int) -> None:
    """Each of three nodes is stopped and started while clients work: all are answered, and soon."""
    outcome = simulate(ROLLING, seed)
    assert outcome.violations == ()
    assert outcome.counts["departed"] >= 6
    assert outcome.counts["log.failed_over"] == 0
    assert (outcome.fates[Fate.FAILED], outcome.fates[Fate.UNKNOWN]) == (0, 0)
    assert _slowest_ms(outcome) < SLOWEST_MS


def test_who_does_not_say_that_it_goes_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the word of a replica that leaves, writes wait until its silence is noticed."""
    original = Members._tend_once

    async def tend_once(self: Members) -> bool:
        for follower in self.followers.values():
            follower.is_leaving = False
        return await original(self)

    monkeypatch.setattr(Members, "_tend_once", tend_once)
    outcome = simulate(ROLLING, 0)
    assert outcome.violations == ()
    assert _slowest_ms(outcome) > SLOWEST_MS
