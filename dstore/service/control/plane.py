"""What a control process has: the opened store, the control plane's identity, and its authority.

The first control on an empty store makes the control plane: its UUID, its authority, its own key,
all sealed under control's key before they are stored. If two start at once, one row wins and both
take that one; nothing of the other was ever shown to anybody.

A control process has a UUID of its own, in a file of its data directory, and certifies itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.logging import get_logger
from dstore.base.private_files import read_private, write_private
from dstore.base.threads import in_thread
from dstore.model.errors import (
    Corrupt,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
)
from dstore.model.rid import validate_location
from dstore.security.certificates import (
    CertificateAuthority,
    new_key_and_request,
    read_certificate,
)
from dstore.security.control_key import ControlKey, Sealed
from dstore.security.envelope import KEY_CHECK_BYTES, WrongKey
from dstore.security.identity import (
    UUID_FORM,
    CertificateRefused,
    ComponentRole,
    Identity,
    needs_renewal,
)
from dstore.security.keys import Key256, new_key
from dstore.security.tls import Credentials, load_credentials, store_credentials
from dstore.storage.control import planes
from dstore.storage.control.components import CONTROLS
from dstore.storage.control.records import (
    ComponentState,
    ControlPlaneRecord,
    ControlRecord,
    ControlUuid,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.storage.control.store import ControlStore

CONTROL_UUID_FILE: Final = "control.uuid"
_UUID: Final = re.compile(UUID_FORM)
_UUID_FILE_BYTES_MAX: Final = 64
_KEYS_FORMAT: Final = b"\x01"  # of `sealed_keys`: format, check value of control's key, sealed key

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """The control plane as one of its processes has it, open.

    Attributes:
        uuid: of the control plane; it stands in every certificate.
        location: where it rules, as in RIDs.
        process: the UUID of this control process.
        store: what all its processes share.
        control_key: what the store's secrets are sealed under.
        authority: signs the certificates of components.
        key: the control plane's own 256-bit key.
    """

    uuid: str
    location: str
    process: ControlUuid
    store: ControlStore
    control_key: ControlKey = field(repr=False)
    authority: CertificateAuthority = field(repr=False)
    key: Key256 = field(repr=False)

    @property
    def identity(self) -> Identity:
        """Who this process is to its peers."""
        return Identity(control_plane=self.uuid, role=ComponentRole.CONTROL, uuid=str(self.process))


async def is_new(store: ControlStore) -> bool:
    """Whether the store holds no control plane yet: only then may control's key be made."""
    async with store.snapshot() as tx:
        return await planes.get(tx) is None


async def open_plane(
    store: ControlStore,
    control_key: ControlKey,
    *,
    directory: Path,
    location: str,
    clock: Clock,
    entropy: Entropy,
) -> ControlPlane:
    """Open the control plane of a store, or make it if the store is new.

    Args:
        store: opened.
        control_key: the one that all controls of this plane share.
        directory: this process's data directory; its UUID is kept there.
        location: of a new control plane; one that exists must be of the same.
        clock: dates a new authority.
        entropy: source of keys and UUIDs.
    Raises: Unavailable(LOCKED): control's key is not the one that sealed the store. Corrupt: the
        key is right and what it sealed is damaged. Refused: the store is another location's.
    """
    validate_location(location)
    process = await in_thread(partial(_own_uuid, directory, entropy))
    async with store.snapshot() as tx:
        record = await planes.get(tx)
    if record is None:
        made = await in_thread(
            partial(_new_record, control_key, location=location, clock=clock, entropy=entropy)
        )
        async with store.transaction() as tx:
            record = await planes.create(tx, made)
        _log.info("control_plane_opened", control_plane=record.uuid, is_new=record == made)
    if record.location != location:
        raise Refused(
            RefusalKind.CONFLICT,
            f"The store is that of a control plane in {record.location}; this control is set to "
            f"{location}.",
        )
    return await in_thread(partial(_opened, record, control_key, store=store, process=process))


async def follow_location(store: ControlStore, location: str) -> None:
    """Have the control plane of a store be in another location, as the only process of it is set.

    Where several controls share a store each of them must say the same, see `open_plane`; one that
    shares it with nobody may move: nothing that is stored names the location, only RIDs do.

    Raises: Unavailable, Unknown: the store.
    """
    async with store.snapshot() as tx:
        record = await planes.get(tx)
    if record is None or record.location == location:
        return
    async with store.transaction() as tx:
        await planes.update(tx, replace(record, location=validate_location(location)))
    _log.info("location_changed", before=record.location, now=location)


async def own_credentials(
    plane: ControlPlane, directory: Path, *, clock: Clock, entropy: Entropy
) -> Credentials:
    """Give this process's certificate and key, made or renewed if that is due, durably stored.

    Ask again now and then, and reload the listener's contexts if the certificate is another.

    Raises: CertificateRefused(EXPIRED): the authority's own certificate has ended. OSError.
    """
    return await in_thread(
        partial(_own_credentials, plane, directory, now_us=clock.wall_us(), entropy=entropy)
    )


