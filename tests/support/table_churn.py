"""A thread that creates and deletes tables, and knows which of them there must be."""

from __future__ import annotations

import threading
import time
from random import Random
from typing import TYPE_CHECKING, Final

from tests.support.http_client import Client, NoAnswer

if TYPE_CHECKING:
    from tests.support.server import Server

_NAMES: Final = 8
_POLL_S: Final = 0.01


class TableChurn:
    """Tables of tenant `default` whose names begin with `name`; valid while no thread runs."""

    def __init__(self, name: str, *, seed: int) -> None:
        """Prepare; the seed decides which tables come and go."""
        self.exists: dict[str, bool | None] = {f"{name}-{n}": False for n in range(_NAMES)}
        self.changes = 0
        self._changes_before = 0
        self.failure: BaseException | None = None
        self._random = Random(seed)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, server: Server) -> None:
        """Create and delete from now on, in a thread."""
        self._stop.clear()
        self._changes_before = self.changes
        self._thread = threading.Thread(target=self._run, args=(server.client(),))
        self._thread.start()

    def wait_change(self) -> None:
        """Wait until something was created or deleted since `begin`, or the thread has ended."""
        assert self._thread is not None
        while self.changes == self._changes_before and self._thread.is_alive():
            time.sleep(_POLL_S)

    def end(self) -> None:
        """Wait until the thread has stopped. Raises: what it found wrong."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def settle(self, client: Client) -> int:
        """Check each table, take what is found as certain. Returns: how many there are.

        A table that is there works: it takes, shows and loses an entry.
        """
        for name, expected in self.exists.items():
            status = client.get(path(name)).status
            assert status in {200, 404}, (name, status)
            found = status == 200
            assert expected in {None, found}, f"{name}: acknowledged {expected}, found {found}"
            self.exists[name] = found
            if found:
                entry = f"{path(name)}/id/1"
                client.delete(entry)
                assert client.put(entry, {"is": name}).status == 201
                assert client.get(entry).json() == {"is": name}
        return sum(found is True for found in self.exists.values())

    def _run(self, client: Client) -> None:
        with client:
            try:
                while not self._stop.is_set():
                    self._change_one(client)
            except NoAnswer:
                return
            except BaseException as error:  # noqa: BLE001 - the test's thread raises it
                self.failure = error

    def _change_one(self, client: Client) -> None:
        name = self._random.choice(list(self.exists))
        before = self.exists[name]
        assert before is not None
        self.exists[name] = None
        if before:
            answer = client.delete(path(name))
            assert answer.status == 204, answer.body
        else:
            answer = client.put(path(name), {"idType": "Integer"})
            assert answer.status == 201, answer.body
        self.exists[name] = not before
        self.changes += 1


def path(table: str) -> str:
    """Spell a table's path."""
    return f"/v1/tenant/default/table/{table}"
