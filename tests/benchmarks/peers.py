"""Calls between two processes: how many a second, and what one costs each side.

One connection over loopback with mutual TLS, a call of 64 bytes answered at once, IN_FLIGHT at a
time; then the same with a handler that is a coroutine, as many over eight connections in turn (as
a proxy calls eight nodes, and a node answers eight proxies), and one call at a time. Two processes,
so that "a core" means the CPU of one side; with both on one core it is the sum of the two.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import uvloop

from dstore.base.logging import LogLevel, configure
from dstore.replication.peers.port import Peer
from tests.support.peers import (
    NODE,
    PROXY,
    Echo,
    Node,
    Wait,
    credentials_in,
    remote,
    served,
)

IN_FLIGHT: Final = 256
LINKS: Final = 8
DATA: Final = b"x" * 64
_US: Final = 1_000_000


def cpu_s() -> float:
    """Return the CPU this process has used, in user and system time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def serve(directory: Path, pipe: Connection) -> None:
    """Be the node: tell the address, then its CPU at each question, until told to end."""

    async def run() -> None:
        node = Node()
        node.go.set()
        context = credentials_in(directory / "node", NODE)
        async with served(node.methods, context.server) as at:
            pipe.send(at.url)
            gc.freeze()
            asked = asyncio.Event()
            asyncio.get_running_loop().add_reader(pipe.fileno(), asked.set)
            while True:
                await asked.wait()
                asked.clear()
                if pipe.recv() == "end":
                    break
                pipe.send(cpu_s())
            asyncio.get_running_loop().remove_reader(pipe.fileno())

    uvloop.run(run())


async def measure(
    call: Callable[[], Awaitable[object]], *, lanes: int, for_s: float
) -> tuple[int, float]:
    """Call in `lanes` lanes for so many seconds. Returns: calls made, and seconds taken."""
    until = time.perf_counter() + for_s
    made = 0

    async def lane() -> None:
        nonlocal made
        while time.perf_counter() < until:
            for _ in range(8):
                await call()
                made += 1

    started = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    return made, time.perf_counter() - started


async def bench(url: str, directory: Path, pipe: Connection, for_s: float) -> None:
    """Be the proxy: measure and print."""
    context = credentials_in(directory / "proxy", PROXY)
    peers: list[Peer] = [remote(url, context) for _ in range(LINKS)]
    peer = peers[0]
    turns = itertools.cycle(peers)
    kinds: tuple[tuple[str, Callable[[], Awaitable[object]], int], ...] = (
        ("answered at once", lambda: peer.call(Echo(DATA), deadline_s=10), IN_FLIGHT),
        ("by a coroutine", lambda: peer.call(Wait(DATA), deadline_s=10), IN_FLIGHT),
        ("over 8 connections", lambda: next(turns).call(Echo(DATA), deadline_s=10), IN_FLIGHT),
        ("32 over 8", lambda: next(turns).call(Echo(DATA), deadline_s=10), 32),
        ("one at a time", lambda: peer.call(Echo(DATA), deadline_s=10), 1),
    )
    print(f"{'':18} in flight   calls/s   caller us   answerer us   calls/s on one core")
    for name, call, lanes in kinds:
        await measure(call, lanes=lanes, for_s=for_s / 4)
        pipe.send("cpu")
        there_s, here_s = pipe.recv(), cpu_s()
        made, took_s = await measure(call, lanes=lanes, for_s=for_s)
        pipe.send("cpu")
        there_us = (pipe.recv() - there_s) / made * _US
        here_us = (cpu_s() - here_s) / made * _US
        print(
            f"{name:18} {lanes:9} {made / took_s:9,.0f} {here_us:11.2f} {there_us:13.2f} "
            f"{_US / (here_us + there_us):21,.0f}"
        )
    await asyncio.gather(*(one.close() for one in peers))
    pipe.send("end")


def main() -> None:
    """Read the options and run both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    measure_peers(parser.parse_args().seconds)


def measure_peers(seconds: float) -> None:
    """Start the node's process, measure from this one, print."""
    configure(level=LogLevel.ERROR)
    here, there = multiprocessing.get_context("fork").Pipe()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        server = multiprocessing.get_context("fork").Process(
            target=serve, args=(directory, there), daemon=True
        )
        server.start()
        uvloop.run(bench(here.recv(), directory, here, seconds))
        server.join(10)


if __name__ == "__main__":
    main()
