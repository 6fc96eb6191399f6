"""`dstore item`: JSON objects, each under an ID."""

import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, TypeVar

import click

from dstore.cli.answers import pages
from dstore.cli.client import JSON, Answer, Request, client, path_of
from dstore.cli.command import TEXT, Noun, Word
from dstore.cli.connection import Surface
from dstore.cli.curl import BodyFile
from dstore.cli.item_writes import condition, item_path, prefer, report, write
from dstore.cli.options import calls_v1, dry_run_option, tenant_option
from dstore.cli.output import (
    Column,
    emit,
    is_json,
    note,
    print_list,
    print_result,
)
from dstore.cli.text import printable_json

_COLUMNS: Final = (
    Column(heading="ID", key="id"),
    Column(heading="DATA", key="data", is_data=True),
)
_MERGE_PATCH: Final = {"Content-Type": "application/merge-patch+json"}
_LIST_LIMIT: Final = 100

_table_argument = click.argument("table", type=TEXT, help="The table.")

F = TypeVar("F", bound=Callable[..., Any])


class Consistency(StrEnum):
    """Which copy of the data answers a read."""

    STRONG = "strong"
    EVENTUAL = "eventual"


@click.group(cls=Noun)
def item() -> None:
    """Items: JSON objects, each under an ID."""


def _of_item(command: F) -> F:
    """Take a table and an ID."""
    id_argument = click.argument("item_id", metavar="ID", type=TEXT, help="The item's ID.")
    return _table_argument(id_argument(tenant_option(calls_v1(command))))


def _writing(command: F) -> F:
    """Take what goes with every write."""
    queue = click.option(
        "--async",
        "is_async",
        is_flag=True,
        help="Have it queued; dstore request show tells what became of it.",
    )
    key = click.option(
        "--idempotency-key",
        metavar="KEY",
        help="Carry out a write with this key once, however often it is sent.",
    )
    return queue(key(command))


_file_option = click.option(
    "--file",
    "file_name",
    metavar="FILE",
    default="-",
    help="The file with the JSON object; - for stdin, the default.",
)
_if_match_option = click.option(
    "--if-match", metavar="ETAG", help="Only if the item still has this ETag (item get --meta)."
)
_consistency_option = click.option(
    "--consistency",
    type=Word(Consistency),
    default=Consistency.STRONG,
    show_default=True,
    help="strong sees every acknowledged write, eventual may be behind.",
)


@item.command(example="""echo '{"name": "Ada"}' | dstore item put people 42""")
@_of_item
@_file_option
@_writing
def put(
    *,
    table: str,
    item_id: str,
    tenant: str,
    file_name: str,
    is_async: bool,
    idempotency_key: str | None,
) -> None:
    """Store a new item; one that is there already is left alone, and that is an error.

    The item is a JSON object, in a file or from stdin.
    """
    path = item_path(tenant, table, item_id)
    headers = {**JSON, **prefer(is_async=is_async)}
    body = BodyFile(name=file_name)
    answer = write("PUT", path, headers, body=body, key=idempotency_key)
    report(answer, f"Item {item_id} is stored in {table}.")


@item.command(example="dstore item replace people 42 --file ada.json")
@_of_item
@_file_option
@_if_match_option
@_writing
def replace(
    *,
    table: str,
    item_id: str,
    tenant: str,
    file_name: str,
    if_match: str | None,
    is_async: bool,
    idempotency_key: str | None,
) -> None:
    """Store another object under an ID that is there."""
    path = item_path(tenant, table, item_id)
    headers = {**JSON, **prefer(is_async=is_async), **condition(if_match)}
    body = BodyFile(name=file_name)
    answer = write("POST", path, headers, body=body, key=idempotency_key)
    report(answer, f"Item {item_id} of {table} is replaced.")


