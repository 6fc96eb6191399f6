"""Brings ranges' expiry rows in line with their tables' settings, a piece at a time, in turn.

A range is looked at when its file is opened, when it is served, and when its table's settings have
changed. What is to be done stands in the file (`storage.expiry_rows`): whoever is stopped half-way
goes on, and who has nothing to do finds that out in memory.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.expiry_limits import (
    EXPIRY_OPENED_PAUSE_S,
    EXPIRY_RETRY_S,
    EXPIRY_RETRY_S_MAX,
)
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError, NotMine
from dstore.model.expiry import rule_of
from dstore.storage.derived_rows import expiry_of
from dstore.storage.expiry_rows import NO_EXPIRY, advance

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.base.clock import Clock
    from dstore.model.expiry import ExpiryRule
    from dstore.service.expiring.effort import Effort
    from dstore.service.holdings import Holdings

_log: Final = get_logger(__name__)


class IndexKeeper:
    """Looks at ranges. Used from one event loop."""

    def __init__(
        self,
        holdings: Holdings,
        *,
        effort: Effort,
        clock: Clock,
        on_kept: Callable[[str, bool], None],
    ) -> None:
        """Keep the ranges of `holdings`.

        `on_kept` is told of a range, by its id, whether its items expire and all are noted.
        """
        self._holdings = holdings
        self._effort = effort
        self._clock = clock
        self._on_kept = on_kept
        self._queue: dict[str, None] = {}
        self._tries: dict[str, int] = {}  # of those that failed
        self._is_due = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be looked at."""
        return not self._queue and not self._tries

    def look(self, range_id: str) -> None:
        """Have a range looked at, if there may be something to do."""
        if self._is_of_no_concern(range_id):
            self._on_kept(range_id, False)  # noqa: FBT003 - the only thing that it says
            return
        self._queue[range_id] = None
        self._is_due.set()

    async def run(self) -> None:
        """Look at what is queued, until cancelled."""
        while True:
            if not self._queue:
                self._is_due.clear()
                await self._is_due.wait()
            range_id = next(iter(self._queue))
            del self._queue[range_id]
            began_ns = self._clock.monotonic_ns()
            was_closed = self._holdings.peek_held(range_id) is None
            try:
                is_over = await self._keep(range_id)
            except NotMine:
                self._tries.pop(range_id, None)
                continue
            except Exception as error:  # noqa: BLE001 - it is tried again, whatever it is (I14)
                self._try_later(range_id, error)
                continue
            self._tries.pop(range_id, None)
            if not is_over:
                self._queue[range_id] = None  # behind the others
                await self._effort.rest(began_ns)
            elif was_closed:
                await asyncio.sleep(EXPIRY_OPENED_PAUSE_S)

    def _is_of_no_concern(self, range_id: str) -> bool:
        """Tell whether nothing expires in a range, and nothing is left of when something did."""
        try:
            wanted = self._rule(range_id)
        except NotMine:
            return True
        file = self._holdings.peek_held(range_id)
        return wanted is None and (file is None or expiry_of(file.derived) == NO_EXPIRY)

    def _rule(self, range_id: str) -> ExpiryRule | None:
        return rule_of(self._holdings.table_of(range_id).definition)

    async def _keep(self, range_id: str) -> bool:
        """Do a piece. Returns: whether nothing is left to do. Raises: NotMine, Unavailable."""
        file = await self._holdings.open_held(range_id)
        wanted, state = self._rule(range_id), expiry_of(file.derived)
        is_kept = state.rule == wanted and not state.is_dropping and state.built_to is None
        if not is_kept:
            has_more = await file.change(partial(advance, wanted=wanted), is_aside=True)
            if has_more or self._rule(range_id) != wanted:
                return False
        self._on_kept(range_id, wanted is not None)
        return True

    def _try_later(self, range_id: str, error: Exception) -> None:
        tries = self._tries[range_id] = self._tries.get(range_id, 0) + 1
        unforeseen = None if isinstance(error, DStoreError) else error
        _log.warning("expiry_rows_later", range=range_id, reason=str(error), exc_info=unforeseen)
        wait_s = min(EXPIRY_RETRY_S * 2 ** min(tries - 1, 16), EXPIRY_RETRY_S_MAX)
        asyncio.get_running_loop().call_later(wait_s, self._again, range_id)

    def _again(self, range_id: str) -> None:
        self._queue[range_id] = None
        self._is_due.set()
