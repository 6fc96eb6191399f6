"""A program of dStore in a forked process: Python and its libraries are there already.

To import them takes most of what a start of a server costs, and tests start hundreds. The fork is
of a process that has imported them and done nothing else. What runs in it is what `python -m
dstore` runs, with a working directory, an environment and outputs of its own.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

_PRELOADED: Final = ("dstore.daemon", "dstore.cli.serve", "tests.support.forked")
_PR_SET_PDEATHSIG: Final = 1
_DESCRIPTORS_MAX: Final = 1_024


class ForkedProgram:
    """A process, as much of `subprocess.Popen` as a server's start needs."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        outputs: tuple[Path, Path],
    ) -> None:
        """Begin.

        Args:
            arguments: of `dstore`.
            directory: to work in.
            environment: all of it.
            outputs: files that stdout and stderr are appended to.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_PRELOADED))
        self._process: ForkServerProcess = context.Process(
            target=_run,
            args=(
                [*arguments],
                os.fspath(directory),
                dict(environment),
                [os.fspath(each) for each in outputs],
            ),
            daemon=True,  # whoever forgets it does not wait for it
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative after a signal; None: it has not ended."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait for its end. Returns: the exit code. Raises: TimeoutError."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise TimeoutError(f"process {self.pid} has not ended after {timeout} s")
        return code

    def kill(self) -> None:
        """Send SIGKILL; harmless if it has ended."""
        self._process.kill()


def _run(
    arguments: list[str], directory: str, environment: dict[str, str], outputs: list[str]
) -> None:
    """Become the program."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.setsid()
    # Among them is the pipe by whose end the other process knows that nobody needs it any more.
    os.closerange(3, _DESCRIPTORS_MAX)
    for descriptor, path in enumerate([os.devnull, *outputs]):
        flags = os.O_WRONLY | os.O_APPEND if descriptor else os.O_RDONLY
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    sys.argv = ["dstore", *arguments]
    from dstore.cli.program import run

    code = 1
    try:
        code = run(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
