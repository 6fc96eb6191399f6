"""The composition root: settings → runtime → compose the roles → serve → drain.

Order of a start: lock the directory, open what the roles need, bind the sockets, bring the roles
up, listen, tell clients where (`client.env`), print the banner, be ready. Order of a stop: no new
connections; requests and calls under way end, all of them within one time limit; then role by role,
proxy first and control last, its jobs end and its files close; the lock goes.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import gc
import os
import resource
import shlex
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import uvloop

from dstore import __version__
from dstore.api.http.admission import Admission
from dstore.api.http.listener import CannotListen, Listener
from dstore.base.clock import NS_PER_S, SystemClock
from dstore.base.collector_pauses import measure_collector
from dstore.base.ending import Ending
from dstore.base.entropy import SystemEntropy
from dstore.base.limits import DEPARTURE_PART
from dstore.base.logging import configure, get_logger
from dstore.base.loop_lag import measure_lag
from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks
from dstore.model.errors import Corrupt, DStoreError
from dstore.roles.base import Runtime, Surface
from dstore.roles.registry import (
    Composition,
    RouteClash,
    UnknownRole,
    choose,
    compose,
)
from dstore.security.selftest import check_cipher
from dstore.service.client_env import Addresses
from dstore.workers import supervise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dstore.settings import Settings

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
# The writer threads and the loop take turns: a short interval keeps the loop's latency low, a
# longer one saves switches. Measured with `scripts/bench v1`.
SWITCH_INTERVAL_S: Final = 0.001
# New containers between two looks. Nothing that is kept by the item is among them
# (`storage.entries`), so a look is at what requests under way hold: 14,000 objects in 3 ms with
# 32 BatchWriteItem of 25 at once, and none at all in minutes of single puts and gets.
COLLECTOR_OBJECTS: Final = 20_000
LOCK_FILE: Final = "lock"
PROXY_ROLE: Final = "proxy"
_PR_SET_DUMPABLE: Final = 4

_log = get_logger(__name__)


class CannotStart(Exception):
    """The process cannot serve; the message says what to do."""


def run(settings: Settings) -> int:
    """Serve until told to stop. Returns: the process's exit code."""
    configure(level=settings.log_level, form=settings.log_format)
    _protect_memory()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        check_cipher()
        with _DirectoryLock(settings.data):
            if settings.workers > 1:
                _check_workers(settings)
                return supervise(settings.workers, partial(_work, settings), clock=SystemClock())
            return _work(settings, 0)
    except (CannotStart, DStoreError, OSError) as error:
        return _failed(error)


def _work(settings: Settings, worker: int) -> int:
    """Serve in this process, which is `worker` of those that share its port."""
    try:
        uvloop.run(_serve(settings, worker))
    except (
        CannotStart,
        CannotListen,
        RouteClash,
        UnknownRole,
        DStoreError,
        OSError,
    ) as error:
        return _failed(error)
    return EXIT_OK


def _failed(error: Exception) -> int:
    sys.stderr.write(f"dstore: {_spoken(error)}\n")
    return EXIT_FAILED


def _say_fatal(error: BaseException) -> None:
    """Say why the process ends itself, if that is in words for who operates it."""
    if isinstance(error, DStoreError):
        _failed(error)


def _check_workers(settings: Settings) -> None:
    """Refuse workers where one process has to be the only one."""
    if set(settings.roles) != {PROXY_ROLE} or settings.port == 0:
        raise CannotStart(
            "Only proxies share a port: set workers for the role proxy alone, and a port, or leave "
            "workers out."
        )


def _spoken(error: Exception) -> str:
    """Say in one line what is wrong, and with which file."""
    match error:
        case Corrupt():
            name = error.file.rpartition("/")[2]
            return error.message if name in error.message else f"{name}: {error.message}"
        case OSError():
            where = f" ({error.filename})" if error.filename else ""
            said = error.strerror or str(error)
            return f"The system says: {said}{where}; put that right and start again."
        case _:
            return str(error)


async def _serve(settings: Settings, worker: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stopping, number)
    roles = choose(settings.roles)
    clock, metrics = SystemClock(), create_metrics()
    admission = Admission(metrics)
    ending = Ending(loop, refuse=admission.drain, say=_say_fatal)
    tasks = Tasks(ending, failures=metrics.tasks_failed)
    runtime = Runtime(
        settings=settings,
        clock=clock,
        entropy=SystemEntropy(),
        metrics=metrics,
        admission=admission,
        role_names=tuple(name for role in roles for name in role.parts or (role.name,)),
        started_at_us=clock.wall_us(),
        on_fatal=ending,
        tasks=tasks,
        worker=worker,
    )
    composition = await compose(roles, runtime)
    try:
        await _serve_composed(composition, runtime, stopping=stopping)
    finally:
        await composition.close()
        await tasks.close()
    _log.info("stopped")


