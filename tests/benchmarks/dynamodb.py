"""dStore's DynamoDB API beside dynalite's: signed requests, wrk at 32 connections, in one run.

Each round measures every workload on one server, then the other, so that a machine that slows
down slows both; the ratio is the median of the rounds'. dStore is durable (fsync) and encrypts,
dynalite keeps plain items in memory. wrk runs beside the server on the same cores. An answer
that is not 2xx ends the run.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from dstore.security.credentials import AccessKey, AccessKeyId
from tests.benchmarks import dynamodb_expiry, dynamodb_indexes, machine
from tests.benchmarks.dynamodb_endpoint import Endpoint
from tests.benchmarks.dynamodb_workloads import ITEM_BYTES, KEYS, WORKLOADS, Workload, check, seed
from tests.benchmarks.profiler import recording, summary
from tests.benchmarks.wrk import CONNECTIONS, Figure, replay, write_requests
from tests.support.dynalite import dynalite_process
from tests.support.server import running

SERVERS: Final = ("dstore", "dynalite")
SECONDS: Final = 8
ROUNDS: Final = 3
WARM_UP_S: Final = 2

Runs = dict[tuple[str, str], list[Figure]]


def main() -> None:
    """Start the servers, load them, measure, print."""
    options = _options()
    print(
        f"{machine.interpreter()}; at the start: {machine.hashing()}; {machine.syncing()}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="dstore-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        endpoints = [stack.enter_context(_started(name, directory)) for name in options.servers]
        for endpoint in endpoints if options.seeds else ():
            seed(endpoint)
        runs = _measured(endpoints, options, directory)
        print(
            f"{CONNECTIONS} connections, items of {ITEM_BYTES} bytes in 10 attributes, {KEYS:,} "
            f"keys, medians of {options.rounds} rounds of {options.seconds} s"
        )
        for line in _table(options, runs):
            print(line)
        if endpoints[0].name == "dstore":
            for line in _lines_of_its_own(endpoints[0], options, directory):
                print(line, flush=True)
        print(f"at the end: {machine.hashing()}; {machine.syncing()}", flush=True)
        if options.profile is not None:
            _profile(endpoints[0], options, directory)


def _options() -> argparse.Namespace:
    alone = (dynamodb_expiry.NAME, dynamodb_indexes.COST, dynamodb_indexes.ADDING)
    names = [*(workload.name for workload in WORKLOADS), *alone]
    parser = argparse.ArgumentParser(prog="scripts/bench dynamodb", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    usual = [name for name in names if name != dynamodb_indexes.ADDING]  # which takes minutes
    parser.add_argument(
        "--only", type=_names_of(names), default=usual, help=f"of {','.join(names)}"
    )
    parser.add_argument(
        "--items",
        type=int,
        default=dynamodb_indexes.LARGE,
        help=f"of the table that {dynamodb_indexes.ADDING} adds an index to",
    )
    parser.add_argument(
        "--servers", type=_names_of(list(SERVERS)), default=list(SERVERS), help=",".join(SERVERS)
    )
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="DIR",
        help="after measuring, record the first server with py-spy during each workload into "
        "DIR/WORKLOAD.folded and print the functions that dominate",
    )
    options = parser.parse_args()
    if options.profile is not None and options.servers[0] != "dstore":
        parser.error("--profile records dStore: name it first among --servers")
    options.workloads = [workload for workload in WORKLOADS if workload.name in options.only]
    options.seeds = bool(options.workloads) or dynamodb_expiry.NAME in options.only
    if not options.workloads and SERVERS[0] in options.servers:  # compared with dStore itself
        options.servers = [SERVERS[0]]
    return options


def _names_of(known: list[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        given = text.split(",")
        if strange := set(given) - set(known):
            raise argparse.ArgumentTypeError(f"no {', '.join(strange)}; there are {known}")
        return given

    return names


def _lines_of_its_own(
    dstore: Endpoint, options: argparse.Namespace, directory: Path
) -> Iterator[str]:
    """Measure what is compared with dStore itself."""
    seconds = options.seconds
    if dynamodb_expiry.NAME in options.only:
        yield from dynamodb_expiry.lines(dstore, directory, seconds=seconds)
    if dynamodb_indexes.COST in options.only:
        yield from dynamodb_indexes.cost_lines(
            dstore, directory, seconds=seconds, rounds=options.rounds
        )
    if dynamodb_indexes.ADDING in options.only:
        yield from dynamodb_indexes.adding_lines(
            dstore, directory, seconds=seconds, items=options.items
        )


@contextmanager
def _started(name: str, directory: Path) -> Iterator[Endpoint]:
    if name == "dynalite":
        with dynalite_process() as dynalite:
            # It demands a signature and does not verify it.
            key = AccessKey(id=AccessKeyId("DYNALITE00000000"), secret="not verified")
            yield Endpoint(name=name, url=dynalite.url, key=key, pid=dynalite.pid)
        return
    with running(directory / name) as server:
        env = server.env()
        key = AccessKey(
            id=AccessKeyId(env["AWS_ACCESS_KEY_ID"]), secret=env["AWS_SECRET_ACCESS_KEY"]
        )
        yield Endpoint(
            name=name,
            url=env["DSTORE_URL"],
            key=key,
            pid=server.pid,
            admin_url=env["DSTORE_ADMIN_URL"],
        )
        server.stop()


def _measured(endpoints: list[Endpoint], options: argparse.Namespace, directory: Path) -> Runs:
    runs: Runs = defaultdict(list)
    for number in range(options.rounds + 1):  # round 0 warms up and is not counted
        seconds = options.seconds if number else WARM_UP_S
        for workload in options.workloads:
            for endpoint in endpoints:
                check(endpoint, workload)
                figure = _measure(endpoint, workload, directory, seconds=seconds, seed=number)
                if number:
                    runs[workload.name, endpoint.name].append(figure)
        if sys.stderr.isatty():
            print(f"round {number} of {options.rounds}", file=sys.stderr)
    return runs


def _measure(
    endpoint: Endpoint, workload: Workload, directory: Path, *, seconds: int, seed: int
) -> Figure:
    path = _written(endpoint, workload, directory, seed=seed)
    return replay(endpoint.url, path, seconds=seconds, pattern=workload.pattern)


def _written(endpoint: Endpoint, workload: Workload, directory: Path, *, seed: int) -> Path:
    # Signed right before they are sent, since a signature is good for 15 minutes.
    rng = random.Random(seed)
    path = directory / f"{workload.name}.requests"
    members = (workload.members(rng) for _ in range(workload.requests))
    write_requests(path, (endpoint.request(workload.operation, one) for one in members))
    return path


def _table(options: argparse.Namespace, runs: Runs) -> Iterator[str]:
    yield (
        f"{'':<12}"
        + "".join(
            f"{f'{server} requests/s':>22}{'p50 ms':>8}{'p99 ms':>8}" for server in options.servers
        )
        + ("   ratio (rounds)      target" if len(options.servers) > 1 else "")
    )
    for workload in options.workloads:
        columns = [runs[workload.name, server] for server in options.servers]
        line = f"{workload.name:<12}" + "".join(map(_column, columns))
        yield line + (_ratio(workload, runs) if len(columns) > 1 else "")
        if workload.items > 1:
            yield f"{'  items/s':<12}" + "".join(
                f"{workload.items * _median(column, 'requests_per_s'):>22,.0f}{'':16}"
                for column in columns
            )


def _column(figures: list[Figure]) -> str:
    rate, p50, p99 = (_median(figures, name) for name in ("requests_per_s", "p50_ms", "p99_ms"))
    return f"{rate:>22,.0f}{p50:>8.2f}{p99:>8.2f}"


def _median(figures: list[Figure], name: str) -> float:
    return median(float(getattr(figure, name)) for figure in figures)


def _ratio(workload: Workload, runs: Runs) -> str:
    ours, theirs = (runs[workload.name, server] for server in SERVERS)
    ratios = [a.requests_per_s / b.requests_per_s for a, b in zip(ours, theirs, strict=True)]
    ratio = median(ratios)
    said = "met" if ratio >= workload.target else "MISSED"
    line = f"{ratio:>8.2f} ({min(ratios):.2f}-{max(ratios):.2f})   >= {workload.target:<4} {said}"
    if workload.p99_target_ms is None:
        return line
    said = "met" if _median(ours, "p99_ms") <= workload.p99_target_ms else "MISSED"
    return f"{line}, p99 <= {workload.p99_target_ms:.0f} ms {said}"


def _profile(endpoint: Endpoint, options: argparse.Namespace, directory: Path) -> None:
    options.profile.mkdir(parents=True, exist_ok=True)
    for workload in options.workloads:
        requests = _written(endpoint, workload, directory, seed=-1)
        path = options.profile / f"{workload.name}.folded"
        with recording(endpoint.pid, path, seconds=options.seconds):
            replay(endpoint.url, requests, seconds=options.seconds, pattern=workload.pattern)
        print(f"\n{workload.name}: {path}")
        for line in summary(path, seconds=options.seconds):
            print(line)


if __name__ == "__main__":
    main()
