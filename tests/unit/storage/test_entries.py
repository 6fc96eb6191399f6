"""An entry's rows, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest

from dstore.storage.entries import cells_of, read_entry, write_cells
from dstore.storage.schema import Schema, upgrade

if TYPE_CHECKING:
    from dstore.model.values import Item

RID_ID = b"1234key\x00\x01"


def item_of(count: int, text: str) -> Item:
    return {f"name{at:03d}": {"S": f"{text}{at}"} for at in range(count)}


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 17, 31, 32, 33, 100])
def test_rows_are_written_and_changed_whatever_their_number(count: int) -> None:
    """One statement writes up to sixteen rows, the head's among them; more take several."""
    connection = apsw.Connection(":memory:")
    upgrade(connection, Schema.RANGE)
    before = None
    for version, item in (
        ("v1", item_of(count, "a")),
        ("v2", item_of(count, "b")),
        ("v3", item_of(count // 2, "b") | {"new": {"N": "1.50"}}),
        ("v4", {}),
    ):
        after = cells_of(item)
        write_cells(connection, RID_ID, entry_hash=7, before=before, after=after, version=version)
        found = read_entry(connection, RID_ID)
        assert found is not None
        assert (found.version, found.item) == (version, item)
        assert connection.execute("SELECT DISTINCT HASH FROM v1").get == 7
        before = after
