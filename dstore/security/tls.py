"""TLS between components: 1.3 only, both sides certified by the control plane's own authority.

No host name is checked: an address says where a component is, its certificate's URI who it is, and
the caller compares that with whom it meant (`presented`, `identity.require_identity`).

The standard library loads a private key from a file only, so a component keeps two:

    peer.pem    its private key and its certificate in one, mode 0600, so that no crash parts them
    peer.ca     the authorities that it trusts, one behind the other

A renewal writes `peer.pem` anew and calls `reload`; handshakes that come later show and trust what
is new, connections that are open stay as they are.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dstore.base.limits import AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX
from dstore.base.private_files import read_private, write_private
from dstore.security.certificates import read_certificate, require_key_fits
from dstore.security.identity import (
    Certificate,
    CertificateProblem,
    CertificateRefused,
    malformed,
)

if TYPE_CHECKING:
    from pathlib import Path

PEER_FILE: Final = "peer.pem"
AUTHORITIES_FILE: Final = "peer.ca"
_CERTIFICATE_MARK: Final = b"-----BEGIN CERTIFICATE-----"
_BUNDLE_BYTES_MAX: Final = AUTHORITIES_MAX * CERTIFICATE_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a component shows and trusts; PEM.

    `authorities_pem` are 1 to AUTHORITIES_MAX certificates in a row; `certificate_pem` is over the
    public half of `key_pem`.
    """

    key_pem: bytes = field(repr=False)
    certificate_pem: bytes
    authorities_pem: bytes

    def check(self) -> Certificate:
        """Read the certificate. Raises: CertificateRefused(MALFORMED): the parts do not fit."""
        count = self.authorities_pem.count(_CERTIFICATE_MARK)
        if not 1 <= count <= AUTHORITIES_MAX:
            raise malformed(f"A component trusts 1 to {AUTHORITIES_MAX} authorities, not {count}.")
        certificate = read_certificate(self.certificate_pem)
        require_key_fits(self.key_pem, self.certificate_pem)
        return certificate


def store_credentials(directory: Path, credentials: Credentials) -> None:
    """Write a component's two files, durably; what was there is replaced or stays whole.

    The authorities go first: a crash in between leaves a certificate that they vouch for, since an
    old authority is kept until nobody shows its certificates any more.

    Raises: CertificateRefused: the parts do not fit. OSError: the disk.
    """
    credentials.check()
    write_private(directory / AUTHORITIES_FILE, credentials.authorities_pem)
    write_private(directory / PEER_FILE, credentials.key_pem + credentials.certificate_pem)


def load_credentials(directory: Path) -> Credentials | None:
    """Read a component's two files. Returns: None if it has not joined.

    Raises:
        CertificateRefused: one is damaged, or only one is there.
        PermissionError: others can read the key. OSError: the disk.
    """
    try:
        pair = read_private(directory / PEER_FILE, bytes_max=2 * CERTIFICATE_BYTES_MAX)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise malformed(str(error)) from None
    try:
        authorities = read_private(directory / AUTHORITIES_FILE, bytes_max=_BUNDLE_BYTES_MAX)
    except (FileNotFoundError, ValueError):
        raise malformed(f"{AUTHORITIES_FILE} is missing or damaged; join again.") from None
    key, mark, certificate = pair.partition(_CERTIFICATE_MARK)
    credentials = Credentials(
        key_pem=key, certificate_pem=mark + certificate, authorities_pem=authorities
    )
    credentials.check()
    return credentials


