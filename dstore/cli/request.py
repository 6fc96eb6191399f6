"""`dstore request`: what became of a write that was queued with --async."""

import time
from typing import Any, Final

import click

from dstore.base.clock import NS_PER_S, SystemClock
from dstore.cli.answers import document
from dstore.cli.client import Client, Request, client, path_of
from dstore.cli.command import TEXT, Noun
from dstore.cli.connection import Surface
from dstore.cli.failures import ExitCode, Failure
from dstore.cli.options import asked, calls_v1, tenant_option
from dstore.cli.output import print_thing
from dstore.cli.problems import exit_code_of

_POLL_S: Final = 0.1


@click.group(cls=Noun)
def request() -> None:
    """Requests that were queued with --async."""


@request.command(example="dstore request show 5d0fd2a6-9c1d-4a57-8a1e-0b1f3a2f9c11 --wait")
@click.argument("request_id", metavar="ID", type=TEXT, help="What --async printed.")
@click.option("--wait", is_flag=True, help="Wait until it is done, as long as --timeout says.")
@tenant_option
@calls_v1
def show(*, request_id: str, wait: bool, tenant: str) -> None:
    """Tell what became of a queued request; once it is done, the exit status is its own."""
    server = client(Surface.V1)
    found = _found(server, tenant, request_id)
    clock = SystemClock()
    deadline_ns = clock.monotonic_ns() + int(asked().timeout_s * NS_PER_S)
    while wait and found.get("state") != "done":
        if clock.monotonic_ns() > deadline_ns:
            raise Failure(
                f"Request {request_id} is still queued after {asked().timeout_s:g} s; ask again, "
                "or wait longer with --timeout.",
                exit_code=ExitCode.TIMEOUT,
            )
        time.sleep(_POLL_S)
        found = _found(server, tenant, request_id)
    shown = {
        "request": request_id,
        "state": found.get("state"),
        "status": found.get("status", ""),
        "detail": found.get("detail", ""),
    }
    print_thing("Request", found, {name: value for name, value in shown.items() if value})
    status = found.get("status")
    if found.get("state") == "done" and isinstance(status, int):
        raise click.exceptions.Exit(exit_code_of(status))


def _found(server: Client, tenant: str, request_id: str) -> dict[str, Any]:
    path = path_of("v1", "tenant", tenant, "request", request_id)
    return document(server.call(Request(method="GET", path=path)))
