"""`dstore status`: how the server is."""

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from dstore.cli.answers import document
from dstore.cli.client import Request, client, path_of
from dstore.cli.cluster_status import print_cluster
from dstore.cli.command import Leaf
from dstore.cli.connection import Surface
from dstore.cli.failures import ExitCode
from dstore.cli.options import calls_admin
from dstore.cli.output import emit, is_json, print_thing
from dstore.cli.sizes import duration_text, size_text
from dstore.cli.text import printable

_PARTS: Final = ("node", "proxy", "control")  # whose process answers
_COLOURS: Final = {"HEALTH_OK": "green", "HEALTH_WARN": "yellow", "HEALTH_ERR": "red"}


@click.command(cls=Leaf, example="dstore status -o json")
@calls_admin
def status() -> None:
    """Tell how the server is.

    Control tells of its whole cluster on one page; the process that leads is marked with *.

    The exit status is 1 if its health is HEALTH_ERR, and 0 if it is HEALTH_OK or HEALTH_WARN.
    """
    answer = client(Surface.ADMIN).call(
        Request(method="GET", path=path_of("admin", "v1", "status"))
    )
    found = document(answer)
    health = str(found.get("health"))
    if is_json():
        print_thing("Status", found, {})
    else:
        _print_health(health, found)
    if health == "HEALTH_ERR":
        raise click.exceptions.Exit(ExitCode.FAILED)


def _print_health(health: str, found: Mapping[str, Any]) -> None:
    emit(_coloured(health) + "\n")
    for check in found.get("checks") or ():
        emit(f"  {printable(str(check.get('code')))}: {printable(str(check.get('message')))}\n")
    cluster = found.get("cluster")
    if isinstance(cluster, dict):
        print_cluster(cluster)
    part = next((name for name in _PARTS if isinstance(found.get(name), dict)), _PARTS[0])
    node = found.get(part) or {}
    disk = found.get("disk") or {}
    shown = {
        part: node.get("uuid"),
        "version": node.get("version"),
        "up": f"{duration_text(node.get('uptimeSeconds'))}, since {node.get('startedAt')}",
        "roles": ", ".join(map(str, node.get("roles") or ())),
        "location": node.get("location"),
        "topology": (found.get("topology") or {}).get("sentence"),
        "tenants": found.get("tenants"),
        "tables": found.get("tables"),
        "items": found.get("entries"),
        "files open": found.get("filesOpen"),
        "queued": (found.get("queue") or {}).get("deferred"),
        "disk used": size_text(disk.get("usedBytes")),
        "disk free": size_text(disk.get("freeBytes")),
    }
    known = {name: value for name, value in shown.items() if value not in {None, ""}}
    print_thing("Status", found, known)


def _coloured(health: str) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return printable(health)
    return click.style(printable(health), fg=_COLOURS.get(health, "red"), bold=True)
