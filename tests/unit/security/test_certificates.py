"""The authority of a control plane: what it certifies, and what it refuses to."""

from base64 import b64encode
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from dstore.base.limits import (
    AUTHORITY_LIFE_S,
    CERTIFICATE_BYTES_MAX,
    CERTIFICATE_LIFE_S,
    CLOCK_SKEW_S_MAX,
)
from dstore.security.certificates import (
    CertificateAuthority,
    KeyAndRequest,
    fingerprint_of,
    new_key_and_request,
    read_certificate,
    request_again,
    requested_fingerprint,
    require_key_fits,
    require_pinned,
)
from dstore.security.identity import (
    CertificateProblem,
    CertificateRefused,
    ComponentRole,
    Identity,
)
from tests.unit.security.builders import NOW_US, SeededEntropy

ENTROPY = SeededEntropy(11)
PLANE, OTHER_PLANE, NODE = (ENTROPY.uuid() for _ in range(3))
AUTHORITY = CertificateAuthority.create(PLANE, now_us=NOW_US, entropy=ENTROPY)
IDENTITY = Identity(control_plane=PLANE, role=ComponentRole.NODE, uuid=NODE)
ASKED = new_key_and_request(ENTROPY)


def issued(request: bytes = ASKED.request_pem, *, now_us: int = NOW_US) -> bytes:
    return AUTHORITY.issue(request, IDENTITY, now_us=now_us, entropy=ENTROPY)


def request_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    built = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256())
    return built.public_bytes(serialization.Encoding.PEM)


def test_a_certificate_says_who_somebody_is_and_how_long() -> None:
    """The identity is the URI that control wrote; the life begins a little before now."""
    certificate = read_certificate(issued())
    assert certificate.identity == IDENTITY
    assert certificate.identity.uri == f"dstore://{PLANE}/node/{NODE}"
    assert certificate.not_before_us == NOW_US - CLOCK_SKEW_S_MAX * 1_000_000
    assert certificate.not_after_us == NOW_US + CERTIFICATE_LIFE_S * 1_000_000


def test_der_is_read_like_pem() -> None:
    """TLS hands over DER, files hold PEM."""
    der = x509.load_pem_x509_certificate(issued()).public_bytes(serialization.Encoding.DER)
    assert read_certificate(der).identity == IDENTITY


def test_a_certificate_is_signed_by_the_authority_and_may_sign_nothing() -> None:
    """What a verifier looks at: signature, no authority of its own, both uses of TLS."""
    certificate = x509.load_pem_x509_certificate(issued())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(AUTHORITY.certificate_pem))
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, False)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)


def test_the_request_decides_nothing_but_the_key() -> None:
    """A request that asks to be control of its own choosing gets what control gives it."""
    wanted = Identity(control_plane=PLANE, role=ComponentRole.CONTROL, uuid=ENTROPY.uuid())
    key = ec.generate_private_key(ec.SECP256R1())
    built = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, wanted.uuid)]))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(wanted.uri)]),
            critical=True,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    given = issued(built.public_bytes(serialization.Encoding.PEM))
    assert read_certificate(given).identity == IDENTITY
    parsed = x509.load_pem_x509_certificate(given)
    assert parsed.public_key() == key.public_key()
    assert not parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    "request_pem",
    [
        b"",
        b"no request",
        AUTHORITY.certificate_pem,
        request_of(ec.generate_private_key(ec.SECP384R1())),
        request_of(rsa.generate_private_key(public_exponent=65_537, key_size=2_048)),
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"A" * CERTIFICATE_BYTES_MAX,
    ],
)
def test_bad_requests_are_refused(request_pem: bytes) -> None:
    """Whoever asks may send anything; nothing but our kind of key is certified."""
    with pytest.raises(CertificateRefused) as caught:
        issued(request_pem)
    assert caught.value.problem is CertificateProblem.MALFORMED


def test_a_request_signed_by_another_key_is_refused() -> None:
    """Nobody gets a certificate over a key that he does not hold."""
    pem = bytearray(
        x509.load_pem_x509_csr(ASKED.request_pem).public_bytes(serialization.Encoding.DER)
    )
    own = x509.load_pem_x509_csr(ASKED.request_pem).public_key()
    other = x509.load_pem_x509_csr(new_key_and_request(ENTROPY).request_pem).public_key()
    point = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    swapped = bytes(pem).replace(own.public_bytes(*point), other.public_bytes(*point))
    assert swapped != bytes(pem)
    forged = x509.load_der_x509_csr(swapped).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CertificateRefused, match="not signed by its own key"):
        issued(forged)


