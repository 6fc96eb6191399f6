"""`dstore item query` and `dstore item scan`."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from dstore.cli.command import Leaf
from dstore.cli.failures import usage
from dstore.cli.item_options import (
    Consistency,
    Format,
    Substitutes,
    consistency_option,
    filter_option,
    format_option,
    is_typed,
    project_option,
    refuse_given,
    substitutes_options,
    table_argument,
)
from dstore.cli.options import calls_dynamodb
from dstore.cli.output import emit, is_json, note, print_object, print_result

if TYPE_CHECKING:
    from dstore.cli.dynamodb import DynamoDb
    from dstore.cli.item_output import Walked
    from dstore.cli.item_pages import ItemPage

_QUERY_LIMIT: Final = 100
_SEGMENTS_MAX: Final = 64  # threads; DynamoDB itself takes a million
_QUERY_EXAMPLE: Final = """\
dstore item query orders --where customer=ada --where 'day>=2024-01' --where 'day<=2024-06'
dstore item query orders --index by-price --where customer=ada --where 'price>=100' --reverse
dstore item query orders --key-condition 'customer = :c' --values '{":c": "ada"}' --all"""
_SCAN_EXAMPLE: Final = """\
dstore item scan orders --segments 4 --out orders.jsonl
dstore item scan orders --filter 'price >= :p' --values '{":p": 99.5}' --count"""

_LIMIT_HELP: Final = "The most items to print."
_index_option = click.option(
    "--index",
    metavar="NAME",
    help="Read this index of the table; eventually consistent, unless --consistency is given.",
)
_count_option = click.option("--count", "is_count", is_flag=True, help="Print only how many.")
_after_option = click.option(
    "--after", metavar="KEY", help="Go on behind this key, as a former command printed it."
)


@click.command(cls=Leaf, example=_QUERY_EXAMPLE)
@table_argument
@click.option(
    "--where",
    "wheres",
    metavar="COMPARISON",
    multiple=True,
    help="KEY=VALUE for the partition key; for the sort key also < <= > >= ^= (begins with). "
    ">= and <= together are a range.",
)
@click.option("--key-condition", metavar="EXPR", help="The same as DynamoDB's expression.")
@_index_option
@filter_option
@substitutes_options
@project_option
@click.option("--reverse", is_flag=True, help="Begin with the greatest sort key.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=_QUERY_LIMIT, show_default=True, help=_LIMIT_HELP
)
@click.option("--all", "is_all", is_flag=True, help="Print all items, however many.")
@_count_option
@_after_option
@consistency_option
@format_option
@calls_dynamodb
def query(
    *,
    table: str,
    wheres: tuple[str, ...],
    key_condition: str | None,
    index: str | None,
    filter_: str | None,
    names: str | None,
    values: str | None,
    project: str | None,
    reverse: bool,
    limit: int,
    is_all: bool,
    is_count: bool,
    after: str | None,
    consistency: Consistency,
    form: Format,
) -> None:
    """Print the items of one partition, in the order of their sort key, one a line.

    The access key of AWS_ACCESS_KEY_ID or client.env signs, and says whose table it is.
    """
    from dstore.cli.dynamodb import dynamodb
    from dstore.cli.item_keys import joined_members, where
    from dstore.cli.item_pages import item_pages

    if bool(wheres) == (key_condition is not None):
        raise usage("Say which items: either --where pk=VALUE or --key-condition EXPR.")
    db = dynamodb()
    keyed: dict[str, Any] = {"KeyConditionExpression": key_condition}
    if wheres:
        condition = where(db, table, wheres, index=index)
        keyed = {
            "KeyConditionExpression": condition.expression,
            "ExpressionAttributeNames": condition.names,
            "ExpressionAttributeValues": condition.values,
        }
    given = Substitutes(names=names, values=values, form=form)
    members = joined_members(
        keyed,
        _searching(table, filter_, project, after=after, given=given),
        {"ScanIndexForward": False} if reverse else {},
        _select(consistency, is_count=is_count, index=index),
    )
    items_max = None if is_all or is_count else limit
    pages = item_pages(db, "Query", members, items_max=items_max)
    _show(pages, f"Querying {table}", total=None, form=form, is_count=is_count)


@click.command(cls=Leaf, example=_SCAN_EXAMPLE)
@table_argument
@_index_option
@filter_option
@substitutes_options
@project_option
@click.option(
    "--segments",
    type=click.IntRange(min=1, max=_SEGMENTS_MAX),
    default=1,
    show_default=True,
    help="Read so many parts of the table side by side.",
)
@click.option("--out", metavar="FILE", help="Write the items there, one a line, not to stdout.")
@click.option("--limit", type=click.IntRange(min=1), help=_LIMIT_HELP)
@_count_option
@_after_option
@consistency_option
@format_option
@calls_dynamodb
def scan(
    *,
    table: str,
    index: str | None,
    filter_: str | None,
    names: str | None,
    values: str | None,
    project: str | None,
    segments: int,
    out: str | None,
    limit: int | None,
    is_count: bool,
    after: str | None,
    consistency: Consistency,
    form: Format,
) -> None:
    """Print every item of a table, one a line, as dstore item put takes them.

    The access key of AWS_ACCESS_KEY_ID or client.env signs, and says whose table it is.
    """
    from dstore.cli.dynamodb import dynamodb, dynamodbs
    from dstore.cli.item_keys import joined_members
    from dstore.cli.item_pages import item_pages, segment_pages

    if segments > 1:
        refuse_given(frozenset({"limit", "after"}), "goes with one segment only.")
    clients = dynamodbs(segments)
    given = Substitutes(names=names, values=values, form=form)
    members = joined_members(
        _searching(table, filter_, project, after=after, given=given),
        _select(consistency, is_count=is_count, index=index),
    )
    if segments == 1 or clients[0].print_curl:
        pages = item_pages(clients[0], "Scan", members, items_max=None if is_count else limit)
    else:
        pages = segment_pages(clients, members)
    counting = dynamodb()
    _show(
        pages, f"Scanning {table}", total=(counting, table), form=form, is_count=is_count, out=out
    )


def _searching(
    table: str, filter_: str | None, paths: str | None, *, after: str | None, given: Substitutes
) -> dict[str, Any]:
    """Make the members that Query and Scan share."""
    from dstore.cli.item_formats import read_attributes
    from dstore.cli.item_keys import joined_members, projection, substitutes

    members: dict[str, Any] = {"TableName": table}
    if filter_ is not None:
        members["FilterExpression"] = filter_
    if after is not None:
        members["ExclusiveStartKey"] = read_attributes(after, given.form, what="--after")
    return joined_members(members, projection(paths), substitutes(given))


def _select(consistency: Consistency, *, is_count: bool, index: str | None) -> dict[str, Any]:
    if is_count:
        refuse_given(frozenset({"limit", "out", "project"}), "does not go with --count.")
    selected: dict[str, Any] = {"Select": "COUNT"} if is_count else {}
    is_strong = consistency is Consistency.STRONG
    if index is not None:  # a global one can't be read otherwise
        selected["IndexName"] = index
        is_strong = is_strong and is_typed("consistency")
    return {**selected, "ConsistentRead": is_strong}


def _show(
    pages: "Iterator[ItemPage]",
    caption: str,
    *,
    total: "tuple[DynamoDb, str] | None",
    form: Format,
    is_count: bool,
    out: str | None = None,
) -> None:
    """Print or write the items, or count them, and say how to go on where there are more."""
    from dstore.cli.item_keys import table_keys
    from dstore.cli.item_output import Walked, after_of, counted, print_items, write_items
    from dstore.cli.progress import ProgressBar

    def item_count() -> int | None:
        return None if total is None else table_keys(*total).item_count

    walked = Walked()
    shares_stdout = out is None and not is_count
    with ProgressBar(caption, total=item_count, shares_stdout=shares_stdout) as bar:
        found = counted(pages, walked, bar)
        if is_count:
            for _ in found:
                pass
        elif out is not None:
            write_items(found, form, out)
        else:
            print_items(found, form)
    if is_count:
        _print_count(walked)
    elif out is not None:
        fields = {"file": out, "items": walked.items, "scanned": walked.scanned}
        print_result("ItemFile", fields, sentence=f"{_items(walked.items)} in {out}.")
    if walked.last is not None and not is_json():
        note(f"There is more: --after {shlex.quote(after_of(walked.last, form))} goes on.")


def _print_count(walked: "Walked") -> None:
    if is_json():
        print_object("ItemCount", {"items": walked.items, "scanned": walked.scanned})
    else:
        emit(f"{walked.items}\n")


def _items(count: int) -> str:
    return "1 item is" if count == 1 else f"{count} items are"
