"""The nodes as peers: one `Peer` a node, at the address that the topology says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dstore.replication.peers.errors import unreachable
from dstore.security.identity import ComponentRole
from dstore.topology import keyspace as keys

if TYPE_CHECKING:
    from dstore.base.tasks import Tasks
    from dstore.replication.peers.port import Peer
    from dstore.topology.watcher import TopologyWatcher, Update


Dial = Callable[[str, str], "Peer"]
"""Makes the peer of a node, by its UUID and the address of its peer listener."""


class Nodes(Protocol):
    """Nodes, to be called; `PeerPool` is one."""

    def peer(self, node: str, *, last_uri: str | None = None) -> Peer:
        """Find the peer of a node. Raises: Unreachable: it is not known where it is.

        Args:
            node: its UUID.
            last_uri: where it was before, if the topology does not say where it is.
        """


class _Dialled(NamedTuple):
    peer: Peer
    uri: str


class PeerPool:
    """The nodes of the newest view, to be called. Used from one event loop."""

    def __init__(
        self,
        watcher: TopologyWatcher,
        *,
        dial: Dial,
        tasks: Tasks,
        near: Mapping[str, Peer] | None = None,
    ) -> None:
        """Prepare; a node is dialled when it is first asked for.

        Args:
            watcher: knows where nodes are.
            dial: makes peers; `near` are there already and never dialled.
            tasks: own the closing of peers that are left.
            near: peers of nodes in this process, by UUID.
        """
        self._watcher = watcher
        self._dial = dial
        self._tasks = tasks
        self._near = dict(near or {})
        self._dialled: dict[str, _Dialled] = {}
        self._is_closed = False
        self._unsubscribe = watcher.subscribe(keys.NODES, self._follow)

    def add_near(self, node: str, peer: Peer) -> None:
        """Learn of a node in this process, before anybody calls it."""
        self._near[node] = peer

    def peer(self, node: str | None, *, last_uri: str | None = None) -> Peer:
        """Find the peer of a node, see `Nodes.peer`."""
        found = self._dialled.get(node or "")
        if found is not None:
            return found.peer
        near = self._near.get(node or "")
        if near is not None:
            return near
        uri = None if node is None or self._is_closed else self._uri_of(node) or last_uri
        if node is None or uri is None:
            raise unreachable("is not among the nodes that are known here")
        made = self._dialled[node] = _Dialled(self._dial(node, uri), uri)
        return made.peer

    def knows(self, node: str) -> bool:
        """Tell whether a node is among those that the topology shows, or in this process."""
        return node in self._near or self._uri_of(node) is not None

    def redial(self, reason: str) -> None:
        """Move to new connections, after a renewal of the certificate; calls under way finish."""
        for dialled in self._dialled.values():
            if hasattr(dialled.peer, "redial"):
                dialled.peer.redial(reason)

    async def close(self) -> None:
        """End; calls under way fail as if the connections were lost. Safe to call twice."""
        self._is_closed = True
        self._unsubscribe()
        peers = [dialled.peer for dialled in self._dialled.values()]
        self._dialled.clear()
        await asyncio.gather(*(peer.close() for peer in peers))

    def _follow(self, update: Update) -> None:
        """Leave a node that has gone, or has another address by now; dial one that is back."""
        for path in update.paths:
            if isinstance(path, keys.NodeBootPath):
                self._hurry(path.node)
            if isinstance(path, keys.DetailsPath) and path.role is ComponentRole.NODE:
                dialled = self._dialled.get(path.component)
                if dialled is not None and self._uri_of(path.component) != dialled.uri:
                    del self._dialled[path.component]
                    self._tasks.spawn(dialled.peer.close(), name="leave_node")
                else:
                    self._hurry(path.component)

    def _hurry(self, node: str) -> None:
        """Reach a node that has just said something, if it could not be reached before."""
        dialled = self._dialled.get(node)
        if dialled is not None and hasattr(dialled.peer, "hurry"):
            dialled.peer.hurry()

    def _uri_of(self, node: str) -> str | None:
        shown = self._watcher.view.node(node)
        return None if shown is None or shown.details is None else shown.details.value.uri
