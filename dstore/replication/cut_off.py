"""A primary that does not hear its replicas, while they live: one of them takes the range.

It is alive, so control leaves it what it has (REPLICATION.md, leases), and it may not let go of so
many that too few are left in sync; without this its range takes no writes for as long as its links
are down. What it does is the swap that control makes when a primary is dead: whoever opens the
range hears the others first, and leaves out who is not heard. So nothing is lost by it, even if the
former primary is heard again meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.logging import get_logger
from dstore.replication import placements
from dstore.replication.placements import Overtaken
from dstore.replication.surroundings import pause_ms
from dstore.security.identity import ComponentRole
from dstore.topology.coordinator import CoordinatorError
from dstore.topology.keyspace import AlivePath, ComponentId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.replication.placements import Placed
    from dstore.replication.surroundings import Surroundings

_log: Final = get_logger(__name__)


async def heir_of_the_unheard(placed: Placed, around: Surroundings) -> str | None:
    """Name an in-sync replica that may do better; None: there are too few without this one.

    Raises: CoordinatorError: nobody knows who lives.
    """
    return next(iter(await living_others(placed, around)), None)


async def living_others(placed: Placed, around: Surroundings) -> Sequence[str]:
    """Name the in-sync replicas that live beside this one; nobody if a write needs more than those.

    All of them get their turn: whoever does no better names the one behind it.

    Raises: CoordinatorError: nobody knows who lives.
    """
    value, own = placed.value, around.node
    others = sorted((each.node < own, each.node) for each in value.in_sync if each.node != own)
    if len(others) < value.min_in_sync:
        return ()
    living = []
    for _, node in others:
        path = AlivePath(ComponentRole.NODE, ComponentId(node)).path
        if (await around.coordinator.get(path)).kv is not None:
            living.append(node)
    return living if len(living) >= value.min_in_sync else ()


async def give_to_another(placed: Placed, around: Surroundings) -> None:
    """Make another replica the primary of a range that can't be opened here.

    Raises: Overtaken: it is, or the range's value is another one anyway.
    """
    try:
        heir = await heir_of_the_unheard(placed, around)
    except CoordinatorError as error:
        _log.info("range_not_given_on", range=placed.value.range_id, reason=error.message)
        return
    if heir is not None:
        await give_to(placed, heir, around)


async def give_to(placed: Placed, heir: str, around: Surroundings) -> None:
    """Make an in-sync replica the primary of a range that can't be opened here.

    Raises: Overtaken: it is, or the range's value is another one anyway.
    """
    value = placements.with_primary(placed.value, heir)
    try:
        now = await placements.swap(around.coordinator, placed, value, pause=pause_ms)
    except CoordinatorError as error:
        _log.info("range_not_given_on", range=placed.value.range_id, reason=error.message)
        return
    _log.warning("range_given_on", range=value.range_id, epoch=value.epoch, to=heir)
    raise Overtaken(now)
