"""Control lets nobody use what a node does not know yet: the gate of an upgrade (ADR 0024).

Nodes say what they know in their details, which outlast them. One that was admitted and not removed
counts, be it alive or not: it may come back as it was. Nodes of before there were such words say
nothing, and know nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.feature_limits import FEATURE_RETRY_MS, NODES_BEHIND_NAMED
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.model.features import Feature
from dstore.service.control.sites import all_nodes
from dstore.storage.control.records import ComponentState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dstore.service.control.realm import Realm
    from dstore.storage.control.store import Transaction
    from dstore.topology.view import TopologyView

_ALL: Final = frozenset(Feature)


def lacking(view: TopologyView, node: str) -> frozenset[Feature]:
    """Say what a node does not know, as far as it has said; nothing is said of what nobody uses."""
    seen = view.node(node)
    if seen is None or seen.details is None:
        return _ALL
    return _ALL.difference(seen.details.value.features)


async def require(realm: Realm, tx: Transaction, features: Collection[Feature]) -> None:
    """Let features be used, in the transaction that begins to.

    Raises: Unavailable: a node that was not removed does not say that it knows all of them.
    """
    if not features:
        return
    view, wanted = realm.watcher.view, frozenset(features)
    missing = {
        str(record.uuid): lacking(view, record.uuid) & wanted
        for record in await all_nodes(tx)
        if record.state is not ComponentState.REMOVED
    }
    behind = [node for node, found in missing.items() if found]
    if behind:
        raise Unavailable(
            UnavailableKind.OVERLOADED,
            f"{phrase(frozenset().union(*missing.values())).capitalize()} can't be used yet: "
            f"{named(behind)}. Upgrade them, or remove those that are gone; then retry.",
            retry_after_ms=FEATURE_RETRY_MS,
        )


def phrase(features: Collection[Feature]) -> str:
    """Name features in a sentence."""
    return " and ".join(each.phrase for each in sorted(features))


def named(nodes: Sequence[str]) -> str:
    """Name nodes that know less than others, NODES_BEHIND_NAMED at the most."""
    shown = ", ".join(nodes[:NODES_BEHIND_NAMED])
    more = len(nodes) - NODES_BEHIND_NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"these nodes are of a version that does not know that: {shown}{rest}"
