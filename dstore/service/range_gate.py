"""The door before a node's ranges: it is shut while the node waits, and says for what."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dstore.base.limits import RETRY_AFTER_MS
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.replication.peers.calls import Answered
from dstore.service.calls import range_calls
from dstore.service.range_server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Callable


class RangeGate:
    """Answers the same calls for a server that comes later, and may go; in between says why not.

    A node that waits for control, or for the end of its former life, listens all the same.
    """

    def __init__(self, why: str) -> None:
        """Begin closed; `why` is a sentence for callers."""
        self._server: RangeServer | None = None
        self._why = why

    def open(self, server: RangeServer) -> None:
        """Have `server` answer from now on."""
        self._server = server

    def close(self, why: str) -> None:
        """Answer nothing any more; calls under way end as they would."""
        self._server, self._why = None, why

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls and their handlers."""
        return tuple(
            Answered(call=call, handler=partial(self._handle, pick))
            for call, pick in (
                (range_calls.READ_ENTRY, RangeServer.read),
                (range_calls.WRITE_ENTRY, RangeServer.write),
                (range_calls.READ_PAGE, RangeServer.page),
                (range_calls.LIST_ENTRIES, RangeServer.list),
                (range_calls.DEFER_WRITE, RangeServer.defer),
                (range_calls.ASK_DEFERRED, RangeServer.deferred),
            )
        )

    def _handle(self, pick: Callable[[Any, Any, Any], Any], request: Any, received: Any) -> Any:
        server = self._server
        if server is None:
            raise Unavailable(UnavailableKind.LOCKED, self._why, retry_after_ms=RETRY_AFTER_MS)
        return pick(server, request, received)
