"""Asking before something is destroyed that nobody can bring back."""

import sys

import click

from dstore.cli.failures import ExitCode, Failure
from dstore.cli.options import asked
from dstore.cli.text import printable


def confirm(deed: str, *, yes: bool) -> None:
    """Go on only if the user said --yes, or says so when a terminal asks.

    Args:
        deed: what would happen, in the infinitive: "delete table orders for good".
        yes: whether it was said beforehand.
    Raises: Failure(UNSAFE): nobody said yes.
    """
    if yes or asked().print_curl:
        return
    if not sys.stdin.isatty():
        raise Failure(
            f"This would {deed}. Nothing was done; repeat it with --yes if it is meant.",
            exit_code=ExitCode.UNSAFE,
        )
    if not click.confirm(printable(f"This will {deed}. Go on?"), err=True):
        raise Failure("Nothing was done.", exit_code=ExitCode.UNSAFE)
