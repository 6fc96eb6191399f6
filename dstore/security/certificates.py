"""The private certificate authority of a control plane, and who a certificate says somebody is.

A component's identity is one URI in its certificate's subject alternative name,

    dstore://<control plane's UUID>/<role>/<component's UUID>

and nothing else of the certificate is believed: the authority alone writes that URI, whatever the
request asked for. The authority's own certificate confines it, critically, to URIs of its control
plane. Keys are ECDSA P-256; they and all serial numbers come from `Entropy`, signatures are
deterministic (RFC 6979), so a seed replays byte for byte.

Bytes in, bytes out: PEM everywhere but in `read_certificate`, which also takes what TLS hands over.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dstore.base.clock import US_PER_S
from dstore.base.limits import (
    AUTHORITY_LIFE_S,
    CERTIFICATE_BYTES_MAX,
    CERTIFICATE_LIFE_S,
    CLOCK_SKEW_S_MAX,
)
from dstore.security.identity import (
    SCHEME,
    UUID_FORM,
    Certificate,
    CertificateProblem,
    CertificateRefused,
    Identity,
    malformed,
)

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy

# RFC 5280 4.1.2.2: positive, at most 20 bytes; 159 random bits never meet twice.
_SERIAL_BYTES: Final = 20
# 64 bits more than the group's order, so that the rest of a division shows no bias
# (FIPS 186-5 A.2.1).
_KEY_DRAW_BYTES: Final = 40
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_AUTHORITY: Final = re.compile(rf"dstore://({UUID_FORM})", re.ASCII)
_PEM_MARK: Final = b"-----BEGIN "


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAndRequest:
    """A fresh key pair and the request for a certificate over it, both PEM."""

    key_pem: bytes = field(repr=False)
    request_pem: bytes


class CertificateAuthority:
    """A control plane's authority: its certificate, and the key that signs, in memory."""

    __slots__ = ("_certificate", "_key", "control_plane")

    def __init__(self, *, key_pem: bytes, certificate_pem: bytes) -> None:
        """Take what `create` made, after it was stored (the key only ever sealed).

        Raises: CertificateRefused(MALFORMED): one of the two is damaged, or they do not belong
            together.
        """
        require_key_fits(key_pem, certificate_pem)
        self._key = _private_key(key_pem)
        self._certificate = _certificate(certificate_pem)
        self.control_plane = _authority_of(self._certificate)

    @classmethod
    def create(cls, control_plane: str, *, now_us: int, entropy: Entropy) -> Self:
        """Draw the key of a new control plane's authority and sign its certificate with it.

        Args:
            control_plane: its UUID, lower case.
            now_us: wall clock.
            entropy: source of the key and of the serial number.
        """
        key = _new_key(entropy)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"dStore {control_plane}")])
        own = x509.UniformResourceIdentifier(f"{SCHEME}://{control_plane}")
        builder = _builder(name, key.public_key(), entropy=entropy)
        certificate = (
            _lasting(builder, now_us=now_us, end_us=now_us + AUTHORITY_LIFE_S * US_PER_S)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectAlternativeName([own]), critical=False)
            .add_extension(_constraints(control_plane), critical=True)
            .sign(key, SHA256(), ecdsa_deterministic=True)
        )
        return cls(key_pem=_key_pem(key), certificate_pem=_pem(certificate))

    @property
    def key_pem(self) -> bytes:
        """The authority's private key, PEM in clear: seal it before it is stored."""
        return _key_pem(self._key)

    @property
    def certificate_pem(self) -> bytes:
        """The authority's certificate, which every component trusts."""
        return _pem(self._certificate)

    @property
    def fingerprint(self) -> str:
        """What a join token pins, see `fingerprint_of`."""
        return _fingerprint(self._certificate)

    def issue(
        self,
        request_pem: bytes,
        identity: Identity,
        *,
        now_us: int,
        entropy: Entropy,
        life_s: int = CERTIFICATE_LIFE_S,
    ) -> bytes:
        """Certify a component's public key under the identity that control gives it.

        Of the request only the public key counts, and the proof that its holder has the private
        one; names and extensions that it asks for are ignored.

        Args:
            request_pem: from `new_key_and_request`, at most CERTIFICATE_BYTES_MAX bytes.
            identity: of this control plane.
            now_us: wall clock; the certificate is valid from CLOCK_SKEW_S_MAX before, so that a
                component whose clock is a little behind can use it at once.
            entropy: source of the serial number.
            life_s: from `now_us` on, cut where the authority's own certificate ends.

        Returns: the certificate, PEM.
        Raises: CertificateRefused(MALFORMED): the request is none, is not signed by its own key, or
            that key is not ECDSA P-256. (EXPIRED): the authority's own certificate has ended.
        """
        assert identity.control_plane == self.control_plane, "an authority knows its own plane only"
        assert life_s > 0
        authority_end_us = _us(self._certificate.not_valid_after_utc)
        if now_us >= authority_end_us:
            raise CertificateRefused(
                CertificateProblem.EXPIRED, "The control plane's authority has expired; renew it."
            )
        public_key = _requested_key(request_pem)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.uuid)])
        own = x509.UniformResourceIdentifier(identity.uri)
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issuer = self._key.public_key()
        certificate = (
            _lasting(
                _builder(name, public_key, entropy=entropy),
                now_us=now_us,
                end_us=min(now_us + life_s * US_PER_S, authority_end_us),
            )
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .add_extension(x509.SubjectAlternativeName([own]), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False
            )
            .sign(self._key, SHA256(), ecdsa_deterministic=True)
        )
        return _pem(certificate)

    def require_own(self, certificate_pem: bytes) -> Certificate:
        """Check that this authority has issued a certificate, whether it has ended or not.

        Raises: CertificateRefused(FOREIGN): another one has. (MALFORMED): it can't be read.
        """
        parsed = _certificate(certificate_pem)
        try:
            parsed.verify_directly_issued_by(self._certificate)
        except (InvalidSignature, ValueError, TypeError):
            raise CertificateRefused(
                CertificateProblem.FOREIGN,
                "The certificate was not issued by this control plane's authority.",
            ) from None
        return read_certificate(certificate_pem)


