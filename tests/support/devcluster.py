"""`scripts/devcluster`: a cluster of real processes on this machine, as long as it is wanted."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from tests.support.cluster import CLIENT_ENV, Cluster, Refused
from tests.support.cluster_plan import OtherShape, Shape, shape_in
from tests.support.server import ServerEnded

_LOCK_FILE: Final = "lock"
_WATCH_S: Final = 1.0
_NODES_MAX: Final = 32
_PROXIES_MAX: Final = 16
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_HOW_TO_USE: Final = """
The cluster is ready. Clients find addresses and credentials in {env}:

  set -a; . {env}; set +a
  printf 'Authorization: Bearer %s' "$DSTORE_TOKEN" | curl -sS -H @- $DSTORE_URL/v1/tenant
  {aws} dynamodb list-tables
  {dstore} status
  {dstore} node list

  proxies  {proxies}
  admin    {admin}
  logs     {directory}/*/stderr
  etcd     https://{etcd} (certificates in {directory}/etcd)

{keeping}
Stop it with Ctrl-C, or: kill {pid}
"""


class Stopped(BaseException):
    """Somebody wants the cluster to end."""


class InUse(Exception):
    """Another devcluster runs on the directory."""


def main() -> int:
    """Start, tell, wait for a signal or a death, stop. Returns: the exit code."""
    options = _options()
    for number in _SIGNALS:
        signal.signal(number, _stop)
    try:
        with ExitStack() as stack:
            directory = stack.enter_context(_directory(options))
            _run(directory, options, stack)
    except Stopped:
        _print("Stopped.")
        return 0
    except (InUse, OtherShape, Refused, ServerEnded, TimeoutError, AssertionError) as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        sys.stderr.write(f"scripts/devcluster: {error}{notes}\n")
        return 1
    _print("Stopped.")
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/devcluster", description=__doc__)
    parser.add_argument("--nodes", type=_count(_NODES_MAX), default=None, help="data nodes (3)")
    parser.add_argument("--proxies", type=_count(_PROXIES_MAX), default=None, help="proxies (2)")
    parser.add_argument(
        "--controls",
        type=_count(5),
        default=None,
        help="control processes (1); more want --postgres",
    )
    parser.add_argument("--workers", type=_count(16), default=None, help="of each proxy (1)")
    parser.add_argument(
        "--postgres",
        action="store_true",
        default=None,
        help="control keeps its store in a PostgreSQL of its own, not in SQLite",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="DIR",
        help="where everything lies; kept, and gone on with at the next start",
    )
    parser.add_argument("--keep", action="store_true", help="keep the directory without --dir, too")
    options = parser.parse_args()
    if (options.controls or 1) > 1 and not options.postgres:
        parser.error("several controls share one PostgreSQL: add --postgres")
    return options


def _count(most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        number = int(text)
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(f"1 to {most}")
        return number

    return count


@contextmanager
def _directory(options: argparse.Namespace) -> Iterator[Path]:
    """Give the directory, locked; one that nobody named is removed at the end."""
    is_kept = options.keep or options.dir is not None
    named = options.dir.absolute() if options.dir is not None else None
    directory = named or Path(tempfile.mkdtemp(prefix="dstore-devcluster-"))
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK_FILE).open("a") as lock:
        _take(lock, directory)
        try:
            yield directory
        finally:
            if not is_kept:
                shutil.rmtree(directory, ignore_errors=True)


def _take(lock: IO[str], directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUse(f"Another devcluster runs on {directory}; stop it first.") from None


def _run(directory: Path, options: argparse.Namespace, stack: ExitStack) -> None:
    """Serve until `Stopped` is raised, or return when a process has ended by itself."""
    began = time.monotonic()
    shape = _shape(directory, options)
    _print(f"Starting {_spoken(shape)} in {directory}")
    cluster = Cluster(directory, shape, say=_say)
    stack.callback(cluster.kill)  # whatever happens, nothing is left running
    try:
        cluster.start()
        _print(f"Started in {time.monotonic() - began:.1f} s.")
        _tell(cluster, is_kept=options.keep or options.dir is not None)
        _watch(cluster)
    finally:
        _print("\nStopping … (a second Ctrl-C ends it at once; nothing acknowledged is lost)")
        cluster.stop()


def _shape(directory: Path, options: argparse.Namespace) -> Shape:
    """Take what was asked for; what was not, is as the directory has it, or the default."""
    former = shape_in(directory) or Shape()
    return Shape(
        nodes=options.nodes or former.nodes,
        proxies=options.proxies or former.proxies,
        controls=options.controls or former.controls,
        workers=options.workers or former.workers,
        has_postgresql=former.has_postgresql if options.postgres is None else options.postgres,
    )


def _spoken(shape: Shape) -> str:
    store = "PostgreSQL" if shape.has_postgresql else "SQLite"
    return (
        f"{shape.controls} control on {store}, {shape.nodes} node(s), {shape.proxies} proxies "
        "and etcd"
    )


def _tell(cluster: Cluster, *, is_kept: bool) -> None:
    directory = cluster.directory
    keeping = (
        f"The directory is kept; scripts/devcluster --dir {directory} goes on with it."
        if is_kept
        else "Everything is removed when it is stopped; --dir DIR keeps it."
    )
    _print(
        _HOW_TO_USE.format(
            env=directory / CLIENT_ENV,
            aws=Path(sys.executable).with_name("aws"),
            dstore=Path(sys.executable).with_name("dstore"),
            proxies=" ".join(proxy.url for proxy in cluster.of_role("proxy")),
            admin=cluster.component("control-1").url,
            directory=directory,
            etcd=cluster.etcd.address,
            keeping=keeping,
            pid=os.getpid(),
        )
    )


def _watch(cluster: Cluster) -> None:
    """Say which process has ended, if one does; the others go on, as in any cluster."""
    gone: set[str] = set()
    while True:
        time.sleep(_WATCH_S)
        for name, component in cluster.components.items():
            if name not in gone and not component.is_running:
                gone.add(name)
                _say(f"{name} has ended; its log is {component.stderr}")


def _say(line: str) -> None:
    _print(f"  {line}")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _stop(_number: int, _frame: object) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(main())
