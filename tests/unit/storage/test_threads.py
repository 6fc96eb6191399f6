"""After a failure that ends the process no batch is begun any more."""

from threading import Event

import pytest

from dstore.model.errors import Unavailable
from dstore.storage.threads import StorageThreads


def test_halted_threads_begin_nothing() -> None:
    """A sync that succeeds after one that failed proves nothing, so nothing may lead to it."""
    begun, go_on = Event(), Event()
    done: list[str] = []

    def first() -> str:
        begun.set()
        assert go_on.wait(10)
        return "first"

    with StorageThreads(1) as threads:
        running = threads.submit(first)
        queued = threads.submit(done.append, "queued")
        assert begun.wait(10)
        threads.halt()
        late = threads.submit(done.append, "late")
        go_on.set()
        assert running.result() == "first"
        for refused in (queued, late):
            with pytest.raises(Unavailable, match="nothing was written"):
                refused.result()
    assert done == []