async def _serve_composed(
    composition: Composition, runtime: Runtime, *, stopping: asyncio.Event
) -> None:
    settings = runtime.settings
    timeout_s = settings.drain_timeout_s
    listeners = {
        surface: _listener(surface, composition, settings) for surface in composition.applications
    }
    try:
        for listener in listeners.values():
            await listener.bind()
        await composition.prepare()
        for listener in listeners.values():
            await listener.start()
        addresses = _addresses(listeners, settings)
        files = await composition.announce(addresses)
        composition.begin()
        lag = measure_lag(runtime.metrics.loop_lag_seconds, runtime.clock)
        runtime.tasks.spawn(lag, name="measure_lag", critical=True)
        _calm_collector()
        measure_collector(runtime.metrics.collector_longest_seconds, runtime.clock)
        _log.info(
            "ready",
            url=addresses.public_url,
            admin_url=addresses.admin_url,
            peer_url=addresses.peer_url,
        )
        if runtime.worker == 0:
            _print_banner(settings, addresses, files[0] if files else None, runtime=runtime)
        await stopping.wait()
        _log.info("draining")
        began_ns = runtime.clock.monotonic_ns()
        await composition.depart(DEPARTURE_PART * timeout_s)
        timeout_s -= min(timeout_s, (runtime.clock.monotonic_ns() - began_ns) / NS_PER_S)
    finally:
        # At once, so that all of them end within one time limit.
        await asyncio.gather(
            *(listener.stop(timeout_s=timeout_s) for listener in listeners.values()),
            composition.drain(timeout_s),
        )


def _listener(surface: Surface, composition: Composition, settings: Settings) -> Listener:
    """Prepare the listener of a surface: its own context if it has one, else the operator's."""
    host, port = {
        Surface.PUBLIC: (settings.host, settings.port),
        Surface.PEER: (settings.peer_host, settings.peer_port_wanted),
        Surface.ADMIN: (settings.admin_host, settings.admin_port_wanted),
    }[surface]
    context = composition.contexts.get(surface)
    return Listener(
        composition.applications[surface],
        host=host,
        port=port,
        tls_cert=settings.tls_cert if context is None else None,
        tls_key=settings.tls_key if context is None else None,
        tls_context=context,
        shares_port=settings.workers > 1 and surface is Surface.PUBLIC,
    )


def _addresses(listeners: Mapping[Surface, Listener], settings: Settings) -> Addresses:
    """Say where the listeners, which listen, are found."""
    public, peer, admin = (listeners.get(surface) for surface in Surface)
    return Addresses(
        public_url=None if public is None else public.url,
        admin_url=None if admin is None else admin.url,
        peer_url=None if peer is None else settings.peer_url_at(peer.port),
    )


def _print_banner(
    settings: Settings, addresses: Addresses, env_file: Path | None, *, runtime: Runtime
) -> None:
    """Tell a person what runs, and give lines that work when they are pasted."""
    roles = ", ".join(runtime.role_names)
    lines = [f"dStore {__version__} is ready: role {roles}, data in {settings.data}"]
    if addresses.public_url is not None:
        lines.append(f"  DynamoDB  {addresses.public_url}")
        lines.append(f"  v1        {addresses.public_url}/v1/tenant (described at /openapi.json)")
    if addresses.admin_url is not None:
        lines.append(f"  admin     {addresses.admin_url}")
    if addresses.peer_url is not None:
        lines.append(f"  peers     {addresses.peer_url}")
    if env_file is not None and addresses.public_url is not None:
        # printf is the shell's own: the token is in no process's arguments.
        example = (
            """printf 'Authorization: Bearer %s' "$DSTORE_TOKEN" |"""
            """ curl -sS -H @- "$DSTORE_URL/v1/tenant\""""
        )
        source = f". {shlex.quote(str(env_file))}"
        lines += [
            "Try it:",
            f"  set -a; {source}; set +a; aws dynamodb list-tables",
            f"  {source} && {example}",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _on_signal(stopping: asyncio.Event, number: signal.Signals) -> None:
    """Drain at the first signal; end at once at the second, which loses nothing acknowledged."""
    if stopping.is_set():
        os._exit(128 + number)
    stopping.set()


def _calm_collector() -> None:
    """Look for reference cycles seldom, and never among what was made at the start.

    A request leaves none behind, a connection that ends a few objects; the collector's default, a
    look at every 700 new objects, is one every few requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTOR_OBJECTS, 20, 50)


def _protect_memory() -> None:
    """Keep keys out of core files: none is written, and no other user may attach."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class _DirectoryLock:
    """The data directory belongs to one process at a time; the kernel lets go when it dies."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._directory / LOCK_FILE
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotStart(
                f"The data directory {self._directory} can't be used: {error.strerror}."
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(
                f"Another process uses {self._directory}; stop it, or choose another --data."
            ) from None

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
