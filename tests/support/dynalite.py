"""Run dynalite, an independent DynamoDB server on Node, in memory and on a free port.

    with running_dynalite() as url:              # "http://127.0.0.1:40123"
        client = boto3.client("dynamodb", endpoint_url=url, region_name="us-east-1", ...)

It is installed on the first use, see `node_packages`. Any access key and secret will do: it
demands that a signature stands there and does not check it.

`python -m tests.support.dynalite [PORT]` prints its URL and runs it until Ctrl-C.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.support.node_packages import installed

PACKAGE: Final = "dynalite@4.0.0"
DEFAULT_DELAY_MS: Final = 500  # dynalite's own: how long a table is CREATING
_STOP_S: Final = 10.0

# What its command line does, but on a port of the system's choice: `--port 0` is 4567 there.
_PROGRAM: Final = """
const [options, port] = process.argv.slice(1).map(JSON.parse)
const server = require('dynalite')(options).listen(port, '127.0.0.1', () =>
  console.log('http://127.0.0.1:' + server.address().port))
"""


class NotStarted(Exception):
    """The process ended before it listened; the message is what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynalite:
    """A running dynalite."""

    url: str
    pid: int


@contextmanager
def dynalite_process(
    *, table_delay_ms: int = DEFAULT_DELAY_MS, port: int = 0
) -> Iterator[Dynalite]:
    """Start dynalite; at the end stop it.

    Args:
        table_delay_ms: how long a table stays CREATING, UPDATING, DELETING.
        port: 0 takes a free one.

    Raises: node_packages.NoNode, NotStarted.
    """
    delays = dict.fromkeys(("createTableMs", "updateTableMs", "deleteTableMs"), table_delay_ms)
    command = ["node", "-e", _PROGRAM, json.dumps(delays), str(port)]
    with subprocess.Popen(
        command,
        cwd=installed(PACKAGE),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not re.fullmatch(r"http://127\.0\.0\.1:\d+", url):
                raise NotStarted(f"dynalite said {url!r} instead of its URL")
            yield Dynalite(url=url, pid=process.pid)
        finally:
            _stop(process)


@contextmanager
def running_dynalite(*, table_delay_ms: int = 20, port: int = 0) -> Iterator[str]:
    """Start dynalite for tests, whose tables are ready soon. Yields: its URL."""
    with dynalite_process(table_delay_ms=table_delay_ms, port=port) as started:
        yield started.url


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


def main() -> None:
    """Run it until Ctrl-C."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    try:
        with running_dynalite(port=port) as url:
            sys.stdout.write(f"{url}\n")
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
