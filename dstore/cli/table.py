"""`dstore table`: where a tenant's items are."""

from http import HTTPStatus
from typing import Any

import click

from dstore.cli.answers import document, pages
from dstore.cli.client import Client, Request, UrlPath, client, json_request, path_of
from dstore.cli.command import TEXT, Noun, Word
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.options import calls_v1, dry_run_option, tenant_option, yes_option
from dstore.cli.output import Column, print_list, print_result, print_thing
from dstore.model.tables import IdType

_COLUMNS = (
    Column(heading="TABLE", key="table"),
    Column(heading="ID TYPE", key="idType"),
    Column(heading="ITEMS", key="entries"),
    Column(heading="RID", key="rid"),
)

_name_argument = click.argument("name", type=TEXT, help="The table's name.")


@click.group(cls=Noun)
def table() -> None:
    """Tables: where a tenant's items are.

    A table's items have IDs of one type.
    """


@table.command(example="dstore table create orders --id-type Integer")
@_name_argument
@click.option(
    "--id-type",
    type=Word(IdType),
    default=IdType.STRING,
    show_default=IdType.STRING.value,
    help="What the items' IDs are.",
)
@tenant_option
@calls_v1
def create(*, name: str, id_type: IdType, tenant: str) -> None:
    """Make a table; the same table again is left as it is."""
    answer = client(Surface.V1).call(json_request("PUT", path(tenant, name), {"idType": id_type}))
    was = "is made" if answer.status == HTTPStatus.CREATED else "was there already"
    print_result("Table", document(answer), sentence=f"Table {name} of tenant {tenant} {was}.")


@table.command("list", example="dstore table list --tenant acme")
@tenant_option
@calls_v1
def list_(*, tenant: str) -> None:
    """List a tenant's tables."""
    tables = path_of("v1", "tenant", tenant, "table")
    print_list("TableList", _COLUMNS, pages(client(Surface.V1), tables, key="tables"))


@table.command(example="dstore table show orders")
@_name_argument
@tenant_option
@calls_v1
def show(*, name: str, tenant: str) -> None:
    """Show a table."""
    found = _found(client(Surface.V1), tenant, name)
    shown = {
        "table": found.get("table"),
        "id type": found.get("idType"),
        "items": found.get("entries"),
        "created": found.get("createdAt"),
        "table id": found.get("tableId"),
        "rid": found.get("rid"),
        **{f"settings.{key}": value for key, value in (found.get("settings") or {}).items()},
    }
    print_thing("Table", found, shown)


@table.command(example="dstore table delete orders --dry-run")
@_name_argument
@dry_run_option
@yes_option
@tenant_option
@calls_v1
def delete(*, name: str, dry_run: bool, yes: bool, tenant: str) -> None:
    """Delete a table with all its items."""
    server = client(Surface.V1)
    if dry_run:
        found = _found(server, tenant, name)
        print_result(
            "Table",
            {**found, "deleted": False},
            sentence=f"Table {name} of tenant {tenant} with {found.get('entries')} items would be "
            "deleted.",
        )
        return
    confirm(f"delete table {name} of tenant {tenant} with all its items for good", yes=yes)
    server.call(Request(method="DELETE", path=path(tenant, name)))
    print_result(
        "Table",
        {"table": name, "tenant": tenant, "deleted": True},
        sentence=f"Table {name} of tenant {tenant} is deleted.",
    )


def path(tenant: str, name: str) -> UrlPath:
    """Return the path of a table."""
    return path_of("v1", "tenant", tenant, "table", name)


def _found(server: Client, tenant: str, name: str) -> dict[str, Any]:
    return document(server.call(Request(method="GET", path=path(tenant, name))))
