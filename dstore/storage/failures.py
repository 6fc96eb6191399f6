"""SQLite's failures in dStore's words: the one place that reads APSW's exceptions."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import apsw

from dstore.model.errors import Corrupt, DStoreError, Unavailable, UnavailableKind

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


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
        case apsw.IOError() | apsw.CantOpenError() | OSError():
            return Corrupt(f"{name} cannot be read from the disk.", file=name, where="disk")
        case apsw.BusyError() | apsw.LockedError():
            return Unavailable(
                UnavailableKind.OVERLOADED, "The range is busy; retry.", retry_after_ms=100
            )
        case _:
            return error


def no_space() -> Unavailable:
    """A definite refusal: the batch was rolled back."""
    return Unavailable(UnavailableKind.NO_SPACE, "The disk is full; free space, then retry.")
