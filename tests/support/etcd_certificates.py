"""Certificates for a test's etcd: an authority, and what it signs."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dstore.topology.etcd_wire import EtcdTls


class Authority:
    """Signs certificates for an address, good for a day on both ends of a connection."""

    def __init__(self, name: str, *, host: str = "127.0.0.1") -> None:
        """Make a key and a certificate of its own."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _builder(name, name, self._key).sign(self._key, hashes.SHA256())
        self._name = name
        self._host = host

    @property
    def pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def signed(self, name: str) -> tuple[bytes, bytes]:
        """Make a certificate. Returns: it and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(name, self._name, key)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address(self._host))]),
                critical=False,
            )
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return (
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def client(self, name: str) -> EtcdTls:
        """Make what a client needs."""
        certificate, key = self.signed(name)
        return EtcdTls(authority=self.pem, certificate=certificate, private_key=key)

    def server_options(self, directory: Path) -> tuple[str, ...]:
        """Write a server's files. Returns: its options; it asks clients for certificates."""
        certificate, key = self.signed("server")
        for name, content in (("ca", self.pem), ("server", certificate), ("key", key)):
            (directory / f"{name}.pem").write_bytes(content)
        return (
            "--client-cert-auth",
            f"--trusted-ca-file={directory / 'ca.pem'}",
            f"--cert-file={directory / 'server.pem'}",
            f"--key-file={directory / 'key.pem'}",
        )


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=subject == issuer, path_length=None), critical=True)
    )
