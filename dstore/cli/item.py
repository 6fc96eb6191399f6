"""`dstore item`: JSON objects, each under an ID, or under the key that stands in it.

An item under an ID is written and read over the v1 API, with the bearer token. Without an ID the
DynamoDB API is called, with the access key: it reaches tables of two keys, and many items at once.
"""

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from dstore.cli.answers import pages
from dstore.cli.client import JSON, Answer, Request, client, path_of
from dstore.cli.command import TEXT, Noun
from dstore.cli.connection import Surface
from dstore.cli.curl import BodyFile
from dstore.cli.failures import usage
from dstore.cli.item_options import (
    Consistency,
    Format,
    Substitutes,
    condition_option,
    consistency_option,
    format_option,
    key_option,
    project_option,
    refuse_given,
    substitutes_options,
    table_argument,
)
from dstore.cli.item_search import query, scan
from dstore.cli.item_writes import item_path, match, prefer, report, write
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
_PUT_EXAMPLE: Final = """\
echo '{"name": "Ada"}' | dstore item put people 42
dstore item put orders --file orders.jsonl
dstore item put orders --file orders.json.gz --format dynamodb --if-absent"""
_GET_EXAMPLE: Final = """\
dstore item get people 42
dstore item get orders --key customer=ada --key day=2024-01-31
dstore item get orders --key '{"customer": "ada", "day": "2024-01-31"}' --project price"""
_DELETE_EXAMPLE: Final = """\
dstore item delete people 42
dstore item delete orders --key customer=ada --key day=2024-01-31 --dry-run"""
_MERGE_PATCH: Final = {"Content-Type": "application/merge-patch+json"}
_LIST_LIMIT: Final = 100

_NEEDS_ID: Final = "goes with an ID only."
_NO_ID: Final = "does not go with an ID."
_ONE_OF: Final = """Say which item: its ID, or --key '{"pk": "a"}'."""
# What only the v1 API has, and what only DynamoDB's has.
_V1_ONLY: Final = frozenset({"is_async", "idempotency_key", "if_match", "meta", "tenant"})
_KEYS_ONLY: Final = frozenset(
    {"keys", "condition", "if_absent", "names", "values", "project", "form"}
)

F = TypeVar("F", bound=Callable[..., Any])


@click.group(cls=Noun)
def item() -> None:
    """Items: JSON objects, each under an ID or under keys of its own."""


item.add_command(query)
item.add_command(scan)


def _of_item(command: F) -> F:
    """Take a table and an ID."""
    id_argument = click.argument("item_id", metavar="ID", type=TEXT, help="The item's ID.")
    return table_argument(id_argument(tenant_option(calls_v1(command))))


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
_maybe_id = click.argument(
    "item_id", metavar="[ID]", type=TEXT, required=False, help="The item's ID."
)
_if_absent_option = click.option(
    "--if-absent", is_flag=True, help="Leave items alone that are there already."
)


@item.command(example=_PUT_EXAMPLE)
@table_argument
@_maybe_id
@_file_option
@_if_absent_option
@condition_option
@substitutes_options
@format_option
@_writing
@tenant_option
@calls_v1
def put(
    *,
    table: str,
    item_id: str | None,
    tenant: str,
    file_name: str,
    if_absent: bool,
    condition: str | None,
    names: str | None,
    values: str | None,
    form: Format,
    is_async: bool,
    idempotency_key: str | None,
) -> None:
    """Store a new item under an ID, or all items of a file under the keys that stand in them.

    With an ID it is one JSON object, and an item that is there already is left alone, which is an
    error. Without an ID items are replaced unless --if-absent is given; the file holds a JSON
    object, one a line or an array of them, or what AWS's tools and exports write, and may be
    compressed by gzip. The access key of AWS_ACCESS_KEY_ID or client.env signs then, and says whose
    table it is.
    """
    if item_id is None:
        refuse_given(_V1_ONLY, _NEEDS_ID)
        from dstore.cli.item_by_key import put_items

        given = Substitutes(names=names, values=values, form=form)
        put_items(table, file_name, condition=condition, if_absent=if_absent, given=given)
        return
    refuse_given(_KEYS_ONLY - {"if_absent"}, _NO_ID)
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
    headers = {**JSON, **prefer(is_async=is_async), **match(if_match)}
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
    headers = {**_MERGE_PATCH, **prefer(is_async=is_async), **match(if_match)}
    body = BodyFile(name=file_name)
    answer = write("POST", path, headers, body=body, key=idempotency_key)
    report(answer, f"Item {item_id} of {table} is changed.")


