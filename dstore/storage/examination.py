"""Reading a range's file from the disk, page by page, to find what has rotted there.

What is served comes from pages in memory wherever it can, so a page may lie damaged on the disk for
months before anybody needs it. Nothing is taken from memory here. A page that is not authentic is
no more than suspect: the log may have its true content (a page that is being folded in, or whose
folding a crash cut short), or nobody may have ever written it (a free page). `is_sound` tells.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.scrub_limits import SCRUB_PAGES
from dstore.model.errors import Corrupt
from dstore.storage.failures import stored_error
from dstore.storage.vault.residency import Inspection

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.storage.vault.vault import Vault

_CHECK: Final = "PRAGMA quick_check(1)"


class PagesSeen(msgspec.Struct, frozen=True, array_like=True):
    """What was found of some pages.

    `pages` were read, and `total` is how many there are; `next_page` is where to go on, None behind
    the last one. `suspects` are those that are not authentic, counted from 1 as SQLite does.
    """

    pages: int
    total: int
    next_page: int | None
    suspects: tuple[int, ...] = ()


def read_pages(vault: Vault, path: Path, *, first_page: int) -> PagesSeen:
    """Read SCRUB_PAGES pages from the disk, from a page on that counts from 1; for a thread.

    Raises: Corrupt: the file can't even be opened. Unavailable: too many are open.
    """
    inspection = Inspection()
    try:
        with closing(vault.connect(path, readonly=True, residency=inspection)):
            pages = inspection.pages
            assert pages is not None, "a connection has its file open"
            total = pages.page_count
            last = min(total, first_page - 1 + SCRUB_PAGES)
            suspects = tuple(
                number
                for number in range(first_page, last + 1)
                if not pages.is_authentic(number - 1)
            )
    except Exception as error:
        raise stored_error(error, file=str(path)) from error
    return PagesSeen(
        pages=max(0, last - first_page + 1),
        total=total,
        next_page=last + 1 if last < total else None,
        suspects=suspects,
    )


def is_sound(vault: Vault, path: Path) -> bool:
    """Read all of a file that belongs to anything, log included, as SQLite puts it together.

    It holds one state of the file meanwhile, 25 µs a page; for a thread. Raises: Unavailable.
    """
    try:
        with closing(vault.connect(path, readonly=True, residency=Inspection())) as connection:
            found = connection.execute(_CHECK).fetchall()
    except Exception as error:
        told = stored_error(error, file=str(path))
        if isinstance(told, Corrupt):
            return False
        raise told from error
    return found == [("ok",)]
