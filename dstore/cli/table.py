"""`dstore table`: where a tenant's items are."""

from http import HTTPStatus
from typing import Any

import click

from dstore.base.limits import REPLICATION_FACTOR_MAX
from dstore.cli.answers import document, pages
from dstore.cli.client import Client, Request, UrlPath, client, json_request, path_of
from dstore.cli.command import TEXT, Noun, Word
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.index_rebuild import rebuild_index
from dstore.cli.options import calls_v1, dry_run_option, tenant_option, yes_option
from dstore.cli.output import Column, print_list, print_result, print_thing
from dstore.cli.scrub import scrub
from dstore.cli.troubles import counted_troubles, troubled_ranges
from dstore.model.replication import Outage
from dstore.model.tables import IdType

_COLUMNS = (
    Column(heading="TABLE", key="table"),
    Column(heading="ID TYPE", key="idType"),
    Column(heading="ITEMS", key="entries"),
    Column(heading="COPIES", key="copies"),
    Column(heading="RID", key="rid"),
)

_OUTAGES: dict[str, str] = {
    Outage.UNAVAILABLE: "unavailable",
    Outage.READ_ONLY: "read-only",
    Outage.NONE: "available",
}

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
@click.option(
    "--replication-factor",
    type=click.IntRange(1, REPLICATION_FACTOR_MAX),
    metavar="COPIES",
    help="How many copies of it, each on a node of its own; as the cluster is set if left out.",
)
@tenant_option
@calls_v1
def create(*, name: str, id_type: IdType, replication_factor: int | None, tenant: str) -> None:
    """Make a table; the same table again is left as it is."""
    body: dict[str, Any] = {"idType": id_type}
    if replication_factor is not None:
        body["settings"] = {"replicationFactor": replication_factor}
    answer = client(Surface.V1).call(json_request("PUT", path(tenant, name), body))
    was = "is made" if answer.status == HTTPStatus.CREATED else "was there already"
    found = document(answer)
    sentence = f"Table {name} of tenant {tenant} {was}{_copies(found, replication_factor)}."
    print_result("Table", found, sentence=sentence)


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
        "copies": found.get("copies"),
        "ranges": found.get("ranges"),
        **(troubled := troubled_ranges(found, tenant=tenant)),
        "one node down": _outage(found, is_troubled=bool(troubled)),
        "time to live": _expiry(found.get("timeToLive")),
        "created": found.get("createdAt"),
        "table id": found.get("tableId"),
        "rid": found.get("rid"),
        **{f"index {each['index']}": _index(each) for each in found.get("globalIndexes") or ()},
        **{f"settings.{key}": value for key, value in (found.get("settings") or {}).items()},
    }
    print_thing("Table", found, {name: value for name, value in shown.items() if value is not None})


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
            sentence=f"Table {name} of tenant {tenant} with {_items(found)} would be deleted.",
        )
        return
    confirm(f"delete table {name} of tenant {tenant} with all its items for good", yes=yes)
    server.call(Request(method="DELETE", path=path(tenant, name), takes_away=True))
    print_result(
        "Table",
        {"table": name, "tenant": tenant, "deleted": True},
        sentence=f"Table {name} of tenant {tenant} is deleted.",
    )


table.add_command(scrub)
table.add_command(rebuild_index)


def _outage(found: dict[str, Any], *, is_troubled: bool) -> str | None:
    """Say what a node's failure would mean to a table that has all its copies."""
    outage = _OUTAGES.get(str(found.get("oneNodeDown")))
    return f"{outage}, once it has all its copies" if outage and is_troubled else outage


def _items(found: dict[str, Any]) -> str:
    count = found.get("entries")
    return "1 item" if count == 1 else f"{count} items"


def _index(found: dict[str, Any]) -> str:
    """Say in a few words how a global index is."""
    words = [
        f"{found.get('status')}, {found.get('entries')} items, {found.get('ranges')} ranges",
        *counted_troubles(found),
    ]
    if found.get("mayBeWrong"):
        words.append("may be wrong since a loss: make it anew with dstore table rebuild-index")
    return ", ".join(words)


def _copies(found: dict[str, Any], wanted: int | None) -> str:
    """Say what a node's failure means to a table, where it has copies or was to have some."""
    copies = found.get("copies")
    if not isinstance(copies, int) or (copies == 1 and wanted in {None, 1}):
        return ""
    many = "1 copy" if copies == 1 else f"{copies} copies"
    few = f" instead of {wanted}, for there are no more nodes" if (wanted or 0) > copies else ""
    outage = _OUTAGES.get(str(found.get("oneNodeDown")), "")
    return f", in {many}{few}: with one node down it is {outage}"


def _expiry(found: Any) -> str | None:
    """Say by which attribute items expire, and how far that is."""
    if not isinstance(found, dict):
        return None
    return f"{found.get('attribute')} ({found.get('status')})"


def path(tenant: str, name: str) -> UrlPath:
    """Return the path of a table."""
    return path_of("v1", "tenant", tenant, "table", name)


def _found(server: Client, tenant: str, name: str) -> dict[str, Any]:
    return document(server.call(Request(method="GET", path=path(tenant, name))))