def new_key_and_request(entropy: Entropy) -> KeyAndRequest:
    """Draw a component's key pair and ask for a certificate; the key never leaves the machine."""
    key = _new_key(entropy)
    return KeyAndRequest(key_pem=_key_pem(key), request_pem=_request(key))


def request_again(key_pem: bytes) -> KeyAndRequest:
    """Ask for a certificate over a key that is there: an answer was lost, or its owner returns.

    Raises: CertificateRefused(MALFORMED): the key is damaged.
    """
    return KeyAndRequest(key_pem=key_pem, request_pem=_request(_private_key(key_pem)))


def read_certificate(certificate: bytes) -> Certificate:
    """Read a component's certificate, PEM or DER; who signed it is not looked at here (TLS does).

    Raises: CertificateRefused(MALFORMED): it is no certificate, or not a component's.
    """
    parsed = _certificate(certificate)
    return Certificate(
        identity=Identity.parse(_uri(parsed)),
        serial=f"{parsed.serial_number:x}",
        not_before_us=_us(parsed.not_valid_before_utc),
        not_after_us=_us(parsed.not_valid_after_utc),
    )


def require_key_fits(key_pem: bytes, certificate_pem: bytes) -> None:
    """Check that a certificate is over the public half of a key.

    Raises: CertificateRefused(MALFORMED): it is not, or one of the two is damaged.
    """
    if _public_key(_certificate(certificate_pem)) != _private_key(key_pem).public_key():
        raise malformed("A private key does not belong to the certificate beside it.")


def requested_fingerprint(request_pem: bytes) -> str:
    """Compute the fingerprint of the key that a request is about, as `fingerprint_of` does.

    Control remembers it beside a used token: the same key may ask again when an answer got lost.
    Raises: CertificateRefused(MALFORMED): as `CertificateAuthority.issue`.
    """
    return _key_fingerprint(_requested_key(request_pem))


def fingerprint_of(certificate_pem: bytes) -> str:
    """Compute what pins an authority: SHA-256 of its public key (SPKI, DER), 64 hex digits.

    Raises: CertificateRefused(MALFORMED): it is no certificate.
    """
    return _fingerprint(_certificate(certificate_pem))