@item.command(example=_GET_EXAMPLE)
@table_argument
@_maybe_id
@key_option
@project_option
@substitutes_options
@format_option
@consistency_option
@click.option("--meta", is_flag=True, help="Print ID, RID and ETag too, as one object.")
@tenant_option
@calls_v1
def get(
    *,
    table: str,
    item_id: str | None,
    keys: tuple[str, ...],
    project: str | None,
    names: str | None,
    values: str | None,
    form: Format,
    tenant: str,
    consistency: Consistency,
    meta: bool,
) -> None:
    """Print an item: under an ID exactly the JSON object that was stored, else by its key."""
    if (item_id is None) == (not keys):
        raise usage(_ONE_OF)
    if item_id is None:
        refuse_given(_V1_ONLY, _NEEDS_ID)
        from dstore.cli.item_by_key import get_item

        given = Substitutes(names=names, values=values, form=form)
        strong = consistency is Consistency.STRONG
        _emit_json(get_item(table, keys, project=project, strong=strong, given=given))
        return
    refuse_given(_KEYS_ONLY, _NO_ID)
    asked = _consistent(consistency)
    request = Request(method="GET", path=item_path(tenant, table, item_id), query=asked)
    answer = client(Surface.V1).call(request)
    if meta:
        _emit_json(_with_meta(item_id, answer))
    else:
        _emit_json(answer.body)


@item.command(example=_DELETE_EXAMPLE)
@table_argument
@_maybe_id
@key_option
@condition_option
@substitutes_options
@format_option
@_if_match_option
@dry_run_option
@_writing
@tenant_option
@calls_v1
def delete(
    *,
    table: str,
    item_id: str | None,
    keys: tuple[str, ...],
    condition: str | None,
    names: str | None,
    values: str | None,
    form: Format,
    tenant: str,
    if_match: str | None,
    dry_run: bool,
    is_async: bool,
    idempotency_key: str | None,
) -> None:
    """Delete an item."""
    if (item_id is None) == (not keys):
        raise usage(_ONE_OF)
    if item_id is None:
        refuse_given(_V1_ONLY, _NEEDS_ID)
        from dstore.cli.item_by_key import delete_item

        given = Substitutes(names=names, values=values, form=form)
        delete_item(table, keys, condition=condition, dry_run=dry_run, given=given)
        return
    refuse_given(_KEYS_ONLY, _NO_ID)
    path = item_path(tenant, table, item_id)
    if dry_run:
        found = client(Surface.V1).call(Request(method="GET", path=path))
        fields = {"id": item_id, "etag": found.headers.get("etag"), "deleted": False}
        print_result("Item", fields, sentence=f"Item {item_id} of {table} would be deleted.")
        return
    headers = {**prefer(is_async=is_async), **match(if_match)}
    answer = write("DELETE", path, headers, body=None, key=idempotency_key)
    report(answer, f"Item {item_id} of {table} is deleted.", id=item_id, deleted=True)


@item.command("list", example="dstore item list people --limit 10 -o json")
@table_argument
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_LIST_LIMIT,
    show_default=True,
    help="The most items to print.",
)
@click.option("--all", "is_all", is_flag=True, help="Print all items, however many.")
@click.option("--after", metavar="CURSOR", help="Go on where a former list ended.")
@consistency_option
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
        query=_consistent(consistency),
    )
    last = print_list("ItemList", _COLUMNS, found)
    if last.after is not None and not is_json():
        note(f"There is more: --after {last.after} goes on, --all prints all.")


def _consistent(consistency: Consistency) -> dict[str, str]:
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
