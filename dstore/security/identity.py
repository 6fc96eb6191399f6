"""Who a component of a cluster is, and what its certificate and its clock must show.

The identity is one URI, `dstore://<control plane's UUID>/<role>/<component's UUID>`; it stands in
the certificate's subject alternative name, see `certificates`. Everything here is pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from dstore.base.clock import US_PER_S
from dstore.base.limits import CLOCK_SKEW_S_MAX
from dstore.model.errors import RefusalKind, Refused

SCHEME: Final = "dstore"
UUID_FORM: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_IDENTITY: Final = re.compile(rf"dstore://({UUID_FORM})/([a-z]+)/({UUID_FORM})", re.ASCII)


class ComponentRole(StrEnum):
    """What a component is to its control plane; the word stands in its certificate."""

    PROXY = "proxy"
    NODE = "node"
    CONTROL = "control"
    REPORTING = "reporting"


class CertificateProblem(StrEnum):
    """Why a certificate, a request or a clock is not accepted."""

    MISSING = "missing"
    MALFORMED = "malformed"
    FOREIGN = "foreign"  # of another control plane, or of an authority that is not trusted
    WRONG_ROLE = "wrong_role"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    CLOCK = "clock"  # two machines disagree about the time


class CertificateRefused(Refused):
    """A certificate does not prove what it should; the message says what to do."""

    def __init__(self, problem: CertificateProblem, message: str) -> None:
        """Refuse as unauthenticated, with the problem for logs and counters."""
        super().__init__(RefusalKind.UNAUTHENTICATED, message)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a component is: whose it is, what it is, and which one; both UUIDs lower case."""

    control_plane: str
    role: ComponentRole
    uuid: str

    @property
    def uri(self) -> str:
        """The identity as it stands in a certificate."""
        return f"{SCHEME}://{self.control_plane}/{self.role}/{self.uuid}"

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read `uri`. Raises: CertificateRefused(MALFORMED): it is not spelled as ours are."""
        match = _IDENTITY.fullmatch(uri)
        if match is None or match[2] not in set(ComponentRole):
            raise malformed("The certificate names no component of a dStore control plane.")
        return cls(control_plane=match[1], role=ComponentRole(match[2]), uuid=match[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What is to be known of a component's certificate; times are microseconds since 1970 UTC.

    `serial` is in lower-case hexadecimal. The times are those in the certificate, both inclusive.
    """

    identity: Identity
    serial: str
    not_before_us: int
    not_after_us: int

    @property
    def renewal_due_us(self) -> int:
        """From when on a new one should be asked for: two thirds of its life."""
        return self.not_before_us + (self.not_after_us - self.not_before_us) * 2 // 3


def needs_renewal(certificate: Certificate, *, now_us: int) -> bool:
    """Whether two thirds of its life are over, or its beginning lies ahead (a clock was set)."""
    return not certificate.not_before_us <= now_us < certificate.renewal_due_us


def require_valid(certificate: Certificate, *, now_us: int) -> None:
    """Check a certificate's time against a clock; long connections outlive what TLS checked.

    Raises: CertificateRefused(EXPIRED | NOT_YET_VALID).
    """
    if now_us > certificate.not_after_us:
        late_s = (now_us - certificate.not_after_us) // US_PER_S
        raise CertificateRefused(
            CertificateProblem.EXPIRED,
            f"The certificate of {certificate.identity.role} {certificate.identity.uuid} ended "
            f"{late_s} s ago by this machine's clock; check both clocks, then renew or join again.",
        )
    if now_us < certificate.not_before_us:
        early_s = (certificate.not_before_us - now_us) // US_PER_S
        raise CertificateRefused(
            CertificateProblem.NOT_YET_VALID,
            f"The certificate of {certificate.identity.role} {certificate.identity.uuid} begins in "
            f"{early_s} s by this machine's clock, which must be behind; set it by NTP.",
        )


def require_clocks_agree(*, here_us: int, there_us: int) -> None:
    """Compare two machines' wall clocks, as exchanged when they join or greet.

    Raises: CertificateRefused(CLOCK): they are more than CLOCK_SKEW_S_MAX apart.
    """
    ahead_s = (here_us - there_us) / US_PER_S
    if abs(ahead_s) > CLOCK_SKEW_S_MAX:
        how = "ahead of" if ahead_s > 0 else "behind"
        raise CertificateRefused(
            CertificateProblem.CLOCK,
            f"This machine's clock is {abs(ahead_s):.0f} s {how} the other's; at most "
            f"{CLOCK_SKEW_S_MAX} s are allowed. Set both by NTP, then retry.",
        )


def require_identity(
    identity: Identity, *, control_plane: str, roles: frozenset[ComponentRole]
) -> None:
    """Check that a component belongs here and is what it must be.

    Raises: CertificateRefused(FOREIGN | WRONG_ROLE).
    """
    if identity.control_plane != control_plane:
        raise CertificateRefused(
            CertificateProblem.FOREIGN,
            f"The certificate belongs to control plane {identity.control_plane}; this is "
            f"{control_plane}.",
        )
    if identity.role not in roles:
        raise CertificateRefused(
            CertificateProblem.WRONG_ROLE,
            f"A {identity.role} may not do this; it is for {', '.join(sorted(roles))}.",
        )


def malformed(message: str) -> CertificateRefused:
    """Make the refusal of what cannot be read."""
    return CertificateRefused(CertificateProblem.MALFORMED, message)
