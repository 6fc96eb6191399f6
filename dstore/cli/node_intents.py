"""`dstore node drain` and its like: a node that is to be stopped, or to go for good."""

from __future__ import annotations

from dataclasses import replace

import click

from dstore.cli.answers import document
from dstore.cli.client import Request, client, json_request, path_of
from dstore.cli.command import TEXT, Leaf
from dstore.cli.component_list import find_component
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.failures import ExitCode, Failure
from dstore.cli.following import await_end, wait_option
from dstore.cli.options import calls_admin, yes_option
from dstore.cli.output import note, print_result

_node_argument = click.argument(
    "node_id", metavar="NODE", type=TEXT, help="Its id, or how it begins."
)
_off_option = click.option("--off", is_flag=True, help="End it: the node stays, as before.")


@click.command(cls=Leaf, example="dstore node drain 3f2a")
@_node_argument
@_off_option
@wait_option
@calls_admin
def drain(*, node_id: str, off: bool, wait: bool) -> None:
    """Hand the ranges over that a node is primary of; its replicas stay, and it gets nothing new.

    So nobody notices when it is stopped: dstore node ok-to-stop says when that is safe. Refused,
    with exit status 3, where a range would have no other primary.
    """
    _intend(
        node_id,
        "stay" if off else "drain",
        sentence="stays" if off else "is drained: other nodes become primary of its ranges",
        wait=wait,
    )


@click.command(cls=Leaf, example="dstore node decommission 3f2a")
@_node_argument
@_off_option
@wait_option
@calls_admin
def decommission(*, node_id: str, off: bool, wait: bool) -> None:
    """Move everything that a node has to other nodes; then dstore node remove takes it out.

    Refused, with exit status 3, where the others could not take it: no range has fewer replicas
    than it should have, at no moment, and all fit the disks. dstore tasks and dstore placement plan
    show how far it is.
    """
    _intend(
        node_id,
        "stay" if off else "decommission",
        sentence="stays" if off else "is decommissioned: its replicas go to other nodes",
        wait=wait,
    )


def _intend(node_id: str, intent: str, *, sentence: str, wait: bool) -> None:
    server = client(Surface.ADMIN)
    found_id = find_component(server, "node", node_id, key="nodes")
    path = path_of("admin", "v1", "node", found_id, "intent")
    order = replace(json_request("PUT", path, {"intent": intent}), takes_away=True)
    answer = document(server.call(order))
    print_result("Node", answer, sentence=f"Node {found_id} {sentence}.")
    if wait:
        await_end(server, answer.get("task"), what=f"Node {found_id}, {intent}")


@click.command("ok-to-stop", cls=Leaf, example="dstore node ok-to-stop 3f2a")
@_node_argument
@calls_admin
def ok_to_stop(*, node_id: str) -> None:
    """Say whether a node may be stopped: the exit status is 0 if no range needs it, 3 if one does.

    A range needs it if too few of its other replicas are in sync and alive to take writes.
    """
    server = client(Surface.ADMIN)
    found_id = find_component(server, "node", node_id, key="nodes")
    path = path_of("admin", "v1", "node", found_id, "ok-to-stop")
    found = document(server.call(Request(method="GET", path=path)))
    if found.get("isOkay") is not True:
        count = found.get("losing")
        some = "1 range needs" if count == 1 else f"{count} ranges need"
        reasons = found.get("reasons") or [found.get("why")]
        if isinstance(count, int) and count > len(reasons):
            reasons = [*reasons, f"And {count - len(reasons)} more."]
        for reason in reasons:
            note(str(reason))
        raise Failure(f"{some} node {found_id}.", exit_code=ExitCode.UNSAFE)
    print_result("Stoppable", found, sentence=f"Node {found_id} may be stopped.")


@click.command(
    cls=Leaf, example="dstore node discard 3f2a 5d0fd2a6-9c1d-4a57-8a1e-0b1f3a2f9c11 --yes"
)
@_node_argument
@click.argument(
    "range_id", metavar="RANGE", type=TEXT, help="Its whole id, as the notice names it."
)
@yes_option
@calls_admin
def discard(*, node_id: str, range_id: str, yes: bool) -> None:
    """Let a node delete a range of which nobody else knows, for good.

    Such a range is left where control's store or etcd was put back from before it, or where a table
    was deleted long ago without this node. It is kept for ever otherwise; the node tells of it
    after an hour, see dstore notice list. What only it has is lost.
    """
    server = client(Surface.ADMIN)
    found_id = find_component(server, "node", node_id, key="nodes")
    confirm(f"delete range {range_id} of node {found_id} for good", yes=yes)
    path = path_of("admin", "v1", "node", found_id, "discard")
    answer = document(server.call(json_request("POST", path, {"rangeId": range_id})))
    sentence = f"Node {found_id} deletes range {range_id} when it asks next."
    print_result("Range", answer, sentence=sentence)
