"""The coordinator that the settings name: etcd. A process of all roles has its own instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.base.threads import in_thread
from dstore.model.errors import invalid

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.settings import Settings
    from dstore.topology.etcd import EtcdCoordinator


async def etcd_coordinator(
    settings: Settings, *, clock: Clock, entropy: Entropy
) -> EtcdCoordinator:
    """Make the coordinator of `etcd.endpoints`; nothing is sent yet. The caller closes it.

    Raises: Refused(INVALID): no etcd is named, or a file of `[etcd]` can't be read.
    """
    if settings.etcd_endpoints is None:
        raise invalid(
            "A component of a cluster needs etcd: name its servers in etcd.endpoints. (All roles "
            "in one process need none.)"
        )
    from dstore.topology.etcd import EtcdCoordinator
    from dstore.topology.etcd_wire import EtcdTls

    tls = None
    if settings.etcd_ca is not None:
        tls = EtcdTls(
            authority=await _read("etcd.ca", settings.etcd_ca),
            certificate=await _read_if("etcd.cert", settings.etcd_cert),
            private_key=await _read_if("etcd.key", settings.etcd_key),
        )
    return EtcdCoordinator(
        settings.etcd_endpoints,
        tls=tls,
        clock=clock,
        entropy=entropy,
        namespace=settings.etcd_namespace or "",
    )


async def _read_if(name: str, path: Path | None) -> bytes | None:
    return None if path is None else await _read(name, path)


async def _read(name: str, path: Path) -> bytes:
    try:
        return await in_thread(path.read_bytes)
    except OSError as error:
        raise invalid(f"{path} of {name} can't be read: {error.strerror}.") from None
