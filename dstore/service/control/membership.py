"""Those that have joined: their records, renewed certificates, and (component, control) keys.

A component that was removed is refused here at its next call; that its connections end as well,
`roster` sees to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dstore.base.limits import CONTROLS_MAX
from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt, RefusalKind, Refused
from dstore.security.certificates import read_certificate
from dstore.security.control_key import Sealed
from dstore.security.envelope import WrongKey
from dstore.security.identity import Certificate, ComponentRole, Identity
from dstore.security.keys import Key256
from dstore.service.calls.join_exchange import JoinAsked
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

_log: Final = get_logger(__name__)

REMOVED: Final = (
    "was removed from its control plane; let it join anew, with an empty directory and another "
    "join token"
)

Known = ControlRecord | NodeRecord | ProxyRecord


class Memberships:
    """Serves the components of a control plane, each about itself."""

    def __init__(self, plane: ControlPlane, *, clock: Clock, entropy: Entropy) -> None:
        """Work for an open control plane."""
        self._plane = plane
        self._clock = clock
        self._entropy = entropy

    @property
    def authorities_pem(self) -> bytes:
        """What components are to trust, one behind the other."""
        return self._plane.authority.certificate_pem

    async def renew(self, identity: Identity, request_pem: bytes) -> bytes:
        """Certify a component's fresh key. Returns: the certificate, PEM.

        Raises: Refused(FORBIDDEN): it was removed. CertificateRefused: the request is no such.
        """
        now_us = self._clock.wall_us()
        pem = self._issued(request_pem, identity, now_us=now_us)
        serial = read_certificate(pem).serial
        async with self._plane.store.transaction() as tx:
            known = require_admitted(await find(tx, identity), identity)
            await store(tx, replace(known, certificate_serial=serial, changed_at_us=now_us))
        _log.info("certificate_renewed", peer=identity.uri, serial=serial)
        return pem

    async def component_key(self, identity: Identity) -> Key256:
        """Hand a node or a proxy its (component, control plane) key; from now on it is active.

        Raises: Refused(FORBIDDEN): it was removed. Corrupt: what the store holds does not open.
        """
        async with self._plane.store.snapshot() as tx:
            known = require_admitted(await find(tx, identity), identity)
        if isinstance(known, ControlRecord):
            raise Refused(RefusalKind.FORBIDDEN, "A control has control's key, and no other.")
        if known.state is ComponentState.JOINING:
            known = await self._activated(identity)
        what = Sealed.NODE if isinstance(known, NodeRecord) else Sealed.PROXY
        return self._opened(known.sealed_key, what, identity.uuid)

    async def _activated(self, identity: Identity) -> NodeRecord | ProxyRecord:
        async with self._plane.store.transaction() as tx:
            known = require_admitted(await find(tx, identity), identity)
            assert not isinstance(known, ControlRecord)
            if known.state is ComponentState.JOINING:
                now_us = self._clock.wall_us()
                known = replace(known, state=ComponentState.ACTIVE, changed_at_us=now_us)
                await store(tx, known)
        return known

    def _issued(self, request_pem: bytes, identity: Identity, *, now_us: int) -> bytes:
        return self._plane.authority.issue(
            request_pem, identity, now_us=now_us, entropy=self._entropy
        )

    def _opened(self, sealed: bytes, what: Sealed, uuid: str) -> Key256:
        try:
            return self._plane.control_key.open_key(sealed, what=what, record_id=uuid)
        except WrongKey:
            raise Corrupt(
                f"The key of {what} {uuid} in control's store is damaged; restore the store.",
                file="control",
                where=what,
            ) from None


async def find(tx: Transaction, identity: Identity) -> Known | None:
    """Read what is written down of a component; None if nothing is."""
    match identity.role:
        case ComponentRole.NODE:
            return await NODES.get(tx, identity.uuid)
        case ComponentRole.PROXY:
            return await PROXIES.get(tx, identity.uuid)
        case ComponentRole.CONTROL:
            return await CONTROLS.get(tx, identity.uuid)
        case ComponentRole.REPORTING:
            return None


def require_admitted(known: Known | None, identity: Identity) -> Known:
    """Refuse a component that is unknown or removed. Raises: Refused(FORBIDDEN)."""
    if known is None:
        raise Refused(
            RefusalKind.FORBIDDEN,
            f"The {identity.role} {identity.uuid} is not known to this control plane; it was "
            "restored from an older backup, or the component must join.",
        )
    if known.state is ComponentState.REMOVED:
        raise Refused(RefusalKind.FORBIDDEN, f"This {identity.role} {REMOVED}.")
    return known


async def controls(tx: Transaction) -> tuple[ControlRecord, ...]:
    """List the controls that others can dial: not those that share a process with all they serve.

    Nor those that were removed, nor those whose place another one has taken: a control that begins
    anew in an empty directory leaves its former record behind. Those that started last come first,
    CONTROLS_MAX at the most.
    """
    found = await CONTROLS.every(tx)
    latest: dict[str, ControlRecord] = {}
    for control in sorted(found, key=lambda one: (-one.changed_at_us, one.uuid)):
        if control.state is not ComponentState.REMOVED and control.uri.startswith("https://"):
            latest.setdefault(control.uri.rstrip("/"), control)
    return tuple(latest.values())[:CONTROLS_MAX]


async def enter(
    tx: Transaction,
    asked: JoinAsked,
    certificate: Certificate,
    *,
    sealed_key: bytes,
    now_us: int,
) -> None:
    """Write a new component down, as joining. Raises: Refused(CONFLICT): its UUID is taken."""
    uuid = certificate.identity.uuid
    if asked.role is ComponentRole.NODE:
        node = NodeRecord(
            uuid=NodeUuid(uuid),
            zone=asked.zone,
            uri=asked.uri,
            state=ComponentState.JOINING,
            sealed_key=sealed_key,
            certificate_serial=certificate.serial,
            capacity_bytes=asked.capacity_bytes,
            version=asked.version,
            joined_at_us=now_us,
            changed_at_us=now_us,
        )
        await NODES.insert(tx, node)
        return
    assert asked.role is ComponentRole.PROXY, "no token admits another role"
    proxy = ProxyRecord(
        uuid=ProxyUuid(uuid),
        zone=asked.zone,
        uri=asked.uri,
        state=ComponentState.JOINING,
        sealed_key=sealed_key,
        certificate_serial=certificate.serial,
        version=asked.version,
        joined_at_us=now_us,
        changed_at_us=now_us,
    )
    await PROXIES.insert(tx, proxy)


async def store(tx: Transaction, known: Known) -> None:
    """Write a component down anew. Raises: Refused(NOT_FOUND)."""
    match known:
        case NodeRecord():
            await NODES.update(tx, known)
        case ProxyRecord():
            await PROXIES.update(tx, known)
        case ControlRecord():
            await CONTROLS.update(tx, known)