class TlsContexts:
    """The contexts of one component; they belong to one thread.

    Attributes:
        server: of a listener; clients must show a certificate.
        joining_server: the same, but who shows none is let in, to join; what else it may call the
            listener must refuse (`presented` is None then).
        certificate: what is shown now.
    """

    __slots__ = ("_directory", "_newest", "certificate", "joining_server", "server")

    def __init__(self, directory: Path) -> None:
        """Load `directory`'s two files; it waits for the disk.

        Raises: CertificateRefused: not joined, or damaged. OSError.
        """
        self._directory = directory
        self._newest, self.certificate = _load(directory)
        # A listener keeps the context that it was given; the newest one steps in at each handshake.
        self.server, self.joining_server = self._newest.server, self._newest.joining_server
        self.server.sni_callback = self._renewed
        self.joining_server.sni_callback = self._renewed_joining

    @property
    def client(self) -> ssl.SSLContext:
        """What to dial with; ask for every connection, since `reload` replaces it."""
        return self._newest.client

    def reload(self) -> None:
        """Take what the two files hold now; whatever is raised, the former stays in use.

        Raises: CertificateRefused: they are damaged, or of another component. OSError.
        """
        newest, certificate = _load(self._directory)
        if certificate.identity != self.certificate.identity:
            raise CertificateRefused(
                CertificateProblem.FOREIGN, f"{PEER_FILE} is of another component; restart for it."
            )
        self._newest, self.certificate = newest, certificate

    # OpenSSL asks at every handshake, whether the client names a server or not; with the context
    # goes everything: certificate, trust, what is asked of the client.

    def _renewed(self, handshake: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        handshake.context = self._newest.server

    def _renewed_joining(
        self, handshake: ssl.SSLObject, _name: str, _context: ssl.SSLContext
    ) -> None:
        handshake.context = self._newest.joining_server


def joining_context(authorities_pem: bytes | None) -> ssl.SSLContext:
    """Make the context of a client that has no certificate yet.

    Args:
        authorities_pem: whom to trust. None only for fetching the authority's certificate, to be
            compared with the token's fingerprint (`certificates.require_pinned`): nothing secret
            may travel on such a connection, and nothing that comes is to be believed.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if authorities_pem is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        _trust(context, authorities_pem)
    return context


def presented(connection: ssl.SSLObject | ssl.SSLSocket) -> Certificate | None:
    """Read the certificate that the other side of an open connection proved to hold.

    `connection` is a transport's `get_extra_info("ssl_object")`.

    Returns: None if it showed none, which only the joining listener lets happen.
    Raises: CertificateRefused(MALFORMED): the authority signed it, but it names no component.
    """
    encoded = connection.getpeercert(binary_form=True)
    return read_certificate(encoded) if encoded else None


def handshake_problem(error: ssl.SSLError) -> CertificateRefused | None:
    """Translate a failed handshake into what an operator can act on; None if it is no such thing.

    Args:
        error: what either side raised. With TLS 1.3 a client learns of its own refusal only when it
            first reads, so a reading error may be one too.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        found = _VERIFY_CODES.get(error.verify_code, (CertificateProblem.FOREIGN, _NOT_OURS))
    else:
        reason = getattr(error, "reason", None) or ""  # absent when nothing of OpenSSL's failed
        known = _REASONS.get(reason.removeprefix("SSLV3_").removeprefix("TLSV1_"))
        if known is None:
            return None
        found = known
    return CertificateRefused(*found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contexts:
    """One set of contexts, all of the same two files."""

    server: ssl.SSLContext
    joining_server: ssl.SSLContext
    client: ssl.SSLContext


def _load(directory: Path) -> tuple[_Contexts, Certificate]:
    credentials = load_credentials(directory)
    if credentials is None:
        raise malformed(f"{PEER_FILE} is missing: this component has not joined a control plane.")
    server, joining, client = (
        _own(_context(protocol), directory, credentials)
        for protocol in (
            ssl.PROTOCOL_TLS_SERVER,
            ssl.PROTOCOL_TLS_SERVER,
            ssl.PROTOCOL_TLS_CLIENT,
        )
    )
    joining.verify_mode = ssl.CERT_OPTIONAL
    made = _Contexts(server=server, joining_server=joining, client=client)
    return made, read_certificate(credentials.certificate_pem)


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the URI is the identity
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        # A resumed session would not show its certificate again, however long it has ended.
        context.num_tickets = 0
    return context


def _own(context: ssl.SSLContext, directory: Path, credentials: Credentials) -> ssl.SSLContext:
    _trust(context, credentials.authorities_pem)
    try:
        context.load_cert_chain(directory / PEER_FILE)
    except ssl.SSLError:
        raise malformed(f"{PEER_FILE} is damaged; join again.") from None
    return context


def _trust(context: ssl.SSLContext, authorities_pem: bytes) -> None:
    try:
        context.load_verify_locations(cadata=authorities_pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise malformed("The authorities' certificates cannot be read.") from None


_NOT_OURS: Final = (
    "The other side's certificate is not of this control plane's authority; it belongs to another "
    "control plane, or must join again."
)
_EXPIRED_THERE: Final = (
    "The other side's certificate has ended by this machine's clock; check both clocks, then let "
    "it renew or join again."
)
_EARLY_THERE: Final = (
    "The other side's certificate has not begun by this machine's clock, which must be behind, or "
    "control's ahead; set both by NTP."
)
_EXPIRED_HERE: Final = (
    "The other side finds that this component's certificate has ended; check both clocks, then "
    "renew or join again."
)
_EARLY_HERE: Final = (
    "The other side finds that this component's certificate has not begun, or cannot read it; "
    "check both clocks, then join again."
)
_UNKNOWN_HERE: Final = (
    "The other side does not know the authority of this component's certificate; it belongs to "
    "another control plane."
)
_NONE_SHOWN: Final = "A component must show its certificate here; join first."

# X509_V_ERR_… of OpenSSL's x509_vfy.h.
_VERIFY_CODES: Final = {
    9: (CertificateProblem.NOT_YET_VALID, _EARLY_THERE),
    10: (CertificateProblem.EXPIRED, _EXPIRED_THERE),
}
_REASONS: Final = {
    "ALERT_CERTIFICATE_EXPIRED": (CertificateProblem.EXPIRED, _EXPIRED_HERE),
    "ALERT_BAD_CERTIFICATE": (CertificateProblem.NOT_YET_VALID, _EARLY_HERE),
    "ALERT_UNKNOWN_CA": (CertificateProblem.FOREIGN, _UNKNOWN_HERE),
    "ALERT_CERTIFICATE_UNKNOWN": (CertificateProblem.FOREIGN, _UNKNOWN_HERE),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (CertificateProblem.MISSING, _NONE_SHOWN),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (CertificateProblem.MISSING, _NONE_SHOWN),
}
