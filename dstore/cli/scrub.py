"""`dstore table scrub`: have all replicas of a table read whole and compared, and tell."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from dstore.cli.answers import document
from dstore.cli.client import Client, Request, client, path_of
from dstore.cli.command import TEXT, Leaf
from dstore.cli.component_list import short_id
from dstore.cli.connection import Surface
from dstore.cli.failures import ExitCode
from dstore.cli.options import asked, calls_admin, tenant_option
from dstore.cli.output import Column, emit, is_json, note, print_result, print_rows
from dstore.cli.sizes import size_text

_POLL_S: Final = 0.5
_CALM: Final = 2  # answers in a row without work left: a range may be on its way to another primary
_WORK: Final = frozenset({"waiting", "running", "repairing"})
_COLUMNS: Final = (
    Column(heading="HASHES", key="hashes"),
    Column(heading="PRIMARY", key="node"),
    Column(heading="STATE", key="state"),
    Column(heading="READ", key="done"),
    Column(heading="DAMAGED", key="damaged"),
    Column(heading="DIFFERENT", key="different"),
    Column(heading="WHY", key="why", is_data=True),
)

_name_argument = click.argument("name", type=TEXT, help="The table's name.")


@click.command(cls=Leaf, example="dstore table scrub orders")
@_name_argument
@click.option("--no-wait", is_flag=True, help="Begin it, and do not wait for its end.")
@tenant_option
@calls_admin
def scrub(*, name: str, no_wait: bool, tenant: str) -> None:
    """Read all copies of a table whole, compare them, and repair what is damaged.

    Every table is scrubbed by itself from time to time; this does it now, and tells how it goes.
    The exit status is 1 if something was found that is not repaired.
    """
    server = client(Surface.ADMIN)
    path = path_of("admin", "v1", "scrub", tenant, name)
    begin = Request(method="POST", path=path)
    found: Mapping[str, Any] = document(server.call(begin))
    if not no_wait and not asked().print_curl:
        found = _followed(server, Request(method="GET", path=path))
    ranges = found.get("ranges") or ()
    table = f"table {name} of tenant {tenant}"
    if no_wait:
        print_result("Scrub", found, sentence=f"The scrub of {table} has begun.")
        return
    is_open = any(each.get("isOpen") for each in ranges)
    if not is_json() and any(each.get("why") for each in ranges):
        print_rows(_COLUMNS, map(_for_people, ranges))
        emit("\n")
    print_result("Scrub", found, sentence=f"Scrubbed: {table}: {_end(found, is_open=is_open)}.")
    if is_open:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _end(found: Mapping[str, Any], *, is_open: bool) -> str:
    """Say what was found, and what became of it."""
    ranges = found.get("ranges") or ()
    damaged, different = (
        sum(int(each.get(key) or 0) for each in ranges) for key in ("damaged", "different")
    )
    if damaged or different:
        mended = "which is not all repaired" if is_open else "all of which is repaired"
        return f"{damaged} damaged copies and {different} different items were found, {mended}"
    return "not all copies could be read" if is_open else "all copies are the same"


def _followed(server: Client, request: Request) -> Mapping[str, Any]:
    """Ask until nothing is left to do, and say when something changed."""
    said, calm = "", 0
    while True:
        time.sleep(_POLL_S)
        found = document(server.call(request))
        ranges = found.get("ranges") or ()
        calm = 0 if any(each.get("state") in _WORK for each in ranges) else calm + 1
        if calm >= _CALM:
            return found
        line = _line(ranges)
        if line != said:
            note(line)
            said = line


def _line(ranges: Sequence[Mapping[str, Any]]) -> str:
    """Say how far all of them are."""
    done = sum(int(each.get("doneBytes") or 0) for each in ranges)
    working = [str(each.get("state")) for each in ranges if each.get("state") in _WORK]
    counts = ", ".join(f"{working.count(word)} {word}" for word in sorted(set(working)))
    return f"{size_text(done)} read; ranges: {counts or 'all done'}"


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "hashes": f"{row.get('lowHash', 0):08x}-{row.get('highHash', 0):08x}",
        "node": short_id(row.get("node")),
        "done": size_text(row.get("doneBytes")),
    }