async def register_control(
    plane: ControlPlane, *, uri: str, version: str, certificate_serial: str, now_us: int
) -> ControlRecord:
    """Enter this process among the controls, or write down what is new about it.

    Raises: Refused(CONFLICT): it was removed for good.
    """
    async with plane.store.transaction() as tx:
        known = await CONTROLS.get(tx, plane.process)
        if known is not None and known.state is ComponentState.REMOVED:
            raise Refused(
                RefusalKind.CONFLICT,
                f"This control process was removed; delete {CONTROL_UUID_FILE} to let it begin "
                "anew.",
            )
        record = ControlRecord(
            uuid=plane.process,
            uri=uri,
            state=ComponentState.ACTIVE,
            certificate_serial=certificate_serial,
            version=version,
            joined_at_us=now_us if known is None else known.joined_at_us,
            changed_at_us=now_us,
        )
        if known is None:
            await CONTROLS.insert(tx, record)
        else:
            await CONTROLS.update(tx, record)
    return record


def _new_record(
    control_key: ControlKey, *, location: str, clock: Clock, entropy: Entropy
) -> ControlPlaneRecord:
    uuid = entropy.uuid()
    now_us = clock.wall_us()
    authority = CertificateAuthority.create(uuid, now_us=now_us, entropy=entropy)
    sealed_key = control_key.seal_key(
        new_key(entropy), what=Sealed.CONTROL_PLANE, record_id=uuid, entropy=entropy
    )
    return ControlPlaneRecord(
        uuid=uuid,
        location=location,
        ca_certificate=authority.certificate_pem.decode(),
        sealed_ca_key=control_key.seal(
            authority.key_pem, what=Sealed.AUTHORITY, record_id=uuid, entropy=entropy
        ),
        sealed_keys=_KEYS_FORMAT + control_key.check_value() + sealed_key,
        created_at_us=now_us,
    )


def _opened(
    record: ControlPlaneRecord,
    control_key: ControlKey,
    *,
    store: ControlStore,
    process: ControlUuid,
) -> ControlPlane:
    if record.sealed_keys[:1] != _KEYS_FORMAT:
        raise _damaged("The control plane's keys are in a format of a later dStore.")
    check = record.sealed_keys[1 : 1 + KEY_CHECK_BYTES]
    if check != control_key.check_value():
        raise Unavailable(
            UnavailableKind.LOCKED,
            "Control's key is not the one that sealed this store; all controls of one control "
            "plane share one key.",
        )
    try:
        key = control_key.open_key(
            record.sealed_keys[1 + KEY_CHECK_BYTES :],
            what=Sealed.CONTROL_PLANE,
            record_id=record.uuid,
        )
        authority_key = control_key.open(
            record.sealed_ca_key, what=Sealed.AUTHORITY, record_id=record.uuid
        )
        authority = CertificateAuthority(
            key_pem=authority_key, certificate_pem=record.ca_certificate.encode()
        )
    except (WrongKey, CertificateRefused):
        raise _damaged("The control plane's keys are damaged; restore the store.") from None
    if authority.control_plane != record.uuid:
        raise _damaged("The authority in the store is another control plane's.")
    return ControlPlane(
        uuid=record.uuid,
        location=record.location,
        process=process,
        store=store,
        control_key=control_key,
        authority=authority,
        key=key,
    )


def _own_uuid(directory: Path, entropy: Entropy) -> ControlUuid:
    """Read this process's UUID, or draw it at the first start."""
    path = directory / CONTROL_UUID_FILE
    try:
        found = read_private(path, bytes_max=_UUID_FILE_BYTES_MAX).decode("ascii", "replace")
    except FileNotFoundError:
        drawn = entropy.uuid()
        write_private(path, drawn.encode() + b"\n")
        return ControlUuid(drawn)
    except (PermissionError, ValueError) as error:
        raise Unavailable(UnavailableKind.LOCKED, str(error)) from None
    uuid = found.strip()
    if _UUID.fullmatch(uuid) is None:
        raise Corrupt(
            "The file with this control's UUID holds none.", file=CONTROL_UUID_FILE, where="line 1"
        )
    return ControlUuid(uuid)


def _own_credentials(
    plane: ControlPlane, directory: Path, *, now_us: int, entropy: Entropy
) -> Credentials:
    found = _usable(plane, directory, now_us=now_us)
    if found is not None:
        return found
    pair = new_key_and_request(entropy)
    made = Credentials(
        key_pem=pair.key_pem,
        certificate_pem=plane.authority.issue(
            pair.request_pem, plane.identity, now_us=now_us, entropy=entropy
        ),
        authorities_pem=plane.authority.certificate_pem,
    )
    store_credentials(directory, made)
    _log.info("control_certified", process=plane.process)
    return made


def _usable(plane: ControlPlane, directory: Path, *, now_us: int) -> Credentials | None:
    """Find what an earlier start or a renewal left, if it is still of use."""
    try:
        found = load_credentials(directory)
    except CertificateRefused:
        return None  # damaged: this process can make others by itself
    if found is None or found.authorities_pem != plane.authority.certificate_pem:
        return None
    certificate = read_certificate(found.certificate_pem)
    if certificate.identity != plane.identity or needs_renewal(certificate, now_us=now_us):
        return None
    return found


def _damaged(message: str) -> Corrupt:
    return Corrupt(message, file="control", where="control_plane")
