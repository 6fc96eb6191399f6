"""`dstore tenant`: those who own tables."""

from http import HTTPStatus

import click

from dstore.cli.answers import document, pages
from dstore.cli.client import Client, Request, UrlPath, client, path_of
from dstore.cli.command import TEXT, Noun
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.options import calls_v1, dry_run_option, yes_option
from dstore.cli.output import Column, note, print_list, print_object, print_result, print_thing
from dstore.cli.output import is_json as prints_json

_COLUMNS = (
    Column(heading="TENANT", key="tenant"),
    Column(heading="CREATED", key="createdAt"),
    Column(heading="RID", key="rid"),
)

_name_argument = click.argument("name", type=TEXT, help="The tenant's name.")


@click.group(cls=Noun)
def tenant() -> None:
    """Tenants: those who own tables.

    Every tenant's data is encrypted with keys of its own.
    """


@tenant.command(example="dstore tenant create acme")
@_name_argument
@calls_v1
def create(*, name: str) -> None:
    """Make a tenant; one that is there already is left as it is."""
    answer = client(Surface.V1).call(Request(method="PUT", path=path(name)))
    is_new = answer.status == HTTPStatus.CREATED
    print_result(
        "Tenant",
        document(answer),
        sentence=f"Tenant {name} is made." if is_new else f"Tenant {name} was there already.",
    )


@tenant.command("list", example="dstore tenant list -o json")
@calls_v1
def list_() -> None:
    """List the tenants that the token may see."""
    print_list(
        "TenantList",
        _COLUMNS,
        pages(client(Surface.V1), path_of("v1", "tenant"), key="tenants"),
    )


@tenant.command(example="dstore tenant show acme")
@_name_argument
@calls_v1
def show(*, name: str) -> None:
    """Show a tenant."""
    found = _found(client(Surface.V1), name)
    shown = {
        "tenant": found.get("tenant"),
        "tables": found.get("tables"),
        "created": found.get("createdAt"),
        "uuid": found.get("uuid"),
        "rid": found.get("rid"),
    }
    print_thing("Tenant", found, shown)


@tenant.command(example="dstore tenant delete acme --dry-run")
@_name_argument
@click.option("--force", is_flag=True, help="Delete its tables and items too.")
@dry_run_option
@yes_option
@calls_v1
def delete(*, name: str, force: bool, dry_run: bool, yes: bool) -> None:
    """Delete a tenant and shred its keys.

    Nobody can read its files afterwards, not even from a backup.
    A tenant that still has tables is refused unless --force is given.
    """
    server = client(Surface.V1)
    if dry_run:
        _say_what_would_go(server, name, force=force)
        return
    confirm(
        f"delete tenant {name}{', its tables and its items' if force else ''} for good and shred "
        "its keys",
        yes=yes,
    )
    query = {"force": "true"} if force else {}
    hints = {} if force else {HTTPStatus.CONFLICT.value: "--force"}
    request = Request(method="DELETE", path=path(name), query=query, hints=hints, takes_away=True)
    server.call(request)
    print_result("Tenant", {"tenant": name, "deleted": True}, sentence=f"Tenant {name} is deleted.")


def path(name: str) -> UrlPath:
    """Return the path of a tenant."""
    return path_of("v1", "tenant", name)


def _found(server: Client, name: str) -> dict[str, object]:
    return document(server.call(Request(method="GET", path=path(name))))


def _say_what_would_go(server: Client, name: str, *, force: bool) -> None:
    found = _found(server, name)
    tables = found.get("tables")
    if tables and not force:
        sentence = f"Tenant {name} has {tables} tables: without --force it would not be deleted."
    else:
        sentence = f"Tenant {name} with {tables} tables would be deleted and its keys shredded."
    note(sentence)
    if prints_json():
        print_object("Tenant", {**found, "deleted": False})
