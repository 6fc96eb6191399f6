"""The node and the proxy that share control's process: entered without a token, known by reference.

They make no connection and show no certificate; who is in the process is who has its data
directory. In everything else they are components like any other, and stand in the same lists.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dstore.security.control_key import Sealed
from dstore.security.identity import ComponentRole, Identity
from dstore.security.keys import new_key
from dstore.service.control.membership import find, require_admitted, store
from dstore.storage.control.components import CONTROLS, NODES, PROXIES
from dstore.storage.control.records import (
    ComponentState,
    ControlRecord,
    NodeRecord,
    NodeUuid,
    ProxyRecord,
    ProxyUuid,
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
    now_us = clock.wall_us()

    def sealed(what: Sealed, uuid: str) -> bytes:
        return plane.control_key.seal_key(
            new_key(entropy), what=what, record_id=uuid, entropy=entropy
        )

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
        if not await _is_entered(tx, residents.control, version=version, now_us=now_us):
            control = ControlRecord(
                uuid=plane.process,
                uri=uri_of(residents.control),
                state=ComponentState.ACTIVE,
                certificate_serial=_NO_CERTIFICATE,
                version=version,
                joined_at_us=now_us,
                changed_at_us=now_us,
            )
            await CONTROLS.insert(tx, control)
        if not await _is_entered(tx, residents.node, version=version, now_us=now_us):
            entered = NodeRecord(
                uuid=NodeUuid(node),
                zone=zone,
                uri=uri_of(residents.node),
                state=ComponentState.ACTIVE,
                sealed_key=sealed(Sealed.NODE, node),
                certificate_serial=_NO_CERTIFICATE,
                capacity_bytes=0,
                version=version,
                joined_at_us=now_us,
                changed_at_us=now_us,
            )
            await NODES.insert(tx, entered)
        uuid = residents.proxy.uuid
        if not await _is_entered(tx, residents.proxy, version=version, now_us=now_us):
            proxy = ProxyRecord(
                uuid=ProxyUuid(uuid),
                zone=zone,
                uri=uri_of(residents.proxy),
                state=ComponentState.ACTIVE,
                sealed_key=sealed(Sealed.PROXY, uuid),
                certificate_serial=_NO_CERTIFICATE,
                version=version,
                joined_at_us=now_us,
                changed_at_us=now_us,
            )
            await PROXIES.insert(tx, proxy)
    return residents


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
