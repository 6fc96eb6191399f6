"""Files that hold secrets: mode 0600, written whole or not at all, durable when the call returns.

All functions wait for the disk; call them in a thread once anything is served.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS: Final = 0o077  # any right of the group or of the rest


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 whole or not at all, durably. Raises: OSError: it names `path`."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        _write_scratch(scratch, content)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_directory(path.parent)


def read_private(path: Path, *, bytes_max: int) -> bytes:
    """Read a secret from a file that only its owner can read.

    Raises:
        PermissionError: the group or others have rights on it, so it may be known already.
        ValueError: it holds more than `bytes_max` bytes. OSError: it cannot be read.
    """
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & _OTHERS:
            message = (
                f"{path} can be reached by others (mode {stat.S_IMODE(mode):04o}); replace what it "
                "holds if they may have read it, and set its mode to 0600."
            )
            raise PermissionError(message)
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise ValueError(f"{path} has more than {bytes_max} bytes; it is some other file.")
    return content


def sync_directory(path: Path) -> None:
    """Make a directory's entries durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_scratch(scratch: Path, content: bytes) -> None:
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
