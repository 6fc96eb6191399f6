"""Whether what a table's settings say of expiring is so in all of its ranges."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from dstore.base.expiry_limits import EXPIRY_ASK_S, EXPIRY_ASKED_AT_ONCE, EXPIRY_KNOWN_MAX
from dstore.model.errors import DStoreError

if TYPE_CHECKING:
    from dstore.model.ranges import RangeRef, Table
    from dstore.model.table_settings import TimeToLive
    from dstore.service.ranges import Ranges


class ExpiryTold(msgspec.Struct, frozen=True, array_like=True):
    """By which attribute a range's entries expire, None by none, and whether all are noted."""

    attribute: str | None
    is_settled: bool


class ExpiryStates:
    """Asks ranges, until all of them have followed; once they have, that is known."""

    def __init__(self, ranges: Ranges) -> None:
        """Ask these."""
        self._ranges = ranges
        self._settled: OrderedDict[str, TimeToLive] = OrderedDict()  # by table id

    async def is_settled(self, table: Table) -> bool:
        """Tell whether all ranges have followed; who can't say so within EXPIRY_ASK_S has not."""
        definition = table.definition
        wanted = definition.settings.time_to_live
        if wanted is None or self._settled.get(definition.table_id) == wanted:
            return True
        turns = asyncio.Semaphore(EXPIRY_ASKED_AT_ONCE)
        expires_by = definition.settings.expires_by

        async def has_followed(ref: RangeRef) -> bool:
            async with turns:
                told = await self._ranges.expiry(ref)
            return told.is_settled and told.attribute == expires_by

        try:
            async with asyncio.timeout(EXPIRY_ASK_S):
                told = await asyncio.gather(*map(has_followed, table.ranges.refs))
        except (DStoreError, TimeoutError):
            return False
        if all(told):
            self._settled[definition.table_id] = wanted
            if len(self._settled) > EXPIRY_KNOWN_MAX:
                self._settled.popitem(last=False)
        return all(told)
