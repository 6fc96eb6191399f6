"""How a command fails: one sentence on stderr, and an exit status that a script can tell apart."""

from enum import IntEnum
from typing import IO, Any

import click

from dstore.cli.text import printable


class ExitCode(IntEnum):
    """What the process answers to the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2  # click's own number for a command it does not understand
    UNSAFE = 3  # something would be destroyed and nobody said --yes, or is still needed
    NOT_FOUND = 4
    TIMEOUT = 5  # no answer in time, or a write of which nobody knows whether it happened
    INTERRUPTED = 130  # 128 + SIGINT, as shells count
    PIPE_CLOSED = 141  # 128 + SIGPIPE: the reader, such as head, had enough


class Failure(click.ClickException):
    """End the command: the message is a sentence, or more, that says what to do."""

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.FAILED) -> None:
        """Carry the sentence and the exit status."""
        super().__init__(message)
        self.exit_code = int(exit_code)  # type: ignore[misc]  # click reads the instance's

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence on stderr, harmless to a terminal wherever its parts came from."""
        click.echo(f"dstore: {printable(self.message)}", file=file, err=file is None)


def usage(message: str) -> Failure:
    """Make the failure of a command that can't be carried out as it was typed."""
    return Failure(message, exit_code=ExitCode.USAGE)