def test_one_flipped_bit_of_a_request_never_certifies_another_key() -> None:
    """Damage on the way is refused, or touches nothing that counts."""
    der = x509.load_pem_x509_csr(ASKED.request_pem).public_bytes(serialization.Encoding.DER)
    ours = x509.load_pem_x509_csr(ASKED.request_pem).public_key()
    for at in range(len(der)):
        flipped = der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]
        armoured = b64encode(flipped)
        text = b"-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----\n"
        try:
            made = issued(text % armoured)
        except CertificateRefused:
            continue
        assert x509.load_pem_x509_certificate(made).public_key() == ours


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("bit", [1, 16, 128])
def test_damaged_certificates_are_refused_or_read(bit: int) -> None:
    """Whatever comes over a connection, the reader raises nothing but its own refusal."""
    der = x509.load_pem_x509_certificate(issued()).public_bytes(serialization.Encoding.DER)
    for at in range(len(der)):
        damaged = der[:at] + bytes([der[at] ^ bit]) + der[at + 1 :]
        with suppress(CertificateRefused):
            read_certificate(damaged)
        with suppress(CertificateRefused):
            fingerprint_of(damaged)


def test_an_authority_outlives_its_process() -> None:
    """What is stored (the key sealed) makes the same authority again."""
    again = CertificateAuthority(
        key_pem=AUTHORITY.key_pem, certificate_pem=AUTHORITY.certificate_pem
    )
    assert (again.control_plane, again.fingerprint) == (PLANE, AUTHORITY.fingerprint)


@pytest.mark.parametrize("parts", ["other key", "leaf", "noise"])
def test_an_authority_that_does_not_fit_together_is_refused(parts: str) -> None:
    """A mixed-up store is noticed at the start, not by components that refuse its certificates."""
    key, certificate = {
        "other key": (ASKED.key_pem, AUTHORITY.certificate_pem),
        "leaf": (ASKED.key_pem, issued()),
        "noise": (b"noise", AUTHORITY.certificate_pem),
    }[parts]
    with pytest.raises(CertificateRefused) as caught:
        CertificateAuthority(key_pem=key, certificate_pem=certificate)
    assert caught.value.problem is CertificateProblem.MALFORMED


def test_a_certificate_never_outlives_its_authority() -> None:
    """Near the authority's end leaves are shorter; after it there are none."""
    end_us = NOW_US + AUTHORITY_LIFE_S * 1_000_000
    late = read_certificate(issued(now_us=end_us - 60_000_000))
    assert late.not_after_us == end_us
    with pytest.raises(CertificateRefused) as caught:
        issued(now_us=end_us)
    assert caught.value.problem is CertificateProblem.EXPIRED


def test_an_authority_certifies_for_its_own_plane_only() -> None:
    """Another plane's identity here is a mistake of ours."""
    foreign = Identity(control_plane=OTHER_PLANE, role=ComponentRole.NODE, uuid=NODE)
    with pytest.raises(AssertionError):
        AUTHORITY.issue(ASKED.request_pem, foreign, now_us=NOW_US, entropy=ENTROPY)


def test_serial_numbers_differ_and_have_enough_bits() -> None:
    """RFC 5280: unique, positive, at most 20 bytes."""
    serials = {read_certificate(issued()).serial for _ in range(32)}
    assert len(serials) == 32
    assert all(0 < int(one, 16) < 1 << 159 for one in serials)
    assert any(int(one, 16) >> 140 for one in serials)


def test_a_seed_replays_byte_for_byte() -> None:
    """I13: keys, serials and signatures are a function of entropy and clock."""

    def made() -> tuple[bytes, KeyAndRequest, bytes]:
        entropy = SeededEntropy(5)
        authority = CertificateAuthority.create(PLANE, now_us=NOW_US, entropy=entropy)
        asked = new_key_and_request(entropy)
        leaf = authority.issue(asked.request_pem, IDENTITY, now_us=NOW_US, entropy=entropy)
        return authority.certificate_pem, asked, leaf

    assert made() == made()