def require_pinned(authority_pem: bytes, *, fingerprint: str, control_plane: str) -> None:
    """Check an authority's certificate that came over an unproven connection (joining).

    Raises: CertificateRefused(FOREIGN): it is not the one that the token names: somebody else
        answered. (MALFORMED): it is no authority's certificate.
    """
    authority = _certificate(authority_pem)
    found = _fingerprint(authority)
    if not hmac.compare_digest(found.encode(), fingerprint.encode()):
        raise CertificateRefused(
            CertificateProblem.FOREIGN,
            "The authority that answered is not the one that the token names; the address leads to "
            "another control plane, or somebody stands in between.",
        )
    if _authority_of(authority) != control_plane:
        raise malformed("The authority's certificate names another control plane than the token.")


def _builder(
    name: x509.Name, public_key: ec.EllipticCurvePublicKey, *, entropy: Entropy
) -> x509.CertificateBuilder:
    serial = int.from_bytes(entropy.token(_SERIAL_BYTES), "big") >> 1 | 1
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(public_key)
        .serial_number(serial)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _lasting(
    builder: x509.CertificateBuilder, *, now_us: int, end_us: int
) -> x509.CertificateBuilder:
    begin = _time(now_us - CLOCK_SKEW_S_MAX * US_PER_S)
    return builder.not_valid_before(begin).not_valid_after(_time(end_us))


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _constraints(control_plane: str) -> x509.NameConstraints:
    """Confine an authority: a verifier refuses its certificates for any other plane's URIs."""
    return x509.NameConstraints(
        permitted_subtrees=[x509.UniformResourceIdentifier(control_plane)],
        excluded_subtrees=[x509.DNSName("")],  # and for every host name
    )


def _request(key: ec.EllipticCurvePrivateKey) -> bytes:
    # The name is required by the format and believed by nobody.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dStore component")])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(key, SHA256(), ecdsa_deterministic=True)
    )
    return request.public_bytes(serialization.Encoding.PEM)


def _new_key(entropy: Entropy) -> ec.EllipticCurvePrivateKey:
    drawn = int.from_bytes(entropy.token(_KEY_DRAW_BYTES), "big")
    return ec.derive_private_key(drawn % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_bounded(pem), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise malformed("A private key is damaged; restore it.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not _is_p256(key.curve):
        raise malformed("A private key is not ECDSA P-256.")
    return key


def _certificate(encoded: bytes) -> x509.Certificate:
    try:
        if _bounded(encoded).lstrip().startswith(_PEM_MARK):
            return x509.load_pem_x509_certificate(encoded)
        return x509.load_der_x509_certificate(encoded)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise malformed("A certificate cannot be read.") from None


def _public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise malformed("A certificate's key cannot be read.") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not _is_p256(key.curve):
        raise malformed("A certificate's key is not ECDSA P-256.")
    return key


def _requested_key(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(_bounded(request_pem))
        key = request.public_key()
        is_signed = request.is_signature_valid
    except (ValueError, x509.InvalidVersion, InvalidSignature, UnsupportedAlgorithm):
        raise malformed("The request for a certificate cannot be read.") from None
    if not is_signed:
        raise malformed("The request for a certificate is not signed by its own key.")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not _is_p256(key.curve):
        raise malformed("The request's key is not ECDSA P-256.")
    return key


def _is_p256(curve: ec.EllipticCurve) -> bool:
    return isinstance(curve, ec.SECP256R1)


def _bounded(encoded: bytes) -> bytes:
    if len(encoded) > CERTIFICATE_BYTES_MAX:
        raise malformed(f"A certificate or key has more than {CERTIFICATE_BYTES_MAX} bytes.")
    return encoded


def _uri(certificate: x509.Certificate) -> str:
    """The one URI of a certificate whose alternative names are nothing else; "" if they are."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ""
    found = [one.value for one in names if isinstance(one, x509.UniformResourceIdentifier)]
    return found[0] if len(found) == 1 == len(list(names)) else ""


def _authority_of(certificate: x509.Certificate) -> str:
    match = _AUTHORITY.fullmatch(_uri(certificate))
    if match is None:
        raise malformed("The certificate is not that of a control plane's authority.")
    return match[1]


def _fingerprint(certificate: x509.Certificate) -> str:
    return _key_fingerprint(_public_key(certificate))


def _key_fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()


def _time(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // US_PER_S, UTC)


def _us(at: datetime) -> int:
    return int(at.timestamp()) * US_PER_S
