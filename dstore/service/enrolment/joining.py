"""Join a control plane with a token, once; whatever breaks in between, the next start goes on.

1. A key pair is drawn and stored (`joining.pem`, mode 0600): after a crash the same public key asks
   again, and control answers it again although the token is used.
2. Control's authority is fetched over a connection that proves nothing, and compared with the
   token's fingerprint. From here on only this authority's certificates count.
3. The token's secret and the request for a certificate go to a *control* of this plane: the other
   side proves its role before a byte leaves.
4. Certificate and authorities are stored, then `enrolment.json`: joined. The key file of step 1
   goes.

A component whose certificate has ended (it was off for a week) comes back with another token: it
asks with its former certificate and over the same key, and stays who it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from dstore.base.limits import CERTIFICATE_BYTES_MAX
from dstore.base.logging import get_logger
from dstore.base.private_files import read_private, write_private
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError, RefusalKind, Refused, Unavailable, Unknown
from dstore.replication.peers.errors import unreachable
from dstore.replication.peers.join_client import get_unproved, post_proved
from dstore.security.certificates import (
    KeyAndRequest,
    new_key_and_request,
    read_certificate,
    request_again,
    require_pinned,
)
from dstore.security.identity import (
    CertificateProblem,
    CertificateRefused,
    ComponentRole,
    Identity,
    require_clocks_agree,
    require_valid,
)
from dstore.security.join_tokens import JoinToken, parse_join_token, require_usable
from dstore.security.tls import Credentials, load_credentials, store_credentials
from dstore.service.calls.join_exchange import (
    AUTHORITY_PATH,
    JOIN_PATH,
    AuthorityShown,
    JoinAnswered,
    JoinAsked,
)
from dstore.service.enrolment.records import (
    Enrolment,
    directory_of,
    load_enrolments,
    store_enrolment,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy

_log: Final = get_logger(__name__)

JOINING_FILE: Final = "joining.pem"
_DIRECTORY_MODE: Final = 0o700

Shown = TypeVar("Shown", AuthorityShown, JoinAnswered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a component tells control of itself when it joins.

    Attributes:
        uri: of its peer listener, as others reach it: `https://host:port`.
        zone: where it stands, for placement.
        capacity_bytes: of a node's disk; 0 for others.
        version: of its dStore.
    """

    uri: str
    zone: str = ""
    capacity_bytes: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What is asked of each address alike."""

    token: JoinToken
    offer: Offer
    pair: KeyAndRequest
    former_pem: bytes | None


async def join(
    directory: Path,
    token_text: str,
    *,
    role: ComponentRole,
    offer: Offer,
    clock: Clock,
    entropy: Entropy,
) -> Enrolment:
    """Join the control plane that a token names; one that was joined already is left as it is.

    So a component may keep its token's file in its settings: it counts once.

    Args:
        directory: the component's data directory.
        token_text: as `dstore control token create` has printed it.
        role: what the component is.
        offer: what it tells of itself.
        clock: compared with control's.
        entropy: source of the key pair.

    Raises:
        Refused: the token is none, or not for this role; control does not take it: used by
            another, expired, unknown.
        CertificateRefused: the authority is not the one that the token pins (FOREIGN); the clocks
            disagree (CLOCK).
        Unreachable, Unavailable, Unknown: no control answered; try again, with the same token.
        Corrupt, OSError: of what is on the disk here.
    """
    token = parse_join_token(token_text)
    known, former = await in_thread(partial(_known, directory, token.control_plane))
    if known is not None and known.role is not role:
        raise Refused(
            RefusalKind.CONFLICT,
            f"This directory is that of a {known.role} of this control plane; a {role} needs "
            "another one.",
        )
    if known is not None and former is not None and not _has_ended(former, clock):
        return known
    require_usable(token, role=role, now_us=clock.wall_us())
    place = directory_of(directory, token.control_plane)
    pair = (
        await in_thread(partial(_pending, place, entropy))
        if former is None
        else request_again(former.key_pem)
    )
    attempt = _Attempt(
        token=token,
        offer=offer,
        pair=pair,
        former_pem=None if former is None else former.certificate_pem,
    )
    answered, authority_pem = await _admitted(attempt, clock)
    credentials = _checked(attempt, answered, authority_pem, clock=clock)
    enrolment = Enrolment(
        directory=place,
        control_plane=token.control_plane,
        role=role,
        component=answered.component,
        controls=answered.controls or _urls(token),
    )
    await in_thread(partial(_keep, enrolment, credentials))
    _log.info("joined", peer=enrolment.identity.uri, controls=enrolment.controls)
    return enrolment


async def _admitted(attempt: _Attempt, clock: Clock) -> tuple[JoinAnswered, bytes]:
    """Ask one control after the other. Returns: the answer, and the pinned authority."""
    problem: DStoreError | None = None
    for url in _urls(attempt.token):
        try:
            return await _admitted_at(url, attempt, clock)
        except (Unavailable, Unknown) as error:
            problem = error
        except CertificateRefused as error:
            if error.problem is CertificateProblem.CLOCK:
                raise
            problem = error
        _log.warning("join_failed", url=url, reason=problem.message)
    assert problem is not None, "a token has an address"
    raise problem


async def _admitted_at(url: str, attempt: _Attempt, clock: Clock) -> tuple[JoinAnswered, bytes]:
    token = attempt.token
    shown = _decoded(await get_unproved(url + AUTHORITY_PATH), AuthorityShown, url)
    authority_pem = shown.authority_pem.encode()
    require_pinned(authority_pem, fingerprint=token.fingerprint, control_plane=token.control_plane)
    # Unproved yet, but TLS would only say that a certificate has not begun.
    require_clocks_agree(here_us=clock.wall_us(), there_us=shown.wall_us)
    asked = JoinAsked(
        token_id=token.token_id,
        secret=token.secret,
        role=token.role,
        request_pem=attempt.pair.request_pem.decode(),
        uri=attempt.offer.uri,
        wall_us=clock.wall_us(),
        zone=attempt.offer.zone,
        capacity_bytes=attempt.offer.capacity_bytes,
        version=attempt.offer.version,
        former_pem=None if attempt.former_pem is None else attempt.former_pem.decode(),
    )
    answer = await post_proved(
        url + JOIN_PATH,
        msgspec.json.encode(asked),
        authorities_pem=authority_pem,
        control_plane=token.control_plane,
    )
    return _decoded(answer, JoinAnswered, url), authority_pem


def _checked(
    attempt: _Attempt, answered: JoinAnswered, authority_pem: bytes, *, clock: Clock
) -> Credentials:
    """See that the answer is what was asked for, before any of it is kept."""
    token = attempt.token
    credentials = Credentials(
        key_pem=attempt.pair.key_pem,
        certificate_pem=answered.certificate_pem.encode(),
        authorities_pem=answered.authorities_pem.encode(),
    )
    certificate = credentials.check()
    wanted = Identity(control_plane=token.control_plane, role=token.role, uuid=answered.component)
    if certificate.identity != wanted or authority_pem not in credentials.authorities_pem:
        raise CertificateRefused(
            CertificateProblem.MALFORMED,
            "Control's answer does not fit the join token; nothing of it was kept.",
        )
    require_valid(certificate, now_us=clock.wall_us())
    return credentials


def _known(directory: Path, control_plane: str) -> tuple[Enrolment | None, Credentials | None]:
    """Find an enrolment in this plane, and what the component shows there."""
    for enrolment in load_enrolments(directory):
        if enrolment.control_plane == control_plane:
            return enrolment, load_credentials(enrolment.directory)
    return None, None


def _has_ended(credentials: Credentials, clock: Clock) -> bool:
    return clock.wall_us() > read_certificate(credentials.certificate_pem).not_after_us


def _pending(place: Path, entropy: Entropy) -> KeyAndRequest:
    """Take the key of an attempt that was cut short, or draw one and store it."""
    place.parent.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    place.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    path = place / JOINING_FILE
    if path.exists():
        return request_again(read_private(path, bytes_max=CERTIFICATE_BYTES_MAX))
    pair = new_key_and_request(entropy)
    write_private(path, pair.key_pem)
    return pair


def _keep(enrolment: Enrolment, credentials: Credentials) -> None:
    """Store what was given; `enrolment.json` last, the pending key gone after it."""
    store_credentials(enrolment.directory, credentials)
    store_enrolment(enrolment)
    (enrolment.directory / JOINING_FILE).unlink(missing_ok=True)


def _decoded(content: bytes, kind: type[Shown], url: str) -> Shown:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise unreachable(
            f"does not answer as a control at {url}; is it a control's peer listener, of the same "
            "version?"
        ) from None


def _urls(token: JoinToken) -> tuple[str, ...]:
    return tuple(f"https://{address}" for address in token.addresses)
