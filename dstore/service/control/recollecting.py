"""What nodes remember of ranges, gathered: for a coordinator that has lost their values."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dstore.base.limits import RECOLLECTION_TIMEOUT_S, RECOLLECTIONS_ASKED_MAX
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.replication.recollection import Recollection, cut_in_two, cut_of, recollected
from dstore.service.calls.recollection_calls import AskRemembered
from dstore.service.control.sites import last_site_of, new_placement
from dstore.storage.control import tables
from dstore.storage.control.components import NODES
from dstore.topology import values
from dstore.topology.keyspace import RangePath

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dstore.service.calls.recollection_calls import AllRemembered, Shown
    from dstore.service.control.sites import Site
    from dstore.service.peer_pool import Nodes
    from dstore.storage.control.records import NodeUuid, RangeId, RangeRecord, TableRecord
    from dstore.storage.control.store import Transaction
    from dstore.topology.values import RangePlacement
    from dstore.topology.view import TopologyView

_log: Final = get_logger(__name__)

Created = tuple[RangePath, "RangePlacement"]
"""A range as the store has it: where it is shown, and its value as if it were made now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """A table's ranges, and who is meant to hold them: one node of each, and the others.

    Which of them is the primary the store does not know.
    """

    table: TableRecord
    ranges: Sequence[RangeRecord]
    secondaries: Mapping[RangeId, Sequence[NodeUuid]]

    def created(self, sites: Mapping[NodeUuid, Site]) -> list[Created]:
        """Make the values that the ranges would have if they were made now."""
        return [
            (
                RangePath(self.table.tenant, self.table.name, each.low_hash),
                new_placement(
                    each, nodes=(each.node, *self.secondaries[each.range_id]), sites=sites
                ),
            )
            for each in self.ranges
        ]


async def meant(tx: Transaction, table: TableRecord) -> Meant:
    """Read from the store who is meant to hold a table's ranges, those that leave included."""
    nodes: defaultdict[RangeId, list[NodeUuid]] = defaultdict(list)
    for replica in await tables.replicas(tx, table.table_id):
        nodes[replica.range_id].append(replica.node)
    ranges: list[RangeRecord] = []
    secondaries: dict[RangeId, list[NodeUuid]] = {}
    for each in await tables.ranges(tx, table.table_id):
        holders = nodes[each.range_id] or [each.node]
        one = each.node if each.node in holders else holders[0]
        ranges.append(replace(each, node=one))
        secondaries[each.range_id] = [node for node in holders if node != one]
    return Meant(table=table, ranges=ranges, secondaries=secondaries)


async def last_sites(tx: Transaction, view: TopologyView) -> Mapping[NodeUuid, Site]:
    """Say where every node is, or was when it was last seen."""
    return {each.uuid: last_site_of(each, view) for each in await NODES.every(tx)}


class Recollecting:
    """One round of questions; a node that does not answer is asked no more in it."""

    def __init__(self, nodes: Nodes, *, shown: Shown) -> None:
        """Ask `nodes`; nobody has written of what they answer to the coordinator after `shown`."""
        self._nodes = nodes
        self._shown = shown
        self._silent: set[str] = set()

    @property
    def silent(self) -> frozenset[str]:
        """The nodes that have not answered."""
        return frozenset(self._silent)

    async def values(self, created: Sequence[Created]) -> list[Sequence[Created]]:
        """Say what is to be shown of ranges, by what their nodes remember, in the same order.

        It is a range's value, or those of its two children, the lower one first: of one that was
        split, and the store does not know it yet.
        """
        told = await self._told(created)
        cut: dict[str, Sequence[Created]] = {}
        for path, value in created:
            its_told = told[value.range_id]
            split = cut_of(its_told)
            if split is not None:
                cut[value.range_id] = cut_in_two(path, value, its_told, split=split)
                _log.warning("range_was_cut", range=value.range_id, path=path.path)
        told |= await self._told([child for children in cut.values() for child in children])
        return [
            [
                (path, recollected(value, told[value.range_id]))
                for path, value in cut.get(one[1].range_id, (one,))
            ]
            for one in created
        ]

    async def _told(self, created: Sequence[Created]) -> dict[str, dict[str, Recollection]]:
        """Ask what nodes remember of ranges. Returns: it by range and node."""
        asked: defaultdict[str, list[Created]] = defaultdict(list)
        uris: dict[str, str] = {}
        for each in created:
            for replica in each[1].replicas:
                asked[replica.node].append(each)
                uris[replica.node] = replica.uri
        told: dict[str, dict[str, Recollection]] = {one.range_id: {} for _, one in created}
        await asyncio.gather(
            *(
                self._ask(node, some, uri=uris[node], tell=_telling(told, node))
                for node, some in asked.items()
            )
        )
        return told

    async def _ask(
        self,
        node: str,
        created: Sequence[Created],
        *,
        uri: str,
        tell: Callable[[str, Recollection], None],
    ) -> None:
        for start in range(0, len(created), RECOLLECTIONS_ASKED_MAX):
            if node in self._silent:
                return
            some = created[start : start + RECOLLECTIONS_ASKED_MAX]
            request = AskRemembered(
                range_ids=tuple(value.range_id for _, value in some), shown=self._shown
            )
            try:
                answer = await self._nodes.peer(node, last_uri=uri).call(
                    request, deadline_s=RECOLLECTION_TIMEOUT_S
                )
            except DStoreError as error:
                _log.warning("node_not_heard", node=node, reason=error.message)
                self._silent.add(node)
                return
            for range_id, found in _read(some, answer).items():
                tell(range_id, found)


def _telling(
    told: Mapping[str, dict[str, Recollection]], node: str
) -> Callable[[str, Recollection], None]:
    def tell(range_id: str, found: Recollection) -> None:
        told[range_id][node] = found

    return tell


def _read(created: Sequence[Created], answer: AllRemembered) -> dict[str, Recollection]:
    """Take in what a node says; what can't be read it has not said."""
    found: dict[str, Recollection] = {}
    for (path, value), one in zip(created, answer.told, strict=False):
        if one is None:
            continue
        try:
            placement = values.decode(path, one.value) if one.value else None
        except values.Malformed as error:
            _log.error("recollection_refused", path=path.path, reason=error.why)
            continue
        if one.cut is not None and not path.low_hash < one.cut.at_hash <= value.high_hash:
            _log.error("recollection_refused", path=path.path, reason="It is cut elsewhere.")
            continue
        found[value.range_id] = Recollection(
            incarnation=answer.incarnation,
            placement=placement,
            revision=one.revision,
            promised_epoch=one.promised_epoch,
            cut=one.cut,
        )
    return found
