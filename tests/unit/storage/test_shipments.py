"""A batch that others hold and that does not fit this disk: undone, and what clients are told."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from dstore.model.errors import DStoreError, Unavailable, UnavailableKind, Unknown
from tests.support.replications import OnlyReplica
from tests.support.stores import put, rid, store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dstore.storage.range_file import RangeFile


class FullAtCommit:
    """A connection whose disk is found full by the next COMMIT."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        """Do it, unless it commits."""
        if statement == "COMMIT":
            raise apsw.FullError("database or disk is full")
        return self._connection.execute(statement, *values)


@contextmanager
def full_at_commit(file: RangeFile, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the file's writer meet a full disk."""
    writer = file._writer
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_connection", FullAtCommit(writer._connection))
        yield


@pytest.mark.parametrize("in_thread", [True, False], ids=["in a thread", "on the loop"])
@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "with others"])
async def test_a_disk_that_is_full_at_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_alone: bool, in_thread: bool
) -> None:
    """If nobody else can hold the write it did not happen; otherwise nobody here can say."""
    replication = OnlyReplica(is_alone=is_alone)
    async with store(tmp_path, replication=replication) as it:
        file = await it.open(await it.new_range())
        if not in_thread:  # a file's first commits are
            for name in "abc":
                await file.submit(put(name, {}))
        end = file._writer.end
        with full_at_commit(file, monkeypatch), pytest.raises(DStoreError) as raised:
            await file.submit(put("new", {"n": {"N": "1"}}))
        if is_alone:
            assert isinstance(raised.value, Unavailable)
            assert raised.value.kind is UnavailableKind.NO_SPACE
        else:
            assert isinstance(raised.value, Unknown)
        assert replication.missed_seqs == [end.seq + 1]
        assert file._writer.end == end
        assert await file.read(rid("new")) is None
        assert it.fatal == []
        await file.submit(put("new", {"n": {"N": "2"}}))
        assert replication.committed_seqs[-1] == end.seq + 1
