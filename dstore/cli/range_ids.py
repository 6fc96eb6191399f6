"""Ranges, named by their ids or by how these begin."""

from __future__ import annotations

import json

import click

from dstore.cli.answers import pages_of_control
from dstore.cli.client import Client, path_of
from dstore.cli.command import TEXT
from dstore.cli.component_list import UUID_CHARS
from dstore.cli.failures import ExitCode, Failure, usage
from dstore.cli.options import asked

range_argument = click.argument(
    "range_id",
    metavar="RANGE",
    type=TEXT,
    help="Its id, or how it begins; dstore table show and placement show -o json tell it.",
)


def find_range(server: Client, given: str) -> str:
    """Find the id that begins as it was typed, among the ranges of all tables.

    Raises: Failure: none begins so, or several do.
    """
    if len(given) >= UUID_CHARS or asked().print_curl:
        return given
    listed = pages_of_control(server, path_of("admin", "v1", "placement"), key="ranges")
    ids = [str(json.loads(row).get("rangeId")) for page in listed for row in page.rows]
    found = [each for each in ids if each.startswith(given.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise usage(f"{len(found)} ranges begin with {given}; type more of it.")
    raise Failure(
        f"There is no range {given}; dstore placement show -o json lists those there are.",
        exit_code=ExitCode.NOT_FOUND,
    )
