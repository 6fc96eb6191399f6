"""Writes that were asked for before, by the names of their requests: told again, not done again.

An SDK that hears nothing, or that nobody knows how its write went, sends the same once more. The
range's file knows its name then (`storage.brief_names`), whichever node holds the range by now. So
that the answer is the same, what was asked of the write is made before it is committed, and kept
with its name (I9).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from dstore.service.ranges import LocalRanges
from dstore.service.write_answers import NOTHING_ASKED, answer_to_keep
from dstore.storage.range_writer import Write

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Coroutine

    from dstore.model.ranges import RangeRef
    from dstore.service.write_answers import WriteAsk, Written


class OnceRanges(LocalRanges):
    """The ranges of this process; what is asked of a write of a brief name is kept with it."""

    def write(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Coroutine[Any, Any, Written]:
        """Do a write, and wait until it is durable."""
        once = self._once(ref, write, ask)
        return super().write(ref, once, ask=ask, body_bytes=body_bytes)

    def submit(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Coroutine[Any, Any, Future[Written]]:
        """Queue a write."""
        once = self._once(ref, write, ask)
        return super().submit(ref, once, ask=ask, body_bytes=body_bytes)

    def _once(self, ref: RangeRef, write: Write, ask: WriteAsk | None) -> Write:
        """Have a write's answer kept, if there is more to it than is kept of every one."""
        request = write.request
        if request is None or not request.is_brief or ask is None or ask is NOTHING_ASKED:
            return write
        key, indexes = self._key_written(ref, write), self._indexes_counted(ref, ask)
        answer = partial(answer_to_keep, ask=ask, key=key, indexes=indexes)
        return msgspec.structs.replace(write, answer=answer)
