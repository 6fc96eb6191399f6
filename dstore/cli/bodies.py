"""Reading a request's body from a file or from stdin."""

import sys
from pathlib import Path
from typing import Final

import click

from dstore.base.limits import MIB
from dstore.cli.curl import STDIN, BodyFile
from dstore.cli.failures import usage
from dstore.cli.options import asked
from dstore.cli.output import note

# What a body file may have; the server's own, lower limit is the server's to state.
BODY_BYTES_MAX: Final = 64 * MIB


def read_body(file: BodyFile) -> bytes:
    """Read a body from a file or from stdin.

    Raises: Failure(USAGE): it can't be read, or is beyond all bounds.
    """
    if file.name == STDIN and asked().token_file == STDIN:
        raise usage("The token and the body can't both come from stdin: give one a file.")
    try:
        if file.name == STDIN and sys.stdin.isatty() and file.is_secret:
            body = click.prompt("Secret", hide_input=True, err=True).encode()
        elif file.name == STDIN:
            if sys.stdin.isatty():
                note("Type a JSON object and end it with Ctrl-D.")
            body = sys.stdin.buffer.read(BODY_BYTES_MAX + 1)
        else:
            with Path(file.name).open("rb") as source:
                body = source.read(BODY_BYTES_MAX + 1)
    except OSError as error:
        raise usage(f"{file.name} can't be read: {error.strerror}.") from None
    if len(body) > BODY_BYTES_MAX:
        raise usage(f"{file.name} has more than {BODY_BYTES_MAX} bytes; no item is so large.")
    return file.encode(body)
