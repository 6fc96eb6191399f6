"""Numbered schema steps: applied once, in order, and never backwards."""

from pathlib import Path

import apsw
import pytest

from dstore.storage.schema import Schema, TooNew, newest, upgrade


@pytest.mark.parametrize("schema", list(Schema))
def test_steps_are_applied_once(tmp_path: Path, schema: Schema) -> None:
    """A file is brought up to date at its first opening and left alone at the next."""
    connection = apsw.Connection(str(tmp_path / "file.db"))
    assert upgrade(connection, schema) == newest(schema) > 0
    assert upgrade(connection, schema) == 0
    assert connection.pragma("user_version") == newest(schema)


def test_a_later_file_is_refused_untouched(tmp_path: Path) -> None:
    """An older dStore that wrote into a newer file would damage it."""
    connection = apsw.Connection(str(tmp_path / "file.db"))
    upgrade(connection, Schema.RANGE)
    connection.pragma("user_version", newest(Schema.RANGE) + 1)
    with pytest.raises(TooNew, match="newer dStore"):
        upgrade(connection, Schema.RANGE)


def test_v1_layout_is_the_specs(tmp_path: Path) -> None:
    """SPEC.md names the columns of the V1 table and of the table of tables."""
    connection = apsw.Connection(str(tmp_path / "range.db"))
    upgrade(connection, Schema.RANGE)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(v1)")]
    assert columns == ["RID_ID", "C_COL", "HASH", "C_DATA_TYPE", "C_DATA"]
    connection = apsw.Connection(str(tmp_path / "node.db"))
    upgrade(connection, Schema.NODE)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(range_of_table)")]
    expected = "RID_TENANT RID_TABLE HASH_START HASH_END QUANTITY UUID TABLE_VERSION"
    assert columns[:7] == expected.split()
