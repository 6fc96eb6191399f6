"""What components ask control by themselves: certificates, shares of keys, what is theirs.

All of them may be repeated without harm; control answers the caller about the caller, by its
certificate, and nobody about anybody else. Keys travel over mutual TLS only, and no `repr` shows
any.

`Credentials` are read like a log that begins with a list: pages first, each with the state that it
was read at, then the changes since the state of the first page, over and over.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from dstore.base.limits import (
    CERTIFICATE_BYTES_MAX,
    CREDENTIALS_PAGE_MAX,
    CREDENTIALS_STATE_BYTES,
    TENANT_SHARES_ASKED_MAX,
)
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.security.envelope import KEY_BYTES
from dstore.security.identity import ComponentRole
from dstore.security.keys import ControlShare, Key256
from dstore.security.signing_keys import AccessKeyDays

_HIDDEN: Final = "..."
_EVERYBODY: Final = frozenset(ComponentRole)

Pem = Annotated[bytes, msgspec.Meta(min_length=1, max_length=CERTIFICATE_BYTES_MAX)]
Key = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
State = Annotated[bytes, msgspec.Meta(max_length=CREDENTIALS_STATE_BYTES)]


# ------------------------------------------------------------------------------- control.renew


class Renewed(msgspec.Struct, frozen=True, array_like=True):
    """The new certificate, and all authorities to trust from now on, one behind the other."""

    certificate_pem: bytes
    authorities_pem: bytes


class Renew(PeerRequest[Renewed], frozen=True, array_like=True):
    """Certify a fresh key under the caller's identity; the former certificate stays valid."""

    request_pem: Pem


# ----------------------------------------------------------------------- control.component_key


class ComponentKey(msgspec.Struct, frozen=True, array_like=True):
    """The (component, control plane) key; it lives in memory only."""

    key: Key

    def __repr__(self) -> str:
        """Show nothing."""
        return f"ComponentKey({_HIDDEN})"

    def share(self, control_plane: str) -> ControlShare:
        """What `storage.node_keys` takes of a node."""
        return ControlShare(control_plane=control_plane, key=Key256(self.key))


class AskComponentKey(PeerRequest[ComponentKey], frozen=True, array_like=True):
    """Ask for the caller's own (component, control plane) key."""


# ----------------------------------------------------------------------- control.tenant_shares


class TenantShare(msgspec.Struct, frozen=True, array_like=True):
    """The (tenant, control plane) key of one tenant; `tenant_id` is control's UUID of it."""

    tenant: str
    tenant_id: str
    key: Key

    def __repr__(self) -> str:
        """Show whose it is."""
        return f"TenantShare({self.tenant!r}, {self.tenant_id!r}, {_HIDDEN})"

    def share(self, control_plane: str) -> ControlShare:
        """What `RangeDuties.ensure_tenant` takes."""
        return ControlShare(control_plane=control_plane, key=Key256(self.key))


class TenantShares(msgspec.Struct, frozen=True, array_like=True):
    """The shares of those tenants asked for that the caller holds ranges of; others are absent."""

    shares: tuple[TenantShare, ...]


class AskTenantShares(PeerRequest[TenantShares], frozen=True, array_like=True):
    """Ask for tenants' shares, by name; a tenant that the caller holds nothing of is passed over.

    Control's store decides what a node holds, so a share can be had from the moment at which the
    placement was decided, before etcd shows it.
    """

    tenants: Annotated[
        tuple[str, ...], msgspec.Meta(min_length=1, max_length=TENANT_SHARES_ASKED_MAX)
    ]


# ---------------------------------------------------------- control.of_range, control.of_tenant


class Verdict(StrEnum):
    """What control's store says of something that the caller holds."""

    HELD = "held"
    """It is the caller's."""
    GONE = "gone"
    """It was deleted, or given to another node."""
    UNKNOWN = "unknown"
    """The store has nothing of it, which proves nothing: it may be an old copy of itself."""


UNKNOWN_RANGE: Final = "unknown_range"
"""The kind of a node's notice of a range of which control's store has had nothing for long."""


class Judged(msgspec.Struct, frozen=True, array_like=True):
    """The verdict."""

    verdict: Verdict


class AskOfRange(PeerRequest[Judged], frozen=True, array_like=True):
    """Ask whether a range that the caller holds is its own, before it destroys it.

    `epoch` is the newest that the caller knows; `created_at_us` is of the table, as control wrote
    it; `tenant_id` is "" if the caller does not know it.
    """

    tenant: str
    tenant_id: str
    table: str
    table_id: str
    created_at_us: int
    range_id: str
    epoch: int


