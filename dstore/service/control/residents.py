"""The node and the proxy that share control's process: entered without a token, known by reference.

They make no connection and show no certificate; who is in the process is who has its data
directory. In everything else they are components like any other, and stand in the same lists.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dstore.security.control_key import Sealed
from dstore.security.identity import ComponentRole, Identity
from dstore.security.keys import new_key
from dstore.service.control.membership import find, require_admitted, store
from dstore.storage.control.components import CONTROLS, NODES, PROXIES
from dstore.storage.control.records import (
    ComponentState,
    ControlRecord,
    NodeRecord,
    ProxyRecord,
)

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.service.control.plane import ControlPlane
    from dstore.storage.control.store import Transaction

_NO_CERTIFICATE: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residents:
    """Who is in the process, as the control plane knows them."""

    control: Identity
    node: Identity
    proxy: Identity


def uri_of(identity: Identity) -> str:
    """Say where a component is that nobody dials."""
    return f"direct://{identity.uuid}"


async def enter_residents(
    plane: ControlPlane,
    *,
    node: str,
    zone: str,
    version: str,
    clock: Clock,
    entropy: Entropy,
) -> Residents:
    """Enter all three in the store, or write down what is new of them.

    Args:
        plane: opened.
        node: the node's own UUID, which stays with its data.
        zone: where the process runs.
        version: of dStore.
        clock: dates what is written.
        entropy: draws keys, and the proxy's UUID the first time.
    Raises: Refused(FORBIDDEN): the node was removed, for good. Unavailable, Unknown: the store.
    """
    entering = _Entering(plane, zone=zone, version=version, now_us=clock.wall_us(), entropy=entropy)
    async with plane.store.transaction() as tx:
        residents = Residents(
            control=plane.identity,
            node=Identity(control_plane=plane.uuid, role=ComponentRole.NODE, uuid=node),
            proxy=Identity(
                control_plane=plane.uuid,
                role=ComponentRole.PROXY,
                uuid=await _proxy(tx) or entropy.uuid(),
            ),
        )
        await entering.control(tx, residents.control)
        await entering.node(tx, residents.node)
        await entering.proxy(tx, residents.proxy)
    return residents


class _Entering:
    """Enters components of one process, unless they are entered already."""

    def __init__(
        self, plane: ControlPlane, *, zone: str, version: str, now_us: int, entropy: Entropy
    ) -> None:
        self._plane = plane
        self._zone = zone
        self._version = version
        self._now_us = now_us
        self._entropy = entropy

    async def control(self, tx: Transaction, identity: Identity) -> None:
        """Enter the control process."""
        if not await self._is_entered(tx, identity):
            await CONTROLS.insert(tx, ControlRecord(**self._common(identity)))

    async def node(self, tx: Transaction, identity: Identity) -> None:
        """Enter the node, with its (node, control) key. Raises: Refused: it was removed."""
        if not await self._is_entered(tx, identity):
            record = NodeRecord(
                **self._common(identity),
                zone=self._zone,
                sealed_key=self._sealed(Sealed.NODE, identity),
                capacity_bytes=0,
            )
            await NODES.insert(tx, record)

    async def proxy(self, tx: Transaction, identity: Identity) -> None:
        """Enter the proxy, with its (proxy, control) key."""
        if not await self._is_entered(tx, identity):
            record = ProxyRecord(
                **self._common(identity),
                zone=self._zone,
                sealed_key=self._sealed(Sealed.PROXY, identity),
            )
            await PROXIES.insert(tx, record)

    async def _is_entered(self, tx: Transaction, identity: Identity) -> bool:
        return await _is_entered(tx, identity, version=self._version, now_us=self._now_us)

    def _common(self, identity: Identity) -> dict[str, Any]:
        """What every component's record has."""
        return {
            "uuid": identity.uuid,
            "uri": uri_of(identity),
            "state": ComponentState.ACTIVE,
            "certificate_serial": _NO_CERTIFICATE,
            "version": self._version,
            "joined_at_us": self._now_us,
            "changed_at_us": self._now_us,
        }

    def _sealed(self, what: Sealed, identity: Identity) -> bytes:
        return self._plane.control_key.seal_key(
            new_key(self._entropy), what=what, record_id=identity.uuid, entropy=self._entropy
        )


async def _proxy(tx: Transaction) -> str | None:
    """Find the proxy that was entered at an earlier start."""
    page = await PROXIES.page(tx)
    return next((one.uuid for one in page.records if one.state is not ComponentState.REMOVED), None)


async def _is_entered(tx: Transaction, identity: Identity, *, version: str, now_us: int) -> bool:
    known = await find(tx, identity)
    if known is None:
        return False
    admitted = require_admitted(known, identity)
    if admitted.version != version:
        await store(tx, replace(admitted, version=version, changed_at_us=now_us))
    return True
