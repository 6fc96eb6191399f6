"""`dstore placement`: where the ranges of tables are."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from dstore.cli import losses, moves
from dstore.cli.answers import pages_of_control
from dstore.cli.client import client, path_of
from dstore.cli.command import TEXT, Noun
from dstore.cli.component_list import short_id
from dstore.cli.connection import Surface
from dstore.cli.options import calls_admin
from dstore.cli.output import Column, Page, is_json, print_list
from dstore.cli.sizes import size_text

_HASHES: Final = 1 << 32
_TENANT_DEFAULT: Final = "default"

RANGE_COLUMNS: Final = (
    Column(heading="TENANT", key="tenant"),
    Column(heading="TABLE", key="table"),
    Column(heading="HASHES", key="hashes"),
    Column(heading="SHARE", key="share"),
    Column(heading="NODE", key="nodeShort"),
    Column(heading="EPOCH", key="epoch"),
    Column(heading="HELD", key="held"),
    Column(heading="SYNC", key="sync"),
    Column(heading="SIZE", key="size"),
    Column(heading="REQ/S", key="requestsPerS"),
    Column(heading="OTHERS", key="others"),
    Column(heading="WHY", key="why", is_data=True),
)


@click.group(cls=Noun)
def placement() -> None:
    """Placement: which nodes have which part of which table.

    Control places the ranges of a table over zones and nodes when it is made. Each has a primary,
    and maybe replicas on other nodes.
    """


@placement.command(example="dstore placement show orders --tenant acme")
@click.argument("table", required=False, type=TEXT, help="One table; all if left out.")
@click.option(
    "--tenant",
    metavar="TENANT",
    help=f"Whose tables; of all tenants if no table is named.  [default: {_TENANT_DEFAULT}]",
)
@calls_admin
def show(*, table: str | None, tenant: str | None) -> None:
    """Show the ranges of a table, of a tenant's tables, or of all."""
    query = {}
    if table is not None:
        query = {"tenant": tenant or _TENANT_DEFAULT, "table": table}
    elif tenant is not None:
        query = {"tenant": tenant}
    server = client(Surface.ADMIN)
    path = path_of("admin", "v1", "placement")
    found = pages_of_control(server, path, key="ranges", query=query)
    print_list("RangeList", RANGE_COLUMNS, found if is_json() else _for_people(found))


def _for_people(pages: Iterator[Page]) -> Iterator[Page]:
    for page in pages:
        rows = [range_for_people(json.loads(row)) for row in page.rows]
        yield Page(rows=[json.dumps(row).encode() for row in rows], after=page.after)


def range_for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a range what a table shows in the place of its bounds and its node's whole id."""
    low, high = row.get("lowHash"), row.get("highHash")
    if not isinstance(low, int) or not isinstance(high, int):
        return dict(row)
    return {
        **row,
        "hashes": f"{low:08x}-{high:08x}",
        "share": f"{(high - low + 1) * 100 / _HASHES:.1f} %",
        "nodeShort": short_id(row.get("node")),
        "sync": _sync(row),
        "size": size_text(row.get("storedBytes")),
        "others": _others(row) or None,
    }


def _sync(row: Mapping[str, Any]) -> str | None:
    """Say how many replicas are in sync and alive, of how many there should be."""
    if not (factor := row.get("factor")):
        return None
    replicas = row.get("replicas") or ()
    living = sum(each.get("state") == "in_sync" and bool(each.get("isAlive")) for each in replicas)
    words = [f"{living}/{factor}"]
    if row.get("isReadOnly"):
        words.append("read-only")
    if row.get("possibleLoss"):
        words.append("may have lost writes")
    return " ".join(words)


def _others(row: Mapping[str, Any]) -> str:
    """Name the nodes that have the range beside its primary, and what is the matter with them."""
    words = []
    for each in row.get("replicas") or ():
        if each.get("node") == row.get("node"):
            continue
        state = "" if each.get("state") == "in_sync" else f" {each.get('state')}"
        words.append(f"{short_id(each.get('node'))}{'' if each.get('isAlive') else ' dead'}{state}")
    return ", ".join(words)


for _command in (
    moves.plan,
    moves.apply,
    moves.pause,
    moves.resume,
    moves.abort,
    moves.split,
    losses.accept_loss,
    losses.clear_loss,
):
    placement.add_command(_command)
