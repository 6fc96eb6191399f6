"""`dstore control`: control processes, and the tokens with which components join."""

from typing import Final

import click

from dstore.base.limits import JOIN_TOKEN_LIFE_S, JOIN_TOKEN_LIFE_S_MAX
from dstore.cli.answers import document, pages_of_control
from dstore.cli.client import Request, client, json_request, path_of
from dstore.cli.command import TEXT, Noun, Word
from dstore.cli.component_list import (
    CONTROL_COLUMNS,
    delete_component,
    find_component,
    list_components,
)
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.joining import JoiningRole
from dstore.cli.options import calls_admin, dry_run_option, yes_option
from dstore.cli.output import Column, emit, is_json, note, print_list, print_object, print_result
from dstore.cli.recovery import recover_topology

_TOKEN_COLUMNS: Final = (
    Column(heading="ID", key="id"),
    Column(heading="ROLE", key="role"),
    Column(heading="STATE", key="state"),
    Column(heading="EXPIRES", key="expiresAt"),
    Column(heading="USED", key="usedAt"),
    Column(heading="BY", key="usedBy"),
)


@click.group(cls=Noun)
def control() -> None:
    """Control: what admits components and places tables.

    Several processes may run; one of them leads.
    """


@control.group(cls=Noun)
def token() -> None:
    """Join tokens: each admits one node or proxy, once.

    The component reads it from the file of --join-token-file, or from DSTORE_JOIN_TOKEN.
    """


@control.command("list", example="dstore control list")
@click.option("--all", "with_removed", is_flag=True, help="Show those that were removed too.")
@calls_admin
def list_(*, with_removed: bool) -> None:
    """List the control processes, and which of them leads."""
    list_components(
        client(Surface.ADMIN),
        "control",
        key="controls",
        columns=CONTROL_COLUMNS,
        with_removed=with_removed,
    )


@control.command(example="dstore control remove 9c1e --yes")
@click.argument("control_id", metavar="CONTROL", type=TEXT, help="Its id, or how it begins.")
@dry_run_option
@yes_option
@calls_admin
def remove(*, control_id: str, dry_run: bool, yes: bool) -> None:
    """Remove a control process for good, once it has ended; one that is alive is refused."""
    server = client(Surface.ADMIN)
    found_id = find_component(server, "control", control_id, key="controls")
    if dry_run:
        fields = {"id": found_id, "removed": False}
        print_result("Control", fields, sentence=f"Control {found_id} would be removed.")
        return
    confirm(f"remove control {found_id} from the cluster for good", yes=yes)
    removed = delete_component(server, "control", found_id)
    fields = {**removed, "removed": True}
    print_result("Control", fields, sentence=f"Control {found_id} is removed.")


@token.command(example="(umask 077; dstore control token create --role node > join.token)")
@click.option("--role", type=Word(JoiningRole), required=True, help="What is to join.")
@click.option(
    "--life",
    "life_s",
    type=click.IntRange(1, JOIN_TOKEN_LIFE_S_MAX),
    metavar="SECONDS",
    default=JOIN_TOKEN_LIFE_S,
    show_default=True,
    help=f"How long it can be used, {JOIN_TOKEN_LIFE_S_MAX} at most.",
)
@calls_admin
def create(*, role: JoiningRole, life_s: int) -> None:
    """Make a join token and print it, this once."""
    path = path_of("admin", "v1", "join-token")
    order = json_request("POST", path, {"role": role, "lifeSeconds": life_s})
    made = document(client(Surface.ADMIN).call(order))
    note(
        f"This token admits one {role} until {made.get('expiresAt')}; it is never shown again. "
        f"Start the {role} with --join-token-file, a file that only its user can read."
    )
    if is_json():
        print_object("JoinToken", made)
    else:
        emit(f"{made.get('token')}\n")


@token.command("list", example="dstore control token list")
@calls_admin
def list_tokens() -> None:
    """List join tokens and what became of them; the tokens themselves are not kept."""
    path = path_of("admin", "v1", "join-token")
    found = pages_of_control(client(Surface.ADMIN), path, key="joinTokens")
    print_list("JoinTokenList", _TOKEN_COLUMNS, found)


@token.command(example="dstore control token revoke mzxw6ytboi3q")
@click.argument("token_id", metavar="ID", type=TEXT, help="The token's public id.")
@calls_admin
def revoke(*, token_id: str) -> None:
    """Let a join token admit nobody any more; who joined with it stays."""
    path = path_of("admin", "v1", "join-token", token_id)
    client(Surface.ADMIN).call(Request(method="DELETE", path=path))
    fields = {"id": token_id, "revoked": True}
    print_result("JoinToken", fields, sentence=f"Join token {token_id} admits nobody any more.")


control.add_command(recover_topology)
