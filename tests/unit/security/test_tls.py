"""Handshakes between components in memory: who gets in, who does not, and what is said."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dstore.base.clock import SystemClock
from dstore.security.certificates import CertificateAuthority, new_key_and_request
from dstore.security.identity import (
    CertificateProblem,
    CertificateRefused,
    ComponentRole,
    Identity,
)
from dstore.security.tls import (
    AUTHORITIES_FILE,
    PEER_FILE,
    Credentials,
    TlsContexts,
    handshake_problem,
    joining_context,
    load_credentials,
    presented,
    store_credentials,
)
from tests.unit.security.builders import SeededEntropy

if TYPE_CHECKING:
    from pathlib import Path

ENTROPY = SeededEntropy(13)
NOW_US = SystemClock().wall_us()  # OpenSSL reads the machine's clock
HOUR_US = 3_600_000_000
PLANE = ENTROPY.uuid()
AUTHORITY = CertificateAuthority.create(PLANE, now_us=NOW_US, entropy=ENTROPY)
NODE = Identity(control_plane=PLANE, role=ComponentRole.NODE, uuid=ENTROPY.uuid())
CONTROL = Identity(control_plane=PLANE, role=ComponentRole.CONTROL, uuid=ENTROPY.uuid())
STEPS = 6  # of a handshake in memory; TLS 1.3 needs three


def credentials(
    identity: Identity,
    authority: CertificateAuthority = AUTHORITY,
    *,
    now_us: int = NOW_US,
    life_s: int = 3_600,
    trusted: bytes = AUTHORITY.certificate_pem,
) -> Credentials:
    asked = new_key_and_request(ENTROPY)
    certificate = authority.issue(
        asked.request_pem, identity, now_us=now_us, entropy=ENTROPY, life_s=life_s
    )
    return Credentials(key_pem=asked.key_pem, certificate_pem=certificate, authorities_pem=trusted)


def contexts(directory: Path, held: Credentials) -> TlsContexts:
    directory.mkdir()
    store_credentials(directory, held)
    return TlsContexts(directory)


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Run a handshake in memory; the client reads once, as it must to learn of a refusal."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    accepting = server.wrap_bio(to_server, to_client, server_side=True)
    dialling = client.wrap_bio(to_client, to_server)
    for _ in range(STEPS):
        for side in (dialling, accepting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return accepting, dialling


def refusals(
    server: ssl.SSLContext, client: ssl.SSLContext
) -> tuple[CertificateProblem | None, CertificateProblem | None]:
    """Run a handshake that fails. Returns: what server and client make of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = {
        "server": server.wrap_bio(to_server, to_client, server_side=True),
        "client": client.wrap_bio(to_client, to_server),
    }
    found: dict[str, CertificateProblem] = {}
    for _ in range(STEPS):
        for name, side in sides.items():
            try:
                side.do_handshake()
                if name == "client":
                    side.read(1)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                refused = handshake_problem(error)
                if refused is not None:
                    found.setdefault(name, refused.problem)
    return found.get("server"), found.get("client")


def test_both_sides_learn_who_the_other_is(tmp_path: Path) -> None:
    """The identity that the caller compares is the one that was proven."""
    control = contexts(tmp_path / "control", credentials(CONTROL))
    node = contexts(tmp_path / "node", credentials(NODE))
    accepting, dialling = shake(control.server, node.client)
    seen, answering = presented(accepting), presented(dialling)
    assert seen is not None
    assert answering is not None
    assert (seen.identity, answering.identity) == (NODE, CONTROL)
    assert accepting.version() == "TLSv1.3"


def test_who_shows_nothing_gets_in_only_to_join(tmp_path: Path) -> None:
    """A joiner is let in without an identity, on the one listener that allows it."""
    control = contexts(tmp_path / "control", credentials(CONTROL))
    joining = joining_context(AUTHORITY.certificate_pem)
    accepting, dialling = shake(control.joining_server, joining)
    answering = presented(dialling)
    assert presented(accepting) is None
    assert answering is not None
    assert answering.identity == CONTROL
    assert refusals(control.server, joining) == (
        CertificateProblem.MISSING,
        CertificateProblem.MISSING,
    )


def test_a_joiner_that_trusts_nobody_yet_can_ask_for_the_authority(tmp_path: Path) -> None:
    """The first connection of joining proves nothing; the fingerprint does."""
    control = contexts(tmp_path / "control", credentials(CONTROL))
    accepting, dialling = shake(control.joining_server, joining_context(None))
    assert presented(accepting) is None
    assert dialling.version() == "TLSv1.3"


