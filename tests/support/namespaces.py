"""Network namespaces, each with an address and a cable that can be pulled; only for root.

    with namespaces(["node-1", "node-2"], network="10.213.7") as machines:
        command = [*machines.prefix("node-1"), "dstore", "serve"]     # at 10.213.7.11
        with machines.cut("node-1"):
            …                                # nothing gets through, and nobody is told

This machine itself is at .1. Everything made here is named after this process and removed.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

_NOBODY: Final = "02:00:00:00:00:01"  # no machine of the switch has it
_NAMED: Final = f"ds{os.getpid()}"  # 15 letters at most with what follows


class Namespaces:
    """Machines on one switch."""

    def __init__(self, network: str) -> None:
        """Be told of what there is."""
        self._network = network

    def prefix(self, name: str) -> tuple[str, ...]:
        """Give the program that runs another one there, keeping its process id."""
        return ("ip", "netns", "exec", f"{_NAMED}-{name}")

    @contextmanager
    def cut(self, name: str) -> Iterator[None]:
        """Let nothing through to one machine or from it."""
        _ip("link", "set", _cable(name), "down")
        try:
            yield
        finally:
            _ip("link", "set", _cable(name), "up")

    @contextmanager
    def muted(self, name: str) -> Iterator[None]:
        """Lose what one machine sends to this one; it hears all, and the others hear it."""
        at = ("-n", f"{_NAMED}-{name}", "neigh")
        host = (f"{self._network}.1", "dev", "eth0")
        _ip(*at, "replace", *host, "lladdr", _NOBODY, "nud", "permanent")
        try:
            yield
        finally:
            _ip(*at, "del", *host)


def is_possible() -> bool:
    """Tell whether this user may make namespaces."""
    return os.geteuid() == 0


def any_network() -> str:
    """Draw a network, as `namespaces` takes it."""
    chance = random.SystemRandom()
    return f"10.{chance.randrange(200, 250)}.{chance.randrange(250)}"


@contextmanager
def namespaces(hosts: Sequence[tuple[str, str]], *, network: str) -> Iterator[Namespaces]:
    """Make a switch and machines on it, given by names that end in a number, and addresses."""
    switch = f"{_NAMED}sw"
    with ExitStack() as ending:
        _ip("link", "add", switch, "type", "bridge")
        ending.callback(_ip, "link", "del", switch)
        _ip("addr", "add", f"{network}.1/24", "dev", switch)
        _ip("link", "set", switch, "up")
        for name, address in hosts:
            machine, cable = f"{_NAMED}-{name}", _cable(name)
            _ip("netns", "add", machine)
            ending.callback(_ip, "netns", "del", machine)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", machine)
            _ip("link", "set", cable, "master", switch)
            _ip("link", "set", cable, "up")
            _ip("-n", machine, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", machine, "link", "set", device, "up")
        yield Namespaces(network)


def _cable(name: str) -> str:
    return f"{_NAMED}p{name.rpartition('-')[2]}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=30)
