"""Primaries whose disks are full: others lead, soon, and nothing that was acknowledged is lost."""

from __future__ import annotations

from typing import Final

import pytest

from dstore.replication.full_disk import FullDisk
from tests.simulation.cramped import CRAMPED, FULL_S
from tests.simulation.scenario import simulate

SOON_MS: Final = 4_000  # a lease that is waited out, and a set from which the full one is left out


@pytest.mark.parametrize("seed", range(3))
def test_another_one_leads_where_there_is_room(seed: int) -> None:
    """A disk that fills up stops nobody's writes for long, found so at a commit or an opening."""
    outcome = simulate(CRAMPED, seed)
    assert outcome.violations == ()
    assert outcome.counts["log.range_given_on"] > 0
    assert outcome.counts["cramped.slowest_ms"] < SOON_MS


def test_who_does_not_make_way_stops_all_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A primary that only tries again keeps the range from those who could serve it."""

    async def stay(_self: FullDisk, _placed: object) -> None:
        return None

    monkeypatch.setattr(FullDisk, "make_way", stay)
    outcome = simulate(CRAMPED, 0)
    assert outcome.violations == ()
    assert outcome.counts["cramped.slowest_ms"] > FULL_S[0] * 1_000 / 2
