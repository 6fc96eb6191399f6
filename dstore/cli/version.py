"""`dstore version`."""

import platform

import click

from dstore import __version__
from dstore.cli.command import Leaf
from dstore.cli.options import prints
from dstore.cli.output import emit, is_json, print_object


@click.command(cls=Leaf, example="dstore version")
@prints
def version() -> None:
    """Print the version."""
    if is_json():
        print_object("Version", {"version": __version__, "python": platform.python_version()})
    else:
        emit(f"dstore {__version__}\n")
