"""Where items go: to stdout, one a line or as a document, or to a file."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dstore.cli.failures import Failure
from dstore.cli.item_formats import answered
from dstore.cli.item_options import Format
from dstore.cli.item_pages import ItemPage
from dstore.cli.output import Page, emit, is_json, print_list
from dstore.cli.progress import ProgressBar
from dstore.cli.text import printable_json
from dstore.model.values import Item

_PART_SUFFIX: Final = ".part"


@dataclass(slots=True, kw_only=True)
class Walked:
    """What a query or a scan has seen so far."""

    items: int = 0
    scanned: int = 0
    last: Item | None = None


def counted(pages: Iterable[ItemPage], walked: Walked, bar: ProgressBar) -> Iterator[ItemPage]:
    """Pass pages on, counting."""
    for page in pages:
        walked.items += page.count
        walked.scanned += page.scanned
        walked.last = page.last
        bar.advance(walked.items, done=walked.scanned)
        yield page


def print_items(pages: Iterable[ItemPage], form: Format) -> None:
    """Print items on stdout, one a line; with -o json as a list whose `after` is a key."""
    if is_json():
        print_list("ItemList", (), (_rows(page, form) for page in pages))
        return
    is_shown = sys.stdout.isatty()
    for page in pages:
        if rows := _rows(page, form).rows:
            text = b"\n".join(rows) + b"\n"
            emit(printable_json(text.decode()) if is_shown else text)


def write_items(pages: Iterable[ItemPage], form: Format, name: str) -> None:
    """Write items into a file, one a line; it appears under its name when it is whole.

    What is no regular file, such as a pipe, is written as it is.

    Raises: Failure: it can't be written, or whatever `pages` raises; then there is no new file.
    """
    path = Path(name)
    is_replaced = path.is_file() or not path.exists()
    part = path.with_name(path.name + _PART_SUFFIX) if is_replaced else path
    try:
        with part.open("wb") as file:
            for page in pages:
                file.writelines(row + b"\n" for row in _rows(page, form).rows)
            if is_replaced:
                file.flush()
                os.fsync(file.fileno())
        if is_replaced:
            part.replace(path)
    except OSError as error:
        raise Failure(f"{name} can't be written: {error.strerror}.") from None
    finally:
        if is_replaced:
            part.unlink(missing_ok=True)


def after_of(key: Item, form: Format) -> str:
    """Spell the key at which to go on, for --after."""
    return answered(key, form).decode()


def _rows(page: ItemPage, form: Format) -> Page:
    rows = [answered(item, form) for item in page.items]
    after = None if page.last is None else after_of(page.last, form)
    return Page(rows=rows, after=after)
