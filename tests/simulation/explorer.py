"""`scripts/simulate`: replay one seed, or explore many on several processors."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

from tests.simulation.accepted import ACCEPTED
from tests.simulation.cramped import CRAMPED
from tests.simulation.departures import DEPARTING, ROLLING
from tests.simulation.elastic import ELASTIC
from tests.simulation.focused import DEPOSED, LONELY, SEVERED, UNSEEN
from tests.simulation.history import Fate
from tests.simulation.index_mutants import INDEX_MUTANTS
from tests.simulation.indexed import INDEXED
from tests.simulation.mutants import MUTANTS
from tests.simulation.plain_cluster import CROWDED, PLAIN
from tests.simulation.replicated import REPLICATED
from tests.simulation.replication_mutants import REPLICATION_MUTANTS
from tests.simulation.returned import RETURNED
from tests.simulation.scanty import SCANTY
from tests.simulation.scenario import Outcome, simulate
from tests.simulation.scrubbed import SCRUBBED
from tests.simulation.split_bereft import BEREFT
from tests.simulation.split_mutants import SPLIT_MUTANTS
from tests.simulation.split_recovered import RECOVERED
from tests.simulation.splitting import SPLIT
from tests.simulation.whole_cluster import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.simulation.mutants import Mutant
    from tests.simulation.scenario import Scenario

SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        PLAIN,
        CROWDED,
        WHOLE,
        ELASTIC,
        INDEXED,
        REPLICATED,
        LONELY,
        DEPOSED,
        SEVERED,
        RETURNED,
        ACCEPTED,
        UNSEEN,
        DEPARTING,
        ROLLING,
        SCRUBBED,
        SPLIT,
        CRAMPED,
        SCANTY,
        SCANTY,
        RECOVERED,
        BEREFT,
    )
}
_MUTANTS: Final = {
    mutant.name: mutant
    for mutant in (*MUTANTS, *REPLICATION_MUTANTS, *SPLIT_MUTANTS, *INDEX_MUTANTS)
}
_SEED_S_MAX: Final = 120.0  # of real time: whoever takes longer blocks for real
_SEEDS_FOR_INTEREST: Final = 100  # fewer prove nothing about what never happened
_CHARS_MAX: Final = 4_000  # of one violation


@dataclass(slots=True)
class Exploration:
    """What came of many seeds."""

    scenario: Scenario
    mutant: Mutant | None = None
    seeds: int = 0
    operations: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Take a seed in."""
        self.seeds += 1
        self.operations += sum(outcome.fates.values())
        self.seconds += outcome.seconds
        self.counts.update(outcome.counts)
        if outcome.violations:
            self.failed.append(outcome)

    @property
    def never(self) -> list[str]:
        """What should have happened and has not, if there were seeds enough for it."""
        if self.seeds < _SEEDS_FOR_INTEREST:
            return []
        return sorted(name for name in self.scenario.interesting if not self.counts[name])


def replay_command(scenario: Scenario, seed: int, mutant: Mutant | None = None) -> str:
    """Spell what plays a seed again, exactly."""
    broken = "" if mutant is None else f" --mutant {mutant.name}"
    return f"scripts/simulate --scenario {scenario.name} --seed {seed}{broken}"


def explore(
    scenario: Scenario, seeds: Iterable[int], *, jobs: int = 1, mutant: Mutant | None = None
) -> Iterator[Outcome]:
    """Play seeds, `jobs` at a time, in their order."""
    name = None if mutant is None else mutant.name
    work = [(scenario.name, seed, name) for seed in seeds]
    if jobs == 1:
        yield from map(_played, work)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_played_in_time, work, chunksize=4)


def _played(work: tuple[str, int, str | None]) -> Outcome:
    name, seed, mutant = work
    with nullcontext() if mutant is None else _MUTANTS[mutant].alive():
        return simulate(SCENARIOS[name], seed)


def _played_in_time(work: tuple[str, int, str | None]) -> Outcome:
    """Play a seed in a process of its own, which ends with a traceback if the seed blocks."""
    faulthandler.dump_traceback_later(_SEED_S_MAX, exit=True)
    gc.freeze()  # as in `main`
    try:
        return _played(work)
    finally:
        faulthandler.cancel_dump_traceback_later()


def main(arguments: list[str]) -> int:
    """Run the command. Returns: its exit code: 1 if something is wrong with the product."""
    options = _parser().parse_args(arguments)
    gc.freeze()  # what is there already is not looked through after each seed
    scenario = SCENARIOS[options.scenario]
    mutant = None if options.mutant is None else _MUTANTS[options.mutant]
    if options.seed is not None:
        return _replay(scenario, options.seed, mutant, shows_trace=options.trace)
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    return _explore(scenario, seeds, mutant, jobs=options.jobs)


def _replay(scenario: Scenario, seed: int, mutant: Mutant | None, *, shows_trace: bool) -> int:
    with nullcontext() if mutant is None else mutant.alive():
        outcome = simulate(scenario, seed, keeps_trace=shows_trace)
    if shows_trace:
        _say(*outcome.lines)
    fates = ", ".join(f"{outcome.fates[fate]} {fate}" for fate in Fate)
    _say(f"seed {seed}: trace {outcome.digest}, {outcome.seconds:.1f} s, operations: {fates}")
    for told in outcome.violations:
        _say(f"VIOLATION: {told}")
    return 1 if outcome.violations else 0


def _explore(scenario: Scenario, seeds: range, mutant: Mutant | None, *, jobs: int) -> int:
    began_s = time.monotonic()
    found = Exploration(scenario, mutant)
    for outcome in explore(scenario, seeds, jobs=jobs, mutant=mutant):
        found.add(outcome)
        for told in outcome.violations:
            _say(f"seed {outcome.seed}: VIOLATION: {told[:_CHARS_MAX]}")
        if outcome.violations:
            _say(f"replay: {replay_command(scenario, outcome.seed, mutant)}")
    took_s = time.monotonic() - began_s
    _say(
        f"{found.seeds} seeds of {scenario.name}, {found.operations} operations, "
        f"{found.seconds / 3_600:.1f} simulated hours in {took_s:.0f} s; "
        f"{len(found.failed)} failed"
    )
    _say(*(f"  {count:>9} {name}" for name, count in sorted(found.counts.items())))
    for name in found.never:
        _say(f"NEVER HAPPENED: {name}; this exploration has proved less than it seems")
    return 1 if found.failed or found.never else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate", description="Play whole clusters in virtual time, from a seed."
    )
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default=PLAIN.name)
    parser.add_argument("--mutant", choices=sorted(_MUTANTS), help="break the product like this")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int, help="replay one seed exactly")
    what.add_argument("--seeds", help="explore from A to B, both included: A-B")
    parser.add_argument("--jobs", type=int, default=1, help="processes for --seeds")
    parser.add_argument("--trace", action="store_true", help="with --seed: show what happened")
    return parser


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