class AskOfTenant(PeerRequest[Judged], frozen=True, array_like=True):
    """Ask whether a tenant is there, before the caller destroys its own share of its keys."""

    tenant: str
    tenant_id: str


# ------------------------------------------------------------------------- control.credentials


class AccessKeyGiven(msgspec.Struct, frozen=True, array_like=True):
    """`AccessKeyDays` on its way."""

    access_key_id: str
    tenant: str
    first_day: int
    keys: bytes
    tenant_id: str = ""

    def __repr__(self) -> str:
        """Show whose they are."""
        return f"AccessKeyGiven({self.access_key_id!r}, {self.tenant!r}, {_HIDDEN})"

    def days(self) -> AccessKeyDays:
        """What `SigningKeys` takes."""
        return AccessKeyDays(
            access_key_id=self.access_key_id,
            tenant=self.tenant,
            first_day=self.first_day,
            keys=self.keys,
            tenant_id=self.tenant_id,
        )


class BearerGiven(msgspec.Struct, frozen=True, array_like=True):
    """A bearer token's digest; `tenant` is None for the operator's, `tenant_id` is its UUID."""

    id: str
    tenant: str | None
    digest: Key
    tenant_id: str = ""

    def __repr__(self) -> str:
        """Show whose it is."""
        return f"BearerGiven({self.id!r}, {self.tenant!r}, {_HIDDEN})"


class Credentials(msgspec.Struct, frozen=True, array_like=True):
    """A page of all credentials, or what has changed since a state.

    `version` grows with each change of the store's credentials; `state` names exactly what is
    given and is what the next question quotes. Of `is_whole` answers `after` says where the next
    page begins; "" behind the last one.
    """

    version: int
    state: bytes
    through_day: int
    """The last day that keys were derived for, days since 1970 UTC."""
    is_whole: bool
    """Pages of everything; else only changes since the state that was quoted."""
    after: str = ""
    access_keys: tuple[AccessKeyGiven, ...] = ()
    bearers: tuple[BearerGiven, ...] = ()
    revoked_access_keys: tuple[str, ...] = ()
    revoked_bearers: tuple[str, ...] = ()


class AskCredentials(PeerRequest[Credentials], frozen=True, array_like=True):
    """Ask for credentials: all (`state` b""), page by page, or what changed since `state`.

    A state that control does not know any more is answered as b"" is.
    """

    state: State = b""
    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=CREDENTIALS_PAGE_MAX)] = CREDENTIALS_PAGE_MAX


# ---------------------------------------------------------------------------- control.members


class ControlMember(msgspec.Struct, frozen=True, array_like=True):
    """One control process of the plane; `uri` is its peer listener's."""

    uuid: str
    uri: str


class Members(msgspec.Struct, frozen=True, array_like=True):
    """Where control is, and who is not admitted any more though its certificate has not ended."""

    controls: tuple[ControlMember, ...]
    removed: tuple[str, ...]
    """UUIDs of components that were removed."""


class AskMembers(PeerRequest[Members], frozen=True, array_like=True):
    """Ask for both; every component does so every few seconds."""


RENEW: Final = PeerCall(
    name="control.renew", request=Renew, reply=Renewed, roles=_EVERYBODY, is_safe=True
)
COMPONENT_KEY: Final = PeerCall(
    name="control.component_key",
    request=AskComponentKey,
    reply=ComponentKey,
    roles=frozenset({ComponentRole.NODE, ComponentRole.PROXY}),
    is_safe=True,
)
TENANT_SHARES: Final = PeerCall(
    name="control.tenant_shares",
    request=AskTenantShares,
    reply=TenantShares,
    roles=frozenset({ComponentRole.NODE}),
    is_safe=True,
)
OF_RANGE: Final = PeerCall(
    name="control.of_range",
    request=AskOfRange,
    reply=Judged,
    roles=frozenset({ComponentRole.NODE}),
    is_safe=True,
)
OF_TENANT: Final = PeerCall(
    name="control.of_tenant",
    request=AskOfTenant,
    reply=Judged,
    roles=frozenset({ComponentRole.NODE}),
    is_safe=True,
)
CREDENTIALS: Final = PeerCall(
    name="control.credentials",
    request=AskCredentials,
    reply=Credentials,
    roles=frozenset({ComponentRole.PROXY}),
    is_safe=True,
)
MEMBERS: Final = PeerCall(
    name="control.members",
    request=AskMembers,
    reply=Members,
    roles=_EVERYBODY,
    is_safe=True,
)

KEY_CALLS: Final = (
    RENEW,
    COMPONENT_KEY,
    TENANT_SHARES,
    OF_RANGE,
    OF_TENANT,
    CREDENTIALS,
    MEMBERS,
)
"""For `Calls` of whoever asks control."""
