"""Reading on the event loop what is not in memory: a thread fetches the pages that it takes.

SQLite lets go of the interpreter at every row that it gives, and a thread beside a busy loop waits
for it each time, as the loop does for the thread (ADR 0008): rows of 64 entries that a thread read
cost clients more than 64 of their own writes. To fetch pages it reads the same rows inside SQLite
and is given one number: it waits once a page that is not in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from dstore.storage.vault.residency import NotResident

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import apsw

    from dstore.storage.range_file import RangeFile

    Open = Callable[[], Awaitable[RangeFile]]

Result = TypeVar("Result")

# Values are not looked at, so that what is large stays where it is.
_FETCH_BEHIND: Final = (
    "SELECT count(C_DATA) FROM "
    "(SELECT C_DATA FROM v1 WHERE RID_ID > ? ORDER BY RID_ID, C_COL LIMIT ?)"
)
_FETCH_ENTRIES: Final = "SELECT count(C_DATA) FROM v1 WHERE RID_ID IN ({})"


async def read_at_hand(
    open_file: Open,
    read: Callable[[apsw.Connection], Result],
    *,
    fetch: Callable[[apsw.Connection], Any],
) -> Result:
    """Read something short on the event loop, as of one commit.

    Args:
        open_file: opens it; asked again behind each thread, since idle files are closed.
        read: may be called again, and by a thread if pages are not there even then.
        fetch: reads the same pages, in a thread, unless they are in memory.
    Raises: as `open_file` and `RangeFile.look` do.
    """
    try:
        return (await open_file()).glance(read)
    except NotResident:
        await (await open_file()).look(fetch)
    try:
        return (await open_file()).glance(read)
    except NotResident:
        return await (await open_file()).look(read)


async def fetch_at_hand(open_file: Open, fetch: Callable[[apsw.Connection], Any]) -> None:
    """Have a thread fetch pages if they are not in memory. Raises: as `read_at_hand`."""
    file = await open_file()
    try:
        file.glance(fetch)
    except NotResident:
        await file.look(fetch)


def behind(connection: apsw.Connection, *, after: bytes, rows: int) -> None:
    """Fetch the pages of so many rows of entries behind a key."""
    connection.execute(_FETCH_BEHIND, (after, rows)).fetchall()


def entries(connection: apsw.Connection, *, rid_ids: Sequence[bytes]) -> None:
    """Fetch the pages where entries are, or would be."""
    connection.execute(_FETCH_ENTRIES.format(", ".join("?" * len(rid_ids))), rid_ids).fetchall()