def test_a_member_may_use_the_joining_listener_with_its_certificate(tmp_path: Path) -> None:
    """One listener serves both; a certificate that is shown there must be right, too."""
    control = contexts(tmp_path / "control", credentials(CONTROL))
    node = contexts(tmp_path / "node", credentials(NODE))
    seen = presented(shake(control.joining_server, node.client)[0])
    assert seen is not None
    assert seen.identity == NODE
    stranger = CertificateAuthority.create(PLANE, now_us=NOW_US, entropy=ENTROPY)
    other = contexts(tmp_path / "other", credentials(NODE, stranger))
    assert refusals(control.joining_server, other.client)[0] is CertificateProblem.FOREIGN


@pytest.mark.parametrize(
    ("begin_us", "here", "there"),
    [
        (NOW_US - 2 * HOUR_US, CertificateProblem.EXPIRED, CertificateProblem.EXPIRED),
        (NOW_US + HOUR_US, CertificateProblem.NOT_YET_VALID, CertificateProblem.NOT_YET_VALID),
    ],
    ids=["expired", "not yet valid"],
)
def test_certificates_out_of_time_are_refused_by_name(
    tmp_path: Path, begin_us: int, here: CertificateProblem, there: CertificateProblem
) -> None:
    """A clock off by an hour shows as what it is, on both sides."""
    control = contexts(tmp_path / "control", credentials(CONTROL))
    node = contexts(tmp_path / "node", credentials(NODE, now_us=begin_us, life_s=3_600))
    assert refusals(control.server, node.client) == (here, there)


def test_another_authority_is_refused_on_both_sides(tmp_path: Path) -> None:
    """The same names, another key: neither gets in, nor is believed."""
    stranger = CertificateAuthority.create(PLANE, now_us=NOW_US, entropy=ENTROPY)
    control = contexts(tmp_path / "control", credentials(CONTROL))
    node = contexts(tmp_path / "node", credentials(NODE, stranger))
    assert refusals(control.server, node.client) == (
        CertificateProblem.FOREIGN,
        CertificateProblem.FOREIGN,
    )
    assert refusals(node.server, control.client)[1] is CertificateProblem.FOREIGN


def test_the_authority_cannot_certify_for_another_plane(tmp_path: Path) -> None:
    """Even with its key: its certificate confines it, and OpenSSL holds it to that."""
    elsewhere = ENTROPY.uuid()
    loosened = CertificateAuthority(
        key_pem=AUTHORITY.key_pem, certificate_pem=AUTHORITY.certificate_pem
    )
    loosened.control_plane = elsewhere
    intruder = Identity(control_plane=elsewhere, role=ComponentRole.NODE, uuid=NODE.uuid)
    control = contexts(tmp_path / "control", credentials(CONTROL))
    node = contexts(tmp_path / "node", credentials(intruder, loosened))
    assert refusals(control.server, node.client)[0] is CertificateProblem.FOREIGN


def test_a_leaf_certifies_nobody(tmp_path: Path) -> None:
    """A component's key signs no certificate that anybody believes."""
    held = credentials(NODE)
    leaf = CertificateAuthority(
        key_pem=AUTHORITY.key_pem, certificate_pem=AUTHORITY.certificate_pem
    )
    leaf._key = _loaded_key(held.key_pem)
    control = contexts(tmp_path / "control", credentials(CONTROL))
    node = contexts(tmp_path / "node", credentials(CONTROL, leaf))
    assert refusals(control.server, node.client)[0] is CertificateProblem.FOREIGN


def test_what_is_older_than_1_3_is_refused(tmp_path: Path) -> None:
    """No version is negotiated down."""
    control = contexts(tmp_path / "control", credentials(CONTROL))
    old = joining_context(AUTHORITY.certificate_pem)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(control.joining_server, old)


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    """The listener keeps its context; the next handshake shows the new certificate."""
    first, second = credentials(CONTROL), credentials(CONTROL)
    control = contexts(tmp_path / "control", first)
    node = contexts(tmp_path / "node", credentials(NODE))
    listening = control.server
    before = presented(shake(listening, node.client)[1])
    store_credentials(tmp_path / "control", second)
    control.reload()
    after = presented(shake(listening, node.client)[1])
    assert before is not None
    assert after is not None
    assert before.serial != after.serial
    assert after == control.certificate


