"""The door before a node's ranges: it is shut while the node waits, and says for what."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.base.limits import RETRY_AFTER_MS
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.replication.index_calls import INDEX_CALLS
from dstore.replication.peers.calls import Answered
from dstore.replication.replica_calls import REPLICA_CALLS
from dstore.replication.sample_calls import ASK_SAMPLE
from dstore.replication.scrub_calls import ASK_SCRUBS
from dstore.replication.split_calls import SPLIT_CALLS
from dstore.service.calls.feed_calls import FEED_RANGE
from dstore.service.calls.range_calls import RANGE_CALLS
from dstore.service.calls.recollection_calls import ASK_REMEMBERED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dstore.replication.peers.calls import Handler

GATED_CALLS: Final = (
    *RANGE_CALLS,
    *REPLICA_CALLS,
    *SPLIT_CALLS,
    ASK_SAMPLE,
    ASK_SCRUBS,
    ASK_REMEMBERED,
    *INDEX_CALLS,
    FEED_RANGE,
)
"""What proxies ask of a node's ranges, and other nodes and control of its replicas."""


class RangeGate:
    """Answers GATED_CALLS for whoever comes later, and may go; in between says why not.

    A node that waits for control, or for the end of its former life, listens all the same.
    """

    def __init__(self, why: str) -> None:
        """Begin closed; `why` is a sentence for callers."""
        self._handlers: dict[str, Handler[Any, Any]] = {}
        self._why = why

    def open(self, answered: Iterable[Answered[Any, Any]]) -> None:
        """Have these handlers answer from now on."""
        self._handlers = {each.call.name: each.handler for each in answered}

    def close(self, why: str) -> None:
        """Answer nothing any more; calls under way end as they would."""
        self._handlers, self._why = {}, why

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls and their handlers."""
        return tuple(
            Answered(call=call, handler=partial(self._handle, call.name)) for call in GATED_CALLS
        )

    def _handle(self, name: str, request: Any, received: Any) -> Any:
        handler = self._handlers.get(name)
        if handler is None:
            raise Unavailable(UnavailableKind.LOCKED, self._why, retry_after_ms=RETRY_AFTER_MS)
        return handler(request, received)