@pytest.mark.parametrize(
    "names",
    [
        [],
        [x509.DNSName("localhost")],
        [x509.UniformResourceIdentifier("https://example.net/")],
        [x509.UniformResourceIdentifier(f"dstore://{PLANE}/operator/{NODE}")],
        [x509.UniformResourceIdentifier(f"dstore://{PLANE}/node/{NODE.upper()}")],
        [x509.UniformResourceIdentifier(f"dstore://{PLANE}/node/{NODE}/")],
        [x509.UniformResourceIdentifier(IDENTITY.uri), x509.DNSName("localhost")],
        [
            x509.UniformResourceIdentifier(IDENTITY.uri),
            x509.UniformResourceIdentifier(f"dstore://{PLANE}/control/{NODE}"),
        ],
    ],
)
def test_only_exactly_one_uri_of_ours_is_an_identity(names: list[x509.GeneralName]) -> None:
    """Two names are two opinions; a spelling that is not ours is nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = x509.load_pem_x509_certificate(issued()).not_valid_before_utc
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    with pytest.raises(CertificateRefused):
        read_certificate(builder.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(
    "encoded", [b"", b"\x30\x00", b"-----BEGIN CERTIFICATE-----", b"0" * 20_000]
)
def test_noise_is_no_certificate(encoded: bytes) -> None:
    """Whatever is not a certificate is refused with a sentence, never another error."""
    with pytest.raises(CertificateRefused):
        read_certificate(encoded)


def test_an_authority_is_no_component() -> None:
    """The authority's own certificate opens no door."""
    with pytest.raises(CertificateRefused):
        read_certificate(AUTHORITY.certificate_pem)


def test_the_token_pins_the_authority() -> None:
    """A joiner believes the authority that its token names, and no other that answers."""
    pin = fingerprint_of(AUTHORITY.certificate_pem)
    assert pin == AUTHORITY.fingerprint
    require_pinned(AUTHORITY.certificate_pem, fingerprint=pin, control_plane=PLANE)
    impostor = CertificateAuthority.create(PLANE, now_us=NOW_US, entropy=ENTROPY)
    with pytest.raises(CertificateRefused) as caught:
        require_pinned(impostor.certificate_pem, fingerprint=pin, control_plane=PLANE)
    assert caught.value.problem is CertificateProblem.FOREIGN
    with pytest.raises(CertificateRefused, match="another control plane"):
        require_pinned(AUTHORITY.certificate_pem, fingerprint=pin, control_plane=OTHER_PLANE)


def test_a_key_fits_its_own_certificate_only() -> None:
    """A pair that was mixed up is noticed before anybody connects."""
    require_key_fits(ASKED.key_pem, issued())
    with pytest.raises(CertificateRefused):
        require_key_fits(new_key_and_request(ENTROPY).key_pem, issued())


def test_no_private_key_is_shown() -> None:
    """A repr goes into logs and tracebacks."""
    assert "PRIVATE" not in repr(ASKED)
    assert "PRIVATE" not in repr(AUTHORITY)


def test_the_same_key_can_ask_again() -> None:
    """An answer that got lost is asked for by the same public key, and certified alike."""
    again = request_again(ASKED.key_pem)
    assert again.key_pem == ASKED.key_pem
    assert requested_fingerprint(again.request_pem) == requested_fingerprint(ASKED.request_pem)
    certificate = issued(again.request_pem)
    require_key_fits(ASKED.key_pem, certificate)
    assert fingerprint_of(certificate) == requested_fingerprint(ASKED.request_pem)
    with pytest.raises(CertificateRefused):
        request_again(b"no key")


def test_an_authority_knows_what_it_has_issued() -> None:
    """Also long after its end; another plane's authority has issued nothing of ours."""
    certificate = issued(now_us=NOW_US - 10 * CERTIFICATE_LIFE_S * 1_000_000)
    assert AUTHORITY.require_own(certificate).identity == IDENTITY
    other = CertificateAuthority.create(PLANE, now_us=NOW_US, entropy=ENTROPY)
    with pytest.raises(CertificateRefused) as refused:
        other.require_own(certificate)
    assert refused.value.problem is CertificateProblem.FOREIGN
    with pytest.raises(CertificateRefused):
        AUTHORITY.require_own(b"no certificate")
    with pytest.raises(CertificateRefused):
        AUTHORITY.require_own(AUTHORITY.certificate_pem)
