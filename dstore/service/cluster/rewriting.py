"""Writing a node's files anew that were made before control had a share of their keys (I4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from dstore.base.limits import REWRITE_LOOK_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.storage.node_keys import STANDALONE

if TYPE_CHECKING:
    from dstore.service.node import Node

_log: Final = get_logger(__name__)


async def rewrite_files(node: Node) -> None:
    """Write them anew, one after another, until cancelled."""
    holdings = node.holdings
    while True:
        for range_id in holdings.to_be_rewritten():
            held = holdings.ranges.get(range_id)
            if held is None or holdings.tenants[held.tenant].control is None:
                continue
            try:
                await holdings.turn(held.tenant, _renewed(node, range_id))
            except DStoreError as error:
                _log.warning("range_not_rewritten", range=range_id, reason=error.message)
            else:
                _log.info("range_rewritten", range=range_id)
        await asyncio.sleep(REWRITE_LOOK_S)


async def _renewed(node: Node, range_id: str) -> None:
    """Put a range's key under control's share, then write its file under a fresh one."""
    holdings = node.holdings
    held = holdings.ranges.get(range_id)
    if held is None:
        return
    if held.enrolment == STANDALONE:
        await holdings.rewrap(range_id, holdings.tenants[held.tenant].control)
    await holdings.rewrite(range_id)