def test_a_next_authority_is_trusted_and_the_former_dropped_without_a_restart(
    tmp_path: Path,
) -> None:
    """An authority is replaced in steps: trust both, show the new one, trust it alone."""
    following = CertificateAuthority.create(PLANE, now_us=NOW_US, entropy=ENTROPY)
    both = AUTHORITY.certificate_pem + following.certificate_pem
    control = contexts(tmp_path / "control", credentials(CONTROL))
    listening = control.server
    node = contexts(tmp_path / "node", credentials(NODE, following, trusted=both))
    assert refusals(listening, node.client)[0] is CertificateProblem.FOREIGN
    store_credentials(tmp_path / "control", credentials(CONTROL, trusted=both))
    control.reload()
    shake(listening, node.client)
    alone = credentials(CONTROL, following, trusted=following.certificate_pem)
    store_credentials(tmp_path / "control", alone)
    control.reload()
    shake(listening, node.client)
    former = contexts(tmp_path / "former", credentials(NODE, trusted=both))
    assert refusals(listening, former.client)[0] is CertificateProblem.FOREIGN


def test_a_failed_reload_leaves_what_was(tmp_path: Path) -> None:
    """A damaged or foreign file on the disk stops no handshake."""
    control = contexts(tmp_path / "control", credentials(CONTROL))
    node = contexts(tmp_path / "node", credentials(NODE))
    store_credentials(tmp_path / "control", credentials(NODE))
    with pytest.raises(CertificateRefused, match="another component"):
        control.reload()
    (tmp_path / "control" / PEER_FILE).write_bytes(b"damaged")
    with pytest.raises(CertificateRefused):
        control.reload()
    answering = presented(shake(control.server, node.client)[1])
    assert answering is not None
    assert answering.identity == CONTROL


def test_no_session_can_be_resumed(tmp_path: Path) -> None:
    """A resumed session would outlive the certificate that opened it."""
    control = contexts(tmp_path / "control", credentials(CONTROL))
    assert control.server.num_tickets == control.joining_server.num_tickets == 0
    node = contexts(tmp_path / "node", credentials(NODE))
    _, dialling = shake(control.server, node.client)
    with pytest.raises(ssl.SSLWantReadError):
        dialling.read(1)
    assert dialling.session is None or not dialling.session.has_ticket


def test_files_are_private_and_whole(tmp_path: Path) -> None:
    """The key is readable by its owner alone, and both files come back as they were written."""
    held = credentials(NODE)
    assert load_credentials(tmp_path) is None
    store_credentials(tmp_path, held)
    assert load_credentials(tmp_path) == held
    assert (tmp_path / PEER_FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / PEER_FILE).chmod(0o640)
    with pytest.raises(PermissionError, match="mode 0640"):
        load_credentials(tmp_path)


def test_parts_that_do_not_fit_are_never_stored(tmp_path: Path) -> None:
    """A mix-up is refused before the disk has it."""
    held = credentials(NODE)
    other = credentials(NODE)
    with pytest.raises(CertificateRefused):
        store_credentials(tmp_path, replace(held, key_pem=other.key_pem))
    with pytest.raises(CertificateRefused, match="1 to 4 authorities"):
        store_credentials(tmp_path, replace(held, authorities_pem=b""))
    with pytest.raises(CertificateRefused, match="1 to 4 authorities"):
        store_credentials(tmp_path, replace(held, authorities_pem=held.authorities_pem * 5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [PEER_FILE, AUTHORITIES_FILE])
@pytest.mark.parametrize("content", [b"", b"noise", b"x" * 100_000])
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """A start with a damaged file says so, and never dials or listens without trust."""
    store_credentials(tmp_path, credentials(NODE))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CertificateRefused):
        load_credentials(tmp_path)


def test_a_component_that_has_not_joined_says_so(tmp_path: Path) -> None:
    """There is nothing to listen or dial with."""
    with pytest.raises(CertificateRefused, match="has not joined"):
        TlsContexts(tmp_path)


def test_other_errors_of_tls_are_left_alone() -> None:
    """What is no matter of certificates is not called one."""
    assert handshake_problem(ssl.SSLError(1, "wrong version number")) is None


def test_no_key_is_shown() -> None:
    """A repr goes into logs and tracebacks."""
    assert "PRIVATE" not in repr(credentials(NODE))


def _loaded_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
