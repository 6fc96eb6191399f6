"""A coordinator that is emptied, and filled again from control's store and by its nodes."""

from __future__ import annotations

import asyncio

from dstore.service.control.status import RecoveryState
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Coordinator, KeyValue
from tests.support.control import ControlProcess, eventually


async def emptied(coordinator: Coordinator) -> None:
    """Delete all there is."""
    listing = await coordinator.list(keys.EVERYTHING)
    for kv in listing.kvs:
        await coordinator.delete(kv.key)


async def decided(coordinator: Coordinator) -> dict[str, bytes]:
    """Read what control decided, beside its own marks."""
    listing = await coordinator.list(keys.EVERYTHING)
    return {kv.key: kv.value for kv in listing.kvs if _is_decided(kv)}


def _is_decided(kv: KeyValue) -> bool:
    return isinstance(
        keys.parse(kv.key),
        keys.TenantPath | keys.TablePath | keys.RangePath | keys.NodeRangesPath,
    )


async def range_values(coordinator: Coordinator) -> dict[str, values.RangePlacement]:
    """Read the ranges' values by their keys."""
    found = {}
    for key, value in (await decided(coordinator)).items():
        path = keys.parse(key)
        if isinstance(path, keys.RangePath):
            found[key] = values.decode(path, value)
    return found


async def recovered(process: ControlProcess) -> None:
    """Wait until a recovery that was ordered is done."""
    async with asyncio.timeout(20):
        while (  # noqa: ASYNC110
            await process.control.recovery.report()
        ).state is not RecoveryState.NOT_NEEDED:
            await asyncio.sleep(0.02)
    await eventually(lambda: process.leads)
