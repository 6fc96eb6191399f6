"""What a node says of itself: `node/{uuid}/details`, written when it changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.base.limits import DETAILS_LOOK_S
from dstore.model.features import KNOWN_HERE
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.values import ComponentStatus, Details

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.security.identity import Identity
    from dstore.service.cluster.notices import NodeNotices
    from dstore.service.cluster.own_keys import OwnKeys
    from dstore.service.disk_space import DiskSpace

_FREE_STEPS: Final = 64  # of the capacity: free space is told in such parts


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlace:
    """Who and where a node is.

    Attributes:
        identity: in its control plane, as its certificate says.
        zone: what fails together with it.
        version: of its dStore.
        started_at_us: wall time in microseconds since 1970.
        features: that it knows, words of `model.features`.
    """

    identity: Identity
    zone: str = ""
    version: str = ""
    started_at_us: int = 0
    features: tuple[str, ...] = KNOWN_HERE


class NodeDetails:
    """Keeps what is said of the node true. Used from one event loop."""

    def __init__(
        self,
        place: NodePlace,
        own: OwnKeys,
        notices: NodeNotices,
        *,
        status: Callable[[], ComponentStatus],
        disk: Callable[[], DiskSpace | None],
    ) -> None:
        """Say it by `own`; `status` and `disk` tell how the node is, the disk once it is open."""
        self._place = place
        self._own = own
        self._notices = notices
        self._status = status
        self._disk = disk
        self._free_bytes = 0
        self.uri: str | None = None
        """Where others reach the node's peer listener; known before anything is said."""

    async def keep(self) -> None:
        """Say what has changed, again and again, until cancelled."""
        while True:
            self.say()
            disk = self._disk()
            if disk is not None and not disk.has_space:
                self._notices.tell_of_full_disk(disk.free_bytes)
            await asyncio.sleep(DETAILS_LOOK_S)

    def say(self) -> None:
        """Say how the node is now."""
        assert self.uri is not None, "it is announced before anything runs"
        disk = self._disk()
        capacity_bytes = 0 if disk is None else disk.free_bytes + disk.used_bytes
        details = Details(
            status=self._status(),
            uri=self.uri,
            zone=self._place.zone,
            version=self._place.version,
            started_at_us=self._place.started_at_us,
            free_bytes=self._rounded_free(disk, capacity_bytes),
            capacity_bytes=capacity_bytes,
            features=self._place.features,
        )
        identity = self._place.identity
        path = keys.DetailsPath(identity.role, keys.ComponentId(identity.uuid))
        self._own.say(path.path, values.encode(details))

    def _rounded_free(self, disk: DiskSpace | None, capacity_bytes: int) -> int:
        """Round free space, and stay with what was said while it is about right."""
        if disk is None:
            return 0
        step_bytes = max(capacity_bytes // _FREE_STEPS, 1)
        if abs(disk.free_bytes - self._free_bytes) > step_bytes:
            self._free_bytes = disk.free_bytes // step_bytes * step_bytes
        return self._free_bytes
