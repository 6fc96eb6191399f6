"""What the view says of where nodes are, and which disks they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.replication.whereabouts import NOWHERE, Whereabouts

if TYPE_CHECKING:
    from dstore.topology.view import TopologyView


def where(view: TopologyView, node: str) -> Whereabouts:
    """Say where a node is, as it has said itself, alive or not."""
    seen = view.node(node)
    if seen is None:
        return NOWHERE
    return Whereabouts(
        uri=None if seen.details is None else seen.details.value.uri,
        incarnation=None if seen.boot is None else seen.boot.value.incarnation,
    )


def is_alive(view: TopologyView, node: str) -> bool:
    """Tell whether a node holds its lease."""
    seen = view.node(node)
    return seen is not None and seen.alive is not None
