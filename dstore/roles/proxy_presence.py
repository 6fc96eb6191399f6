"""A proxy shows that it is there, and where; alone or in one process with control and a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore import __version__
from dstore.security.identity import ComponentRole
from dstore.service.control.presence import Presence
from dstore.topology import keyspace as keys
from dstore.topology import values

if TYPE_CHECKING:
    from dstore.roles.base import Runtime
    from dstore.security.identity import Identity
    from dstore.service.client_env import Addresses
    from dstore.topology.coordinator import Coordinator


def proxy_presence(
    runtime: Runtime,
    coordinator: Coordinator,
    *,
    identity: Identity,
    uri: str,
    addresses: Addresses,
) -> Presence:
    """Prepare to show a proxy; `run` shows it until cancelled.

    Args:
        runtime: of its process.
        coordinator: of its control plane.
        identity: who it is there.
        uri: what control knows it by.
        addresses: where clients find it.
    """
    details = values.Details(
        status=values.ComponentStatus.OKAY,
        uri=uri,
        api_uri=addresses.public_url,
        zone=runtime.settings.zone,
        version=__version__,
        started_at_us=runtime.started_at_us,
    )
    return Presence(
        coordinator,
        keys.ComponentId(identity.uuid),
        details,
        role=ComponentRole.PROXY,
        clock=runtime.clock,
        entropy=runtime.entropy,
    )
