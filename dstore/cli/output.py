"""What a command prints: data on stdout, for people or for programs; notes on stderr.

JSON has a versioned schema: `{"apiVersion": "dstore/v1", "kind": "Table", …}` for a single thing,
`{"apiVersion": "dstore/v1", "kind": "TableList", "items": […], "after": …}` for a list, one item a
line. Later versions may add keys. A stored item is printed as it is stored, without any of that.
Tables are drawn by rich on a terminal, and are plain aligned columns elsewhere.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from dstore.cli.failures import ExitCode, Failure
from dstore.cli.options import Output, asked
from dstore.cli.text import printable, printable_json

API_VERSION: Final = "dstore/v1"
_GAP: Final = "  "
_SHORT_CHARS: Final = 36  # a UUID is never folded
_DATA_CHARS_MIN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows of a list: JSON texts of objects, as the server spelled them."""

    rows: Sequence[bytes]
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table: its heading, and the key of the row's value."""

    heading: str
    key: str
    is_data: bool = False  # may be long: cut on a terminal, whole elsewhere


def emit(text: str | bytes) -> None:
    """Write to stdout; a reader that went away ends the command quietly."""
    data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
    try:
        click.echo(data, nl=False)
    except BrokenPipeError:
        # What is still in the buffer has nowhere to go when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(ExitCode.PIPE_CLOSED) from None
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Failure(f"The output can't be written: {error.strerror}.") from None


def note(sentence: str) -> None:
    """Tell the person something that is not the data."""
    click.echo(printable(sentence), err=True)


def is_json() -> bool:
    """Tell whether a program reads the output."""
    return asked().output is Output.JSON


def print_result(kind: str, fields: Mapping[str, Any], *, sentence: str) -> None:
    """Say what was done: a note for people, an object for programs."""
    note(sentence)
    if is_json():
        print_object(kind, fields)


def print_object(kind: str, fields: Mapping[str, Any]) -> None:
    """Print a single thing for programs."""
    whole = {"apiVersion": API_VERSION, "kind": kind, **fields}
    emit(printable_json(json.dumps(whole, indent=2, ensure_ascii=False)) + "\n")


def print_thing(kind: str, fields: Mapping[str, Any], shown: Mapping[str, object]) -> None:
    """Print a single thing: `fields` for programs, `shown` for people, one line each."""
    if is_json():
        print_object(kind, fields)
        return
    width = max(len(name) for name in shown)
    for name, value in shown.items():
        emit(f"{name:<{width}}{_GAP}{printable(str(value))}".rstrip() + "\n")


def print_list(kind: str, columns: Sequence[Column], pages: Iterable[Page]) -> Page:
    """Print a list page by page, so that it may be longer than the memory.

    Returns: the last page, whose `after` tells whether there is more.
    """
    printer = _print_json_rows if is_json() else _print_table
    return printer(kind, columns, pages)


def print_rows(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a table for people that is a part of what a command says."""
    encoded = [json.dumps(row).encode() for row in rows]
    _print_table("", columns, [Page(rows=encoded, after=None)])


def _print_json_rows(kind: str, _columns: Sequence[Column], pages: Iterable[Page]) -> Page:
    head = json.dumps({"apiVersion": API_VERSION, "kind": kind})
    separator = f'{head[:-1]}, "items": [\n'
    last = Page(rows=(), after=None)
    for last in pages:
        for row in last.rows:
            emit(separator + printable_json(row.decode()))
            separator = ",\n"
    if separator != ",\n":
        emit(separator.rstrip("\n"))
    else:
        emit("\n")
    emit(f'], "after": {json.dumps(last.after)}}}\n')
    return last


def _print_table(_kind: str, columns: Sequence[Column], pages: Iterable[Page]) -> Page:
    last = Page(rows=(), after=None)
    is_first = True
    for last in pages:
        rows = [_cells(row, columns) for row in last.rows]
        if rows:
            draw = _draw_rich if sys.stdout.isatty() else _draw_plain
            draw(columns, rows, has_heading=is_first)
            is_first = False
    if is_first:
        note("There are none.")
    return last


def _cells(row: bytes, columns: Sequence[Column]) -> list[str]:
    """Read a row; numbers and nested values keep the spelling that the server gave them."""
    import msgspec

    values = msgspec.json.decode(row, type=dict[str, msgspec.Raw])
    return [_cell(bytes(values.get(column.key, b"null"))) for column in columns]


def _cell(value: bytes) -> str:
    if value.startswith(b'"'):
        return printable(json.loads(value))
    return "" if value == b"null" else printable(value.decode())


def _draw_plain(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, has_heading: bool
) -> None:
    heading = [column.heading for column in columns]
    widths = [max(len(cell) for cell in cells) for cells in zip(heading, *rows, strict=True)]
    for row in [heading, *rows] if has_heading else rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        emit(_GAP.join(cells).rstrip() + "\n")


def _draw_rich(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, has_heading: bool
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, pad_edge=False, show_header=has_heading, header_style="bold")
    widths = _widths(columns, rows, console.width)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column.heading,
            width=width,
            no_wrap=column.is_data,
            overflow="ellipsis" if column.is_data else "fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as Text: brackets in it are no markup
    with console.capture() as drawn:
        console.print(table)
    emit(drawn.get())


def _widths(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], terminal_width: int
) -> list[int | None]:
    """Give data what the other columns leave; left to itself rich squeezes these to nothing."""
    from rich.cells import cell_len

    if not any(column.is_data for column in columns):
        return [None] * len(columns)
    cells = zip((column.heading for column in columns), *rows, strict=True)
    widest = [max(cell_len(cell) for cell in of_column) for of_column in cells]
    short = [
        min(width, _SHORT_CHARS)
        for column, width in zip(columns, widest, strict=True)
        if not column.is_data
    ]
    left = max(terminal_width - sum(short) - len(_GAP) * (len(columns) - 1), _DATA_CHARS_MIN)
    return [
        min(width, left if column.is_data else _SHORT_CHARS)
        for column, width in zip(columns, widest, strict=True)
    ]
