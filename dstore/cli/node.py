"""`dstore node`: the data nodes of a cluster."""

from typing import Any

import click

from dstore.cli import node_intents
from dstore.cli.answers import document
from dstore.cli.client import Client, Request, client, json_request, path_of
from dstore.cli.command import TEXT, Noun
from dstore.cli.component_list import (
    NODE_COLUMNS,
    delete_component,
    find_component,
    for_people,
    list_components,
)
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.failures import ExitCode
from dstore.cli.options import calls_admin, dry_run_option, yes_option
from dstore.cli.output import emit, is_json, print_result, print_rows, print_thing
from dstore.cli.placement import RANGE_COLUMNS, range_for_people
from dstore.cli.sizes import size_text

_node_argument = click.argument(
    "node_id", metavar="NODE", type=TEXT, help="Its id, or how it begins."
)


@click.group(cls=Noun)
def node() -> None:
    """Data nodes: what keeps the data of a cluster.

    A node joins with a token, see dstore control token create.
    """


@node.command("list", example="dstore node list")
@click.option("--all", "with_removed", is_flag=True, help="Show those that were removed too.")
@calls_admin
def list_(*, with_removed: bool) -> None:
    """List the nodes and how they are."""
    list_components(
        client(Surface.ADMIN),
        "node",
        key="nodes",
        columns=NODE_COLUMNS,
        with_removed=with_removed,
    )


@node.command(example="dstore node show 3f2a")
@_node_argument
@calls_admin
def show(*, node_id: str) -> None:
    """Show a node and the ranges that it holds."""
    server = client(Surface.ADMIN)
    found = _found(server, find_component(server, "node", node_id, key="nodes"))
    row = for_people(found)
    shown = {
        "node": found.get("id"),
        "zone": row.get("zone"),
        "state": row.get("state"),
        "health": _sentence(row),
        "ranges": _ranges(row),
        "disk free": _disk(found),
        "load": row.get("load"),
        "version": row.get("version"),
        "peers": row.get("url"),
        "joined": row.get("joinedAt"),
    }
    known = {name: value for name, value in shown.items() if value not in {None, ""}}
    print_thing("Node", found, known)
    held = found.get("held") or ()
    if held and not is_json():
        emit("\n")
        print_rows(RANGE_COLUMNS, map(range_for_people, held))


@node.command(example="dstore node maintenance 3f2a")
@_node_argument
@click.option("--off", is_flag=True, help="End it: the node is given new ranges again.")
@calls_admin
def maintenance(*, node_id: str, off: bool) -> None:
    """Give a node nothing new; it goes on serving what it has."""
    server = client(Surface.ADMIN)
    found_id = find_component(server, "node", node_id, key="nodes")
    path = path_of("admin", "v1", "node", found_id, "maintenance")
    answer = server.call(json_request("PUT", path, {"maintenance": not off}))
    sentence = "is given new ranges again" if off else "is in maintenance: it is given nothing new"
    print_result("Node", document(answer), sentence=f"Node {found_id} {sentence}.")


@node.command(example="dstore node remove 3f2a --dry-run")
@_node_argument
@dry_run_option
@yes_option
@calls_admin
def remove(*, node_id: str, dry_run: bool, yes: bool) -> None:
    """Remove a node for good; it can't come back under its id.

    Its certificate is worth nothing from then on. A node that still has ranges is refused, with
    exit status 3, as --dry-run says beforehand.
    """
    server = client(Surface.ADMIN)
    found_id = find_component(server, "node", node_id, key="nodes")
    if dry_run:
        found = _found(server, found_id)
        ranges = found.get("ranges")
        some = "1 range" if ranges == 1 else f"{ranges} ranges"
        would = f"has {some} and would not be" if ranges else "would be"
        sentence = f"Node {found_id} {would} removed."
        print_result("Node", {**found, "removed": False}, sentence=sentence)
        if ranges:
            raise click.exceptions.Exit(ExitCode.UNSAFE)
        return
    confirm(f"remove node {found_id} from the cluster for good", yes=yes)
    removed = delete_component(server, "node", found_id)
    print_result("Node", {**removed, "removed": True}, sentence=f"Node {found_id} is removed.")


def _found(server: Client, node_id: str) -> dict[str, Any]:
    path = path_of("admin", "v1", "node", node_id)
    return document(server.call(Request(method="GET", path=path)))


def _ranges(row: dict[str, Any]) -> str | None:
    ranges, primaries = row.get("ranges"), row.get("primaries")
    if primaries is None:
        return None if ranges is None else str(ranges)
    return f"{ranges}, the primary of {primaries}"


def _disk(row: dict[str, Any]) -> str | None:
    free, capacity = size_text(row.get("freeBytes")), size_text(row.get("capacityBytes"))
    return f"{free} of {capacity}" if row.get("capacityBytes") else None


def _sentence(row: dict[str, Any]) -> str:
    why = row.get("why")
    return f"{row.get('health')}: {why}" if why else str(row.get("health"))


for _command in (
    node_intents.drain,
    node_intents.decommission,
    node_intents.ok_to_stop,
    node_intents.discard,
):
    node.add_command(_command)
