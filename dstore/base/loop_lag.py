"""How late the event loop is: the time from when a timer is due to when it runs."""

from asyncio import sleep
from typing import Final

from dstore.base.clock import NS_PER_S, Clock
from dstore.base.metrics import Gauge

LOOK_S: Final = 0.5


async def measure_lag(gauge: Gauge, clock: Clock) -> None:
    """Set `gauge` to the loop's latest delay in seconds, every LOOK_S, until cancelled."""
    while True:
        due_ns = clock.monotonic_ns() + int(LOOK_S * NS_PER_S)
        await sleep(LOOK_S)
        gauge.set(max(0, clock.monotonic_ns() - due_ns) / NS_PER_S)
