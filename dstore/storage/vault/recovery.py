"""What opening a file adds to SQLite's own recovery: nothing damaged is taken for nothing there."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from dstore.model.errors import Corrupt
from dstore.storage.vault import log_tail
from dstore.storage.vault.layout import FRAME_BYTES, WAL_PREFIX_BYTES, WAL_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstore.storage.vault.file_state import FileState


@contextmanager
def damage_reported(path: str) -> Iterator[None]:
    """Report what SQLite itself finds damaged while it opens `path` as `Corrupt` too.

    Its own checks come first where bytes are missing rather than changed: a file cut short at a
    page boundary has fewer pages than its first page counts.
    """
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise Corrupt(f"SQLite refuses the file: {error}", file=path, where="file") from error


def refuse_empty(path: str) -> None:
    """Refuse a database file of no bytes, which SQLite would take for new, deleting its log.

    Raises: Corrupt: the file has lost all its pages. An absent file is SQLite's to refuse.
    """
    try:
        size = Path(path).stat().st_size
    except FileNotFoundError:
        return
    if not size:
        raise Corrupt("page 1 is missing", file=path, where="page 1")


def judge_recovery(connection: apsw.Connection, state: FileState) -> None:
    """Ask, once per recovery and before anything is read, whether SQLite stopped too early.

    It also ends the log where its checksums do not meet though every frame is authentic, as after a
    write that the disk acknowledged and lost. Then later frames say that they followed synced ones.

    Then sync what was recovered. A killed process may have left its last transaction in the
    kernel's memory alone, and a client may read it now. And the first new frame vouches for all
    the frames before it; else damage to a recovered transaction would look like a torn tail and
    take the new transaction with it.

    Raises: Corrupt: frames known to be synced lie past the end that SQLite chose. The log is kept.
    """
    log = state.log
    if log.stamp is None or log.is_judged:
        return
    frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    descriptor = os.open(state.path + WAL_SUFFIX, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stored = (os.fstat(descriptor).st_size - WAL_PREFIX_BYTES) // FRAME_BYTES
        source = log_tail.FrameSource(
            read=lambda amount, offset: os.pread(descriptor, amount, offset), count=stored
        )
        if log_tail.is_known_synced(source, state.sealer, index=frames, stamp=log.stamp):
            # Else closing would fold the shortened log into the database and delete it.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            where = f"wal frame {frames}"
            raise Corrupt(f"{where} does not follow the one before", file=state.path, where=where)
        state.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    log.committed_frames = log.synced_frames = frames
    log.is_judged = True
