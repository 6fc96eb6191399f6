"""What a component and control say while it joins: JSON over HTTPS, before there is mutual TLS.

    GET  /peer/v1/authority   → AuthorityShown, over a connection that proves nothing: the joiner
                                compares the certificate with its token's fingerprint
    POST /peer/v1/join        JoinAsked → JoinAnswered, over one that this authority vouches for

Failures are `application/problem+json`, as on every surface.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dstore.base.limits import CERTIFICATE_BYTES_MAX, URI_CHARS_MAX
from dstore.security.identity import UUID_FORM, ComponentRole
from dstore.security.join_tokens import SECRET_BYTES

AUTHORITY_PATH: Final = "/peer/v1/authority"
JOIN_PATH: Final = "/peer/v1/join"

_Uuid = Annotated[str, msgspec.Meta(pattern=rf"^{UUID_FORM}\Z")]
_Pem = Annotated[str, msgspec.Meta(min_length=1, max_length=CERTIFICATE_BYTES_MAX)]
_Uri = Annotated[
    str, msgspec.Meta(pattern=r"^https://[^\s/@]+:[0-9]{1,5}/?\Z", max_length=URI_CHARS_MAX)
]
_Label = Annotated[str, msgspec.Meta(max_length=128)]


class AuthorityShown(msgspec.Struct, frozen=True, rename="camel"):
    """The authority's certificate, and control's wall clock; nothing of it is proved yet."""

    authority_pem: _Pem
    wall_us: int


class JoinAsked(msgspec.Struct, frozen=True, rename="camel"):
    """A component asks to be admitted.

    Attributes:
        token_id: of its join token, and `secret`, SECRET_BYTES.
        role: what it wants to be; the token must admit one.
        request_pem: for a certificate over its own fresh key.
        uri: its peer listener's, `https://host:port`.
        zone: where it stands, for placement; "" if that does not matter.
        capacity_bytes: of a node's disk; 0 for others.
        version: of its dStore.
        wall_us: its wall clock.
        former_pem: of a component that comes back after its certificate has ended: that
            certificate. `request_pem` is then over the same key, which proves who it is.
    """

    token_id: Annotated[str, msgspec.Meta(max_length=64)]
    secret: Annotated[bytes, msgspec.Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
    role: ComponentRole
    request_pem: _Pem
    uri: _Uri
    wall_us: int
    zone: _Label = ""
    capacity_bytes: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] = 0
    version: _Label = ""
    former_pem: _Pem | None = None

    def __repr__(self) -> str:
        """Leave the secret out."""
        return f"JoinAsked({self.token_id!r}, {self.role!r}, {self.uri!r})"


class JoinAnswered(msgspec.Struct, frozen=True, rename="camel"):
    """A component is admitted: who it is, its certificate, whom to trust, and where control is."""

    component: _Uuid
    certificate_pem: _Pem
    authorities_pem: str
    controls: tuple[str, ...]
    wall_us: int
