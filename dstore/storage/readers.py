"""Connections that threads read a file by: a few are kept, more are opened when they are needed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import apsw

from dstore.storage.failures import stored_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dstore.storage.vault.vault import Vault

Result = TypeVar("Result")

IDLE_READERS_MAX: Final = 2


class Readers:
    """The readers of one file; `lend` is for any thread."""

    def __init__(self, vault: Vault, path: Path) -> None:
        """Open none yet."""
        self._vault = vault
        self._path = path
        self._idle: list[apsw.Connection] = []

    def lend(self, read: Callable[[apsw.Connection], Result]) -> Result:
        """Have a connection used by this thread. Raises: Corrupt, Unavailable; as `read` does."""
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = self._vault.connect(self._path, readonly=True)
        try:
            return read(reader)
        except (apsw.Error, OSError) as error:
            raise stored_error(error, file=str(self._path)) from error
        finally:
            if len(self._idle) < IDLE_READERS_MAX:
                self._idle.append(reader)
            else:
                reader.close()

    def close(self) -> None:
        """Close those that are idle, which must be all."""
        for reader in self._idle:
            reader.close()


@contextmanager
def one_moment(connection: apsw.Connection) -> Iterator[None]:
    """Read all as of one commit; the connection is in no transaction."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
