"""Seeds of every scenario, that they replay, and that broken variants are caught."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw
import pytest

from tests.simulation.explorer import SCENARIOS, Exploration, explore, main, replay_command
from tests.simulation.focused import LONELY
from tests.simulation.index_mutants import INDEX_MUTANTS
from tests.simulation.machines import Process
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.plain_cluster import CROWDED, PLAIN
from tests.simulation.replication_mutants import REPLICATION_MUTANTS
from tests.simulation.scenario import HEALED_S_MAX, simulate
from tests.simulation.split_mutants import SPLIT_MUTANTS
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

ROOT: Final = Path(__file__).parents[2]
FEW: Final = 4  # seeds of each scenario in every run
MANY: Final = 5
PART: Final = 1
# The order in which seeds draw may change with the code, and a mutant then dies a little later.
PATIENCE: Final = 60


def _prove(scenario: Scenario, seeds: range) -> Exploration:
    found = Exploration(scenario)
    for outcome in explore(scenario, seeds):
        found.add(outcome)
        if outcome.violations:
            pytest.fail(
                f"{outcome.violations[0]}\nreplay: {replay_command(scenario, outcome.seed)}"
            )
    return found


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_few_seeds(name: str) -> None:
    """Whatever goes wrong in a cluster, no promise is broken and everything heals."""
    found = _prove(SCENARIOS[name], range(FEW))
    assert found.operations >= 200 * FEW


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FEW, MANY, PART))
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_many_seeds(name: str, first: int) -> None:
    """The same with as many seeds as there is time for; `scripts/simulate` explores more."""
    _prove(SCENARIOS[name], range(first, min(first + PART, MANY)))


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        # Made primary behind an old copy of its disk, where the other's log began later than its
        # own ended; and the third, which had come back, could not join as long as it counted.
        ("returned", 30038),
    ],
)
def test_what_once_went_wrong(name: str, seed: int) -> None:
    """Rare seeds that have found a fault."""
    _prove(SCENARIOS[name], range(seed, seed + 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "replicated"])
def test_what_is_interesting_happens(name: str) -> None:
    """An exploration in which nothing went wrong would prove nothing."""
    found = Exploration(SCENARIOS[name])
    for outcome in explore(found.scenario, range(100)):
        found.add(outcome)
        if all(found.counts[each] for each in found.scenario.interesting):
            break
    assert found.seeds < 100


def test_a_seed_replays_exactly() -> None:
    """I13: everything that happens follows from the seed, in any process and any hash order."""

    def digest(hash_seed: str) -> str:
        told = subprocess.run(
            [sys.executable, "-m", "tests.simulation.explorer", "--seed", "2"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return told.stdout.partition("trace ")[2][:16]

    here = simulate(PLAIN, 2)
    assert here.violations == ()
    assert simulate(PLAIN, 2).digest == here.digest
    assert digest("0") == digest("1") == here.digest
    assert simulate(PLAIN, 3).digest != here.digest


@pytest.mark.parametrize(
    "mutant",
    [*MUTANTS, *REPLICATION_MUTANTS, *SPLIT_MUTANTS, *INDEX_MUTANTS],
    ids=lambda mutant: mutant.name,
)
def test_broken_variants_are_caught(mutant: Mutant) -> None:
    """A simulation that finds no fault in a broken product would find none in ours."""
    with mutant.alive():
        assert any(
            simulate(mutant.scenario, seed).violations
            for seed in range(mutant.seed, mutant.seed + PATIENCE)
        )


def test_a_failure_says_how_to_replay_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Who finds a failure in the morning needs one line, and it must be true."""
    mutant = next(one for one in MUTANTS if one.name == "drops_syncs")
    assert main(["--seeds", f"{mutant.seed}-{mutant.seed}", "--mutant", mutant.name]) == 1
    told = capsys.readouterr().out
    line = f"scripts/simulate --scenario plain --seed {mutant.seed} --mutant drops_syncs"
    assert f"replay: {line}\n" in told
    assert main(line.split()[1:]) == 1
    assert "VIOLATION" in capsys.readouterr().out


def test_nothing_lasts_longer_than_healing() -> None:
    """On the slowest disk work that began in time ends before everything must answer again."""
    with World(1) as world:

        async def program(_process: Process) -> None:
            return None

        machine = world.machine("slow", program)
        machine.slowness = 1e6
        process = Process(machine, life=1)
        assert max(process.work_s() for _ in range(100)) < HEALED_S_MAX


def test_a_seed_leaves_nothing_behind() -> None:
    """An explorer plays thousands of seeds in one process."""
    simulate(LONELY, 1)
    before = len(apsw.vfs_names()), len(gc.get_objects())
    for _ in range(2):
        simulate(LONELY, 1)
    assert len(apsw.vfs_names()) == before[0]
    assert len(gc.get_objects()) < before[1] + 2_000


def test_what_never_happened_fails_an_exploration() -> None:
    """Enough seeds without the events that a scenario is about prove less than they seem to."""
    found = Exploration(CROWDED)
    found.seeds = 100
    assert found.never == sorted(CROWDED.interesting)
    found.counts.update(CROWDED.interesting)
    assert found.never == []
