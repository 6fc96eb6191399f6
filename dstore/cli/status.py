"""`dstore status`: how the server is."""

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from dstore.cli.answers import document
from dstore.cli.client import Request, client, path_of
from dstore.cli.command import Leaf
from dstore.cli.connection import Surface
from dstore.cli.failures import ExitCode
from dstore.cli.options import calls_admin
from dstore.cli.output import emit, is_json, print_thing
from dstore.cli.text import printable

_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
_UNIT_STEP: Final = 1_024
_COLOURS: Final = {"HEALTH_OK": "green", "HEALTH_WARN": "yellow", "HEALTH_ERR": "red"}


@click.command(cls=Leaf, example="dstore status -o json")
@calls_admin
def status() -> None:
    """Tell how the server is.

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
    node = found.get("node") or {}
    disk = found.get("disk") or {}
    shown = {
        "node": node.get("uuid"),
        "version": node.get("version"),
        "up": f"{_duration(node.get('uptimeSeconds'))}, since {node.get('startedAt')}",
        "roles": ", ".join(map(str, node.get("roles") or ())),
        "location": node.get("location"),
        "tenants": found.get("tenants"),
        "tables": found.get("tables"),
        "items": found.get("entries"),
        "files open": found.get("filesOpen"),
        "queued": (found.get("queue") or {}).get("deferred"),
        "disk used": _size(disk.get("usedBytes")),
        "disk free": _size(disk.get("freeBytes")),
    }
    known = {name: value for name, value in shown.items() if value not in {None, ""}}
    print_thing("Status", found, known)


def _coloured(health: str) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return printable(health)
    return click.style(printable(health), fg=_COLOURS.get(health, "red"), bold=True)


def _duration(seconds: object) -> str:
    """Spell a duration by its two largest units."""
    if not isinstance(seconds, int | float):
        return "?"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h"
    if hours:
        return f"{hours} h {minute} min"
    return f"{minutes} min {second} s" if minutes else f"{second} s"


def _size(count: object) -> str | None:
    if not isinstance(count, int):
        return None
    size, unit = float(count), 0
    while size >= _UNIT_STEP and unit < len(_UNITS) - 1:
        size, unit = size / _UNIT_STEP, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
