"""Runs wrk with requests that were written ahead."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CONNECTIONS: Final = 32
TIMEOUT_S: Final = 2  # wrk's own
_SCRIPT: Final = Path(__file__).with_name("replay.lua")


class WrongAnswers(Exception):
    """Some answers were not what the benchmark measures, so that its figures say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What wrk measured in one run."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    """Write whole HTTP/1.1 requests to a file, as replay.lua reads them."""
    with path.open("wb") as file:
        for request in requests:
            file.write(b"%d\n%b" % (len(request), request))


def replay(
    url: str,
    requests: Path,
    *,
    seconds: int,
    pattern: str | None = None,
    connections: int = CONNECTIONS,
    timeout_s: int = TIMEOUT_S,
) -> Figure:
    """Send the requests of a file in turn, over so many connections from one thread.

    Args:
        url: scheme, host and port.
        requests: from `write_requests`.
        seconds: for so long.
        pattern: a Lua pattern that every body must match; costs wrk some time an answer.
        connections: each has one request under way at a time.
        timeout_s: an answer that takes longer counts as a broken connection.

    Raises: WrongAnswers: an answer not 2xx or not matching, a broken connection, or no answers.
    """
    load = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{timeout_s}s"]
    command = ["wrk", *load, "-s", str(_SCRIPT), url]
    arguments = ["--", str(requests), *([] if pattern is None else [pattern])]
    printed = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(printed.stdout.rstrip().splitlines()[-1])
    if found["not_2xx"] or found["wrong"] or found["broken"] or not found["requests"]:
        raise WrongAnswers(f"{requests.stem} at {url}: {found}")
    return Figure(
        requests_per_s=found["requests"] * 1e6 / found["duration_us"],
        p50_ms=found["p50_us"] / 1_000,
        p99_ms=found["p99_us"] / 1_000,
    )