@item.command(example="""echo '{"born": 1815, "draft": null}' | dstore item merge people 42""")
@_of_item
@_file_option
@_if_match_option
@_writing
def merge(
    *,
    table: str,
    item_id: str,
    tenant: str,
    file_name: str,
    if_match: str | None,
    is_async: bool,
    idempotency_key: str | None,
) -> None:
    """Change some attributes of an item: a JSON merge patch (RFC 7396), in which null deletes."""
    path = item_path(tenant, table, item_id)
    headers = {**_MERGE_PATCH, **prefer(is_async=is_async), **condition(if_match)}
    body = BodyFile(name=file_name)
    answer = write("POST", path, headers, body=body, key=idempotency_key)
    report(answer, f"Item {item_id} of {table} is changed.")


@item.command(example="dstore item get people 42")
@_of_item
@_consistency_option
@click.option("--meta", is_flag=True, help="Print ID, RID and ETag too, as one object.")
def get(*, table: str, item_id: str, tenant: str, consistency: Consistency, meta: bool) -> None:
    """Print an item, exactly the JSON object that was stored."""
    query = _query(consistency)
    request = Request(method="GET", path=item_path(tenant, table, item_id), query=query)
    answer = client(Surface.V1).call(request)
    if meta:
        _emit_json(_with_meta(item_id, answer))
    else:
        _emit_json(answer.body)


@item.command(example="dstore item delete people 42")
@_of_item
@_if_match_option
@dry_run_option
@_writing
def delete(
    *,
    table: str,
    item_id: str,
    tenant: str,
    if_match: str | None,
    dry_run: bool,
    is_async: bool,
    idempotency_key: str | None,
) -> None:
    """Delete an item."""
    path = item_path(tenant, table, item_id)
    if dry_run:
        found = client(Surface.V1).call(Request(method="GET", path=path))
        fields = {"id": item_id, "etag": found.headers.get("etag"), "deleted": False}
        print_result("Item", fields, sentence=f"Item {item_id} of {table} would be deleted.")
        return
    headers = {**prefer(is_async=is_async), **condition(if_match)}
    answer = write("DELETE", path, headers, body=None, key=idempotency_key)
    report(answer, f"Item {item_id} of {table} is deleted.", id=item_id, deleted=True)


@item.command("list", example="dstore item list people --limit 10 -o json")
@_table_argument
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_LIST_LIMIT,
    show_default=True,
    help="The most items to print.",
)
@click.option("--all", "is_all", is_flag=True, help="Print all items, however many.")
@click.option("--after", metavar="CURSOR", help="Go on where a former list ended.")
@_consistency_option
@tenant_option
@calls_v1
def list_(
    *,
    table: str,
    limit: int,
    is_all: bool,
    after: str | None,
    consistency: Consistency,
    tenant: str,
) -> None:
    """List a table's items in the order of their IDs' hashes."""
    found = pages(
        client(Surface.V1),
        path_of("v1", "tenant", tenant, "table", table, "id"),
        key="entries",
        after=after,
        rows_max=None if is_all else limit,
        query=_query(consistency),
    )
    last = print_list("ItemList", _COLUMNS, found)
    if last.after is not None and not is_json():
        note(f"There is more: --after {last.after} goes on, --all prints all.")


def _query(consistency: Consistency) -> dict[str, str]:
    """Ask for a consistency only if it is not what the server gives anyway."""
    return {} if consistency is Consistency.STRONG else {"consistency": consistency}


def _with_meta(item_id: str, answer: Answer) -> bytes:
    import msgspec

    from dstore.cli.output import API_VERSION

    return msgspec.json.encode(
        {
            "apiVersion": API_VERSION,
            "kind": "Item",
            "id": item_id,
            "rid": answer.headers.get("dstore-rid"),
            "etag": answer.headers.get("etag"),
            "data": msgspec.Raw(answer.body),
        }
    )


def _emit_json(body: bytes) -> None:
    """Print JSON: indented and harmless on a terminal, byte for byte elsewhere."""
    if not sys.stdout.isatty():
        emit(body + b"\n")
        return
    import msgspec

    emit(printable_json(msgspec.json.format(body, indent=2).decode()) + "\n")
