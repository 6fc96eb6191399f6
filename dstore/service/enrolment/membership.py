"""A component at work in one control plane: its certificate, its way to control, who is barred.

`run` keeps it all up: it renews the certificate at two thirds of its life, with a fresh key, and
takes the new one into use without a restart; it learns where controls are and who was removed.
While control is away everything stays as it is, and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from dstore.base.clock import NS_PER_S, US_PER_S
from dstore.base.limits import (
    CONTROL_ANSWER_S,
    MEMBERS_AT_START_S,
    MEMBERS_POLL_S,
    RENEWAL_LOOK_S,
)
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError, RefusalKind, Refused
from dstore.replication.peers.calls import Calls, PeerCall
from dstore.replication.peers.websocket import control_peer
from dstore.security.certificates import new_key_and_request
from dstore.security.identity import (
    CertificateProblem,
    CertificateRefused,
    Identity,
    needs_renewal,
    require_valid,
)
from dstore.security.tls import Credentials, TlsContexts, store_credentials
from dstore.service.calls.key_calls import (
    KEY_CALLS,
    AskMembers,
    Members,
    Renew,
)
from dstore.service.enrolment.control_link import ControlLink
from dstore.service.enrolment.records import Enrolment, store_enrolment

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.base.metrics import Metrics

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipStatus:
    """What there is to say of a membership; `problem` is "" while control answers."""

    identity: Identity
    controls: tuple[str, ...]
    problem: str


class Membership:
    """One enrolment at work; it belongs to the event loop.

    Attributes:
        enrolment: as it was opened; `identity` is who this component is.
        tls: what it shows and trusts, for its listener and for its peers.
        control: calls control, a `Peer`.
    """

    def __init__(
        self,
        enrolment: Enrolment,
        *,
        tls: TlsContexts,
        control: ControlLink,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """Put the parts together; `open` makes them."""
        self.enrolment = enrolment
        self.tls = tls
        self.control = control
        self._clock = clock
        self._entropy = entropy
        self._removed: frozenset[str] = frozenset()
        self._on_renewed: list[Callable[[], None]] = []
        self._problem = ""
        self._looked_at_ns: int | None = None

    @classmethod
    async def open(
        cls,
        enrolment: Enrolment,
        *,
        calls: Sequence[PeerCall[Any, Any]] = (),
        clock: Clock,
        entropy: Entropy,
    ) -> Self:
        """Load the certificate, and ask control whether it still counts, if it is there.

        Args:
            enrolment: from `records.load_enrolments` or `joining.join`.
            calls: that are made to control beside KEY_CALLS.
            clock: for deadlines and certificates' ends.
            entropy: source of renewed keys.
        Raises: CertificateRefused: what is on the disk is damaged, or ended (EXPIRED): join again.
            Refused(FORBIDDEN): the component was removed. OSError.
        """
        tls = await in_thread(partial(TlsContexts, enrolment.directory))
        if tls.certificate.identity != enrolment.identity:
            raise CertificateRefused(
                CertificateProblem.FOREIGN,
                "The certificate on the disk is not of this enrolment; restore it or join again.",
            )
        require_valid(tls.certificate, now_us=clock.wall_us())
        known = Calls([*KEY_CALLS, *calls])
        control = ControlLink(
            enrolment.controls,
            dial=partial(
                control_peer,
                here=enrolment.identity,
                tls=tls,
                calls=known,
                clock=clock,
                entropy=entropy,
            ),
            calls=known,
            clock=clock,
        )
        opened = cls(enrolment, tls=tls, control=control, clock=clock, entropy=entropy)
        try:
            await opened._hear(deadline_s=MEMBERS_AT_START_S)
        except (DStoreError, OSError) as error:
            if isinstance(error, Refused) and error.kind is RefusalKind.FORBIDDEN:
                await control.close()
                raise
            opened._ill(error)
        return opened

    @property
    def identity(self) -> Identity:
        """Who this component is in the plane."""
        return self.enrolment.identity

    @property
    def status(self) -> MembershipStatus:
        """Say how things are."""
        return MembershipStatus(
            identity=self.identity,
            controls=self.control.controls,
            problem=self._problem,
        )

    def measure(self, metrics: Metrics) -> None:
        """Set the metric of the certificate's end."""
        left_us = self.tls.certificate.not_after_us - self._clock.wall_us()
        metrics.certificate_seconds.labels(self.identity.role.value).set(left_us // US_PER_S)

    def barred(self, identity: Identity) -> str | None:
        """Say why a component must not be talked to, as last heard; None if nothing is known.

        For `PeerServer(barred=…)`, and for whoever dials.
        """
        if identity.uuid not in self._removed:
            return None
        return (
            f"This {identity.role} was removed from its control plane; let it join anew, with an "
            "empty directory and another join token."
        )

    def on_renewed(self, callback: Callable[[], None]) -> None:
        """Be told when the certificate has been renewed: peers should then be redialled."""
        self._on_renewed.append(callback)

    # --------------------------------------------------------------------- keeping it up

    async def run(self) -> None:
        """Renew, and hear of controls and removals, until cancelled; a critical task's work.

        Raises: Refused(FORBIDDEN): the component was removed, and has nothing to do here any more.
        """
        while True:
            try:
                await self._hear(deadline_s=MEMBERS_POLL_S)
            except (DStoreError, OSError) as error:
                if isinstance(error, Refused) and error.kind is RefusalKind.FORBIDDEN:
                    raise
                self._ill(error)
            else:
                await self._keep_certificate()
            await asyncio.sleep(MEMBERS_POLL_S)

    async def renew(self) -> None:
        """Get a new certificate over a fresh key and take it into use.

        A crash at any point leaves the former pair or the new one, whole; both are valid.

        Raises: Refused: control does not certify this component any more. Unavailable: it is
            away. CertificateRefused: its answer does not fit, and nothing has changed. OSError.
        """
        pair = new_key_and_request(self._entropy)
        renewed = await self.control.call(Renew(pair.request_pem), deadline_s=CONTROL_ANSWER_S)
        credentials = Credentials(
            key_pem=pair.key_pem,
            certificate_pem=renewed.certificate_pem,
            authorities_pem=renewed.authorities_pem,
        )
        certificate = credentials.check()
        if certificate.identity != self.identity:
            raise CertificateRefused(
                CertificateProblem.FOREIGN, "Control has certified somebody else; nothing is kept."
            )
        require_valid(certificate, now_us=self._clock.wall_us())
        await in_thread(partial(store_credentials, self.enrolment.directory, credentials))
        self.tls.reload()
        _log.info(
            "certificate_renewed", serial=certificate.serial, ends_at_us=certificate.not_after_us
        )
        self.control.redial("the certificate was renewed")
        for callback in self._on_renewed:
            callback()

    async def close(self) -> None:
        """Call control no more."""
        await self.control.close()

    async def _keep_certificate(self) -> None:
        """Renew if it is due; one attempt a minute, since what refuses it seldom passes sooner."""
        now_ns, looked_ns = self._clock.monotonic_ns(), self._looked_at_ns
        if not needs_renewal(self.tls.certificate, now_us=self._clock.wall_us()):
            self._well()
        elif looked_ns is None or now_ns - looked_ns >= RENEWAL_LOOK_S * NS_PER_S:
            self._looked_at_ns = now_ns
            try:
                await self.renew()
            except (DStoreError, OSError) as error:
                self._ill(error)
            else:
                self._well()

    async def _hear(self, *, deadline_s: float) -> None:
        members = await self.control.call(AskMembers(), deadline_s=deadline_s)
        self._removed = frozenset(members.removed)
        await self._move(members)

    async def _move(self, members: Members) -> None:
        """Follow controls to where they are, and remember it for the next start."""
        uris = tuple(sorted(member.uri for member in members.controls))
        if not uris or uris == tuple(sorted(self.enrolment.controls)):
            return
        moved = replace(self.enrolment, controls=uris)
        await in_thread(partial(store_enrolment, moved))
        self.enrolment = moved
        self.control.set_controls(uris)
        _log.info("controls_moved", controls=uris)

    def _well(self) -> None:
        if self._problem:
            _log.info("control_is_back", control_plane=self.enrolment.control_plane)
        self._problem = ""

    def _ill(self, error: DStoreError | OSError) -> None:
        if isinstance(error, DStoreError):
            problem = error.message
        else:
            problem = f"The disk does not keep what control gave: {error.strerror}."
        if problem != self._problem:
            left_s = (self.tls.certificate.not_after_us - self._clock.wall_us()) // US_PER_S
            _log.warning("control_is_away", reason=problem, certificate_ends_in_s=left_s)
        self._problem = problem
