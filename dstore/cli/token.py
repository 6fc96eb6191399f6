"""`dstore token`: the bearer tokens that dstore itself and curl call with."""

import os
import re
from typing import Final

import click

from dstore.cli import connection
from dstore.cli.answers import document, whole_list
from dstore.cli.client import Request, UrlPath, client, path_of
from dstore.cli.command import TEXT, Noun
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.credential_list import require_listed
from dstore.cli.curl import STDIN
from dstore.cli.failures import usage
from dstore.cli.options import asked, calls_admin, dry_run_option, yes_option
from dstore.cli.output import (
    Column,
    emit,
    is_json,
    note,
    print_list,
    print_object,
    print_result,
)

_COLUMNS: Final = (
    Column(heading="ID", key="id"),
    Column(heading="CREATED", key="createdAt"),
)
_OUR_TOKEN: Final = re.compile(r"dst_([a-z2-7]{12})_")
_TENANT_DEFAULT: Final = "default"

_tenant_option = click.option(
    "--tenant", metavar="TENANT", help=f"Whose it is.  [default: {_TENANT_DEFAULT}]"
)
_operator_option = click.option(
    "--operator", is_flag=True, help="The operator's, who may do everything, instead of a tenant's."
)


@click.group(cls=Noun)
def token() -> None:
    """Bearer tokens: what dstore and curl call with.

    A tenant's token sees that tenant only, an operator's token may do everything.
    """


@token.command(example="(umask 077; dstore token create --tenant acme > acme.token)")
@_operator_option
@_tenant_option
@calls_admin
def create(*, operator: bool, tenant: str | None) -> None:
    """Make a token and print it, this once."""
    owner = _owner(tenant, operator=operator)
    answer = client(Surface.ADMIN).call(Request(method="POST", path=_path(owner)))
    made = document(answer)
    note(f"Keep this new token of {_words(owner)} now; it is never shown again.")
    if is_json():
        print_object("Token", made)
    else:
        emit(f"{made.get('token')}\n")


@token.command("list", example="dstore token list --operator")
@_operator_option
@_tenant_option
@calls_admin
def list_(*, operator: bool, tenant: str | None) -> None:
    """List tokens by their public ids; the tokens themselves are not kept."""
    path = _path(_owner(tenant, operator=operator))
    print_list("TokenList", _COLUMNS, whole_list(client(Surface.ADMIN), path, key="tokens"))


@token.command(example="dstore token delete mzxw6ytboi3q --operator --dry-run")
@click.argument("token_id", metavar="ID", type=TEXT, help="The token's public id.")
@_operator_option
@_tenant_option
@dry_run_option
@yes_option
@calls_admin
def delete(*, token_id: str, operator: bool, tenant: str | None, dry_run: bool, yes: bool) -> None:
    """Delete a token; who calls with it is refused from then on.

    The ID is the part between the two underscores. The token that this very command calls with is
    deleted with --yes only.
    """
    owner = _owner(tenant, operator=operator)
    server = client(Surface.ADMIN)
    if dry_run:
        found = require_listed(whole_list(server, _path(owner), key="tokens"), token_id, "token")
        sentence = f"Token {token_id} of {_words(owner)} would be deleted."
        print_result("Token", {**found, "deleted": False}, sentence=sentence)
        return
    if operator and token_id == _own_id():
        confirm(f"delete token {token_id}, the one that this command calls with", yes=yes)
    server.call(Request(method="DELETE", path=_path(owner, token_id)))
    print_result(
        "Token",
        {"id": token_id, "deleted": True},
        sentence=f"Token {token_id} of {_words(owner)} is deleted.",
    )


def _owner(tenant: str | None, *, operator: bool) -> str | None:
    """Return the tenant whose tokens are meant, None for the operator."""
    if operator and tenant is not None:
        raise usage("--operator and --tenant exclude each other: a token has one owner.")
    return None if operator else tenant or _TENANT_DEFAULT


def _words(owner: str | None) -> str:
    return "the operator" if owner is None else f"tenant {owner}"


def _path(owner: str | None, *rest: str) -> UrlPath:
    tenant = () if owner is None else ("tenant", owner)
    return path_of("admin", "v1", *tenant, "token", *rest)


def _own_id() -> str | None:
    """Return the public id of the token in use; a token from stdin was read and is gone."""
    options = asked()
    if options.token_file == STDIN:
        return None
    found = connection.find(Surface.ADMIN, options, os.environ).token
    match = _OUR_TOKEN.match(found or "")
    return match[1] if match else None
