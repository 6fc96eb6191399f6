"""Packages of npm that tests and benchmarks use, installed once into the ignored folder .node.

    directory = installed("dynalite@4.0.0")     # require("dynalite") works from there

Needs node and npm on PATH; the first call of a package and version needs the registry.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".node"
NODE_MAJOR_MIN: Final = 20
_INSTALL_S: Final = 300.0
_TAIL_CHARS: Final = 2_000


class NoNode(Exception):
    """Node or npm is absent or too old, or the registry gave nothing; the message says which."""


def installed(*packages: str) -> Path:
    """Install packages unless they are there; waits while another process installs the same.

    Args:
        packages: `name@version` each; a scope is part of the name.

    Returns: the folder whose node_modules has them.

    Raises: NoNode.
    """
    _check_node()
    directory = CACHE / re.sub(r"[^\w.@+-]+", "-", "+".join(packages))
    stamp = directory / ".installed"
    if not stamp.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not stamp.exists():
                _install(directory, packages)
                stamp.touch()
    return directory


def _install(directory: Path, packages: tuple[str, ...]) -> None:
    # A package.json of its own: npm would look for one in the folders above.
    (directory / "package.json").write_text('{"private": true}\n')
    command = ["npm", "install", "--no-audit", "--no-fund", "--save-exact", *packages]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=_INSTALL_S, check=False
    )
    if done.returncode != 0:
        raise NoNode(f"{' '.join(command)} failed: {done.stderr[-_TAIL_CHARS:]}")


def _check_node() -> None:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NoNode(f"{program} is not on PATH; Node {NODE_MAJOR_MIN} or later is needed")
    said = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if int(said.removeprefix("v").split(".")[0]) < NODE_MAJOR_MIN:
        raise NoNode(f"Node {NODE_MAJOR_MIN} or later is needed; node is {said}")
