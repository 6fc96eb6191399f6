"""Scrubs that an operator asks for: control passes it on to primaries, and asks how far they are.

Control keeps nothing of it: what was asked for is forgotten by a node that ends, and a range that
has another primary meanwhile is passed on by the former one. Whoever wants to be sure asks again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from dstore.base.limits import CONTROL_ANSWER_S
from dstore.base.scrub_limits import SCRUBS_ASKED_MAX
from dstore.model.errors import DStoreError
from dstore.replication.scrub_calls import AskScrubs
from dstore.service.refusals import no_such
from dstore.topology import keyspace as keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.replication.scrub_calls import ScrubTold
    from dstore.service.control.realm import Realm
    from dstore.service.peer_pool import Nodes
    from dstore.topology.view import PlacedRange

_SILENT: Final = "Its primary does not say."


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubRow:
    """How far the scrub of a range is; both hashes are inclusive.

    Attributes:
        node: its primary, which scrubs it.
        told: what that says; None if it says nothing.
        why: a sentence about what was found, or why nothing is said; "" otherwise.
    """

    range_id: str
    low_hash: int
    high_hash: int
    node: str
    told: ScrubTold | None
    why: str


class Scrubbing(Protocol):
    """What the admin API asks of control about scrubs; any control process answers."""

    async def scrubs(
        self, tenant: str, table: str, *, begins: bool, actor: str
    ) -> Sequence[ScrubRow]:
        """Tell how far the scrubs of a table's ranges are, and with `begins`, have them begin now.

        Raises: Refused: there is no such table. Unavailable: control's store can't be reached.
        """


class TableScrubs:
    """Implements `Scrubbing`."""

    def __init__(self, realm: Realm, nodes: Nodes) -> None:
        """Ask `nodes` about what the view of `realm` shows."""
        self._realm = realm
        self._nodes = nodes

    async def scrubs(
        self, tenant: str, table: str, *, begins: bool, actor: str
    ) -> Sequence[ScrubRow]:
        """See `Scrubbing.scrubs`."""
        realm = self._realm
        shown = realm.watcher.view.table(tenant, table)
        if shown is None:
            raise no_such("table", keys.held_name(tenant, table))
        if begins:
            async with realm.plane.store.transaction() as tx:
                subject = keys.held_name(tenant, table)
                await realm.audit(tx, actor=actor, action="scrub_table", subject=subject)
        by_node: defaultdict[str, list[PlacedRange]] = defaultdict(list)
        for placed in shown.ranges:
            by_node[placed.placement.node].append(placed)
        asked = [
            (node, ranges[start : start + SCRUBS_ASKED_MAX])
            for node, ranges in by_node.items()
            for start in range(0, len(ranges), SCRUBS_ASKED_MAX)
        ]
        rows = await asyncio.gather(*(self._ask(*each, begins=begins) for each in asked))
        found = [row for some in rows for row in some]
        return sorted(found, key=lambda row: row.low_hash)

    async def _ask(
        self, node: str, ranges: Sequence[PlacedRange], *, begins: bool
    ) -> Sequence[ScrubRow]:
        request = AskScrubs(range_ids=tuple(each.range_id for each in ranges), begins=begins)
        told: Sequence[ScrubTold | None] = [None] * len(ranges)
        why = _SILENT
        try:
            peer = self._nodes.peer(node)
            told = (await peer.call(request, deadline_s=CONTROL_ANSWER_S)).told
        except DStoreError as error:
            why = error.message
        return [
            ScrubRow(
                range_id=placed.range_id,
                low_hash=placed.low_hash,
                high_hash=placed.placement.high_hash,
                node=node,
                told=each,
                why=why if each is None else each.why,
            )
            for placed, each in zip(ranges, told, strict=True)
        ]
