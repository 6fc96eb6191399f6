"""Who is let into the control plane: join tokens, and joining with one.

A component joins once, with a token that works once; from then on its certificate says who it is,
see `membership`. Each control process admits: the store serialises, and nothing of it is the
leader's alone.

Join tokens are for nodes and proxies. A control has the store and control's key, and certifies
itself (`plane`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dstore.base.clock import US_PER_S
from dstore.base.limits import CONTROL_PAGE_MAX, JOIN_TOKEN_LIFE_S, JOIN_TOKENS_LISTED_S
from dstore.base.logging import get_logger
from dstore.model.errors import RefusalKind, Refused, invalid
from dstore.security.certificates import (
    fingerprint_of,
    read_certificate,
    requested_fingerprint,
)
from dstore.security.control_key import Sealed
from dstore.security.identity import (
    Certificate,
    ComponentRole,
    Identity,
    require_clocks_agree,
    require_identity,
)
from dstore.security.join_tokens import new_join_token, secret_is_right
from dstore.security.keys import new_key
from dstore.service.calls.join_exchange import JoinAnswered, JoinAsked
from dstore.service.control.membership import controls, enter, find, require_admitted, store
from dstore.storage.control import audit, join_tokens
from dstore.storage.control.records import (
    AuditEntry,
    JoinTokenId,
    JoinTokenRecord,
)

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.service.control.plane import ControlPlane
    from dstore.storage.control.store import Key, Page, Transaction

_log: Final = get_logger(__name__)

_LISTED_US: Final = JOIN_TOKENS_LISTED_S * US_PER_S
_JOINING: Final = frozenset({ComponentRole.NODE, ComponentRole.PROXY})
_UNKNOWN: Final = (
    "The join token is not known here, or was revoked; make another with: dstore control token "
    "create."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMade:
    """A new join token: what lists show of it, and its text, to be shown once."""

    record: JoinTokenRecord
    text: str

    def __repr__(self) -> str:
        """Leave the text out."""
        return f"TokenMade({self.record.id!r})"


class Admissions:
    """Admits components to the control plane."""

    def __init__(self, plane: ControlPlane, *, clock: Clock, entropy: Entropy) -> None:
        """Work for an open control plane."""
        self._plane = plane
        self._clock = clock
        self._entropy = entropy

    @property
    def authority_pem(self) -> bytes:
        """The certificate that a join token's fingerprint pins."""
        return self._plane.authority.certificate_pem

    # ------------------------------------------------------------------------- join tokens

    async def create_token(
        self,
        role: ComponentRole,
        *,
        addresses: Sequence[str],
        life_s: int = JOIN_TOKEN_LIFE_S,
        actor: str = "",
    ) -> TokenMade:
        """Make a token that admits one component, once.

        Args:
            role: node or proxy.
            addresses: `host:port` of controls' peer listeners, for the token to carry.
            life_s: 1 to JOIN_TOKEN_LIFE_S_MAX seconds.
            actor: for the audit log: the public id of the operator's credential.
        Raises: Refused(INVALID): another role, or what `new_join_token` refuses. As the store does.
        """
        if role not in _JOINING:
            raise invalid(
                f"A {role} joins without a token: a control by its store and control's key; join "
                "tokens are for nodes and proxies."
            )
        now_us = self._clock.wall_us()
        token = new_join_token(
            control_plane=self._plane.uuid,
            role=role,
            fingerprint=self._plane.authority.fingerprint,
            addresses=addresses,
            now_us=now_us,
            entropy=self._entropy,
            life_s=life_s,
        )
        record = JoinTokenRecord(
            id=JoinTokenId(token.token_id),
            digest=token.digest(),
            role=role.value,
            created_at_us=now_us,
            expires_at_us=token.expires_at_us,
        )
        async with self._plane.store.transaction() as tx:
            await join_tokens.forget_expired(tx, before_us=now_us - _LISTED_US)
            await join_tokens.insert(tx, record)
            await self._audit(tx, actor=actor, action="join_token.create", subject=token.token_id)
        return TokenMade(record=record, text=token.text())

    async def tokens(
        self, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
    ) -> Page[JoinTokenRecord]:
        """List join tokens by id, used and expired ones included; their secrets are nowhere."""
        async with self._plane.store.snapshot() as tx:
            return await join_tokens.page(tx, after=after, limit=limit)

    async def revoke_token(self, token_id: str, *, actor: str = "") -> None:
        """Let a token admit nobody any more; whoever joined with it stays.

        Raises: Refused(NOT_FOUND): there is none.
        """
        async with self._plane.store.transaction() as tx:
            if not await join_tokens.delete(tx, JoinTokenId(token_id)):
                raise Refused(
                    RefusalKind.NOT_FOUND, "There is no such join token; list them to see which."
                )
            await self._audit(tx, actor=actor, action="join_token.revoke", subject=token_id)

    # ------------------------------------------------------------------------------ joining

    async def join(self, asked: JoinAsked) -> JoinAnswered:
        """Admit a component, or answer once more whom its token and key have admitted already.

        Raises: Refused(UNAUTHENTICATED): the token is unknown, forged, for another role, used by
            another key, expired or revoked; or the clocks disagree. (INVALID): no such request
            can be certified. Unavailable, Unknown: the store; the same key may ask again.
        """
        try:
            answered, certificate, is_new = await self._join(asked)
        except Refused as refused:
            _log.warning(
                "join_refused",
                token_id=asked.token_id,
                role=asked.role,
                uri=asked.uri,
                reason=refused.message,
            )
            raise
        _log.info(
            "component_joined",
            peer=certificate.identity.uri,
            uri=asked.uri,
            serial=certificate.serial,
            is_new=is_new,
        )
        return answered

    async def _join(self, asked: JoinAsked) -> tuple[JoinAnswered, Certificate, bool]:
        now_us = self._clock.wall_us()
        public_key = requested_fingerprint(asked.request_pem.encode())
        async with self._plane.store.transaction() as tx:
            await self._check_token(tx, asked)
            require_clocks_agree(here_us=asked.wall_us, there_us=now_us)
            former = self._former(asked, public_key)
            token = await join_tokens.use(
                tx,
                JoinTokenId(asked.token_id),
                by=self._entropy.uuid() if former is None else former.identity.uuid,
                public_key=public_key,
                now_us=now_us,
            )
            assert token.used_by is not None, "use() has said who"
            identity = Identity(control_plane=self._plane.uuid, role=asked.role, uuid=token.used_by)
            pem = self._plane.authority.issue(
                asked.request_pem.encode(), identity, now_us=now_us, entropy=self._entropy
            )
            certificate = read_certificate(pem)
            is_new = await self._enter(tx, asked, certificate, is_back=former is not None)
            await self._audit(tx, actor=identity.uri, action="component.join", subject=token.id)
            uris = tuple(control.uri for control in await controls(tx))
        answered = JoinAnswered(
            component=identity.uuid,
            certificate_pem=pem.decode(),
            authorities_pem=self._plane.authority.certificate_pem.decode(),
            controls=uris,
            wall_us=now_us,
        )
        return answered, certificate, is_new

    async def _check_token(self, tx: Transaction, asked: JoinAsked) -> None:
        """Who does not know the secret learns nothing of the token, not even that there is one."""
        token = await join_tokens.get(tx, JoinTokenId(asked.token_id))
        digest = None if token is None else token.digest
        if not secret_is_right(asked.token_id, asked.secret, digest) or token is None:
            raise Refused(RefusalKind.UNAUTHENTICATED, _UNKNOWN)
        if token.role != asked.role:
            raise Refused(
                RefusalKind.UNAUTHENTICATED,
                f"This join token admits a {token.role}, not a {asked.role}; create one with "
                f"--role {asked.role}.",
            )

    def _former(self, asked: JoinAsked, public_key: str) -> Certificate | None:
        """Recognise a component that comes back, by a key that only it has."""
        if asked.former_pem is None:
            return None
        former = self._plane.authority.require_own(asked.former_pem.encode())
        require_identity(
            former.identity, control_plane=self._plane.uuid, roles=frozenset({asked.role})
        )
        if fingerprint_of(asked.former_pem.encode()) != public_key:
            raise invalid("The request for a certificate is not over the former one's key.")
        return former

    async def _enter(
        self, tx: Transaction, asked: JoinAsked, certificate: Certificate, *, is_back: bool
    ) -> bool:
        """Write a component down. Returns: whether it is new."""
        identity = certificate.identity
        known = await find(tx, identity)
        if known is None:
            if is_back:
                raise Refused(
                    RefusalKind.UNAUTHENTICATED,
                    f"The {identity.role} {identity.uuid} is not known here any more; let it join "
                    "anew, without its former certificate.",
                )
            what = Sealed.NODE if identity.role is ComponentRole.NODE else Sealed.PROXY
            sealed_key = self._plane.control_key.seal_key(
                new_key(self._entropy), what=what, record_id=identity.uuid, entropy=self._entropy
            )
            now_us = self._clock.wall_us()
            await enter(tx, asked, certificate, sealed_key=sealed_key, now_us=now_us)
            return True
        await store(
            tx,
            replace(
                require_admitted(known, identity),
                uri=asked.uri,
                version=asked.version,
                certificate_serial=certificate.serial,
                changed_at_us=self._clock.wall_us(),
            ),
        )
        return False

    async def _audit(self, tx: Transaction, *, actor: str, action: str, subject: str) -> None:
        now_us = self._clock.wall_us()
        entry = AuditEntry(at_us=now_us, actor=actor, action=action, subject=subject, result="done")
        await audit.append(tx, entry)
