"""SQLite's failures in dStore's words: the one place that reads APSW's exceptions."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import apsw

from dstore.base.limits import RETRY_AFTER_MS
from dstore.model.errors import (
    Corrupt,
    DStoreError,
    NotMine,
    Unavailable,
    UnavailableKind,
)

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@contextmanager
def translated(file: str) -> Iterator[None]:
    """Raise what storage raises inside as `stored_error` names it."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise stored_error(error, file=file) from error


def stored_error(error: Exception, *, file: str) -> Exception:
    """Translate what storage raised; anything that is no failure of storage stays as it is.

    Args:
        error: from APSW or from the operating system.
        file: the database's path; only its name goes into the message.
    """
    name = file.rpartition("/")[2]
    match error:
        case DStoreError():
            return error
        case apsw.FullError():
            return no_space()
        case apsw.IOError() if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE:
            return no_space()  # the log's index, 32 KiB a piece, finds no room
        case OSError() if error.errno in _NO_SPACE:
            return no_space()
        case apsw.CorruptError() | apsw.NotADBError() | apsw.FormatError():
            return Corrupt(f"SQLite finds {name} malformed.", file=name, where="structure")
        case OSError() if error.errno in _EXHAUSTED:
            return _overloaded()
        case apsw.CantOpenError() if _is_exhausted():
            return _overloaded()
        case apsw.IOError() | apsw.CantOpenError() | OSError():
            return Corrupt(f"{name} cannot be read from the disk.", file=name, where="disk")
        case apsw.BusyError() | apsw.LockedError():
            return _overloaded()
        case _:
            return error


def gone(range_id: str) -> NotMine:
    """Refuse what asks for a range whose file is being, or was, deleted."""
    return NotMine(range_id)


def is_io_failure(error: BaseException) -> bool:
    """Tell a write or sync that the disk failed (B16) from a file that could not be opened."""
    if isinstance(error, apsw.IOError):
        return getattr(error, "extendedresult", 0) != apsw.SQLITE_IOERR_SHMSIZE
    return isinstance(error, OSError) and error.errno not in (_EXHAUSTED | _NO_SPACE)


def _is_exhausted() -> bool:
    """Tell whether SQLite could not open a file for want of descriptors, which it does not say."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in _EXHAUSTED
    return False


def _overloaded() -> Unavailable:
    return Unavailable(
        UnavailableKind.OVERLOADED,
        "The range is busy, or files cannot be opened right now; retry.",
        retry_after_ms=RETRY_AFTER_MS,
    )


def no_space() -> Unavailable:
    """A definite refusal: the batch was rolled back."""
    return Unavailable(UnavailableKind.NO_SPACE, "The disk is full; free space, then retry.")
