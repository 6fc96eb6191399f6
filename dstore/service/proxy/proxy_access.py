"""Who is asking, at a proxy: it knows keys of single days and digests of tokens, and no secret.

Both come from control (`enrolment.credential_reader`) and are kept in memory only. As long as
control is away the proxy goes on with what it was given last, up to the last day that there are
keys for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.base.limits import RETRY_AFTER_MS, SIGNING_KEYS_KEPT_MAX
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.security import credentials
from dstore.security.signing_keys import SigningKeys
from dstore.security.sigv4 import SignatureProblem, SignatureRefused
from dstore.service.access import (
    ALIKE,
    BEARER,
    NO_MATCH,
    NO_SUCH_BEARER,
    Principal,
    claim_of,
    require_same_tenant,
    unauthenticated,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.security.signing_keys import AccessKeyDays
    from dstore.service.access import SignedRequest
    from dstore.service.calls.key_calls import BearerGiven
    from dstore.service.directory import Directory
    from dstore.service.enrolment.credential_reader import CredentialChange


class ProxyAccess:
    """A `use_cases.Gatekeeper`, and a `CredentialSink`. Used from one event loop.

    Credentials come from control and tenants from the topology, each in its own time. So a
    credential lets in only while its tenant, by its UUID, is the one that is served under that
    name; whichever of the two is behind, it is unknown until both have come.
    """

    def __init__(self, directory: Directory, *, clock: Clock, entropy: Entropy) -> None:
        """Start empty: until control has given something, everybody is met with Unavailable.

        `directory` tells which tenants are served.
        """
        self._directory = directory
        self._clock = clock
        self._keys = SigningKeys(entropy)
        self._bearers: dict[str, BearerGiven] = {}
        self._is_filled = False
        # By access key and region, for those who signed rightly; one costs 1 us to make.
        self._principals: dict[tuple[str, str], Principal] = {}

    @property
    def is_filled(self) -> bool:
        """Control has given what there is, at least once."""
        return self._is_filled

    def serves(self) -> bool:
        """Whether keys for today have come."""
        return self._keys.serves(self._clock.wall_us())

    # ------------------------------------------------------------------------- who is asking

    def bearer(self, authorization: str) -> Principal:
        """Authenticate `Authorization: Bearer …`. Raises: Refused(UNAUTHENTICATED), Unavailable."""
        self._check_filled()
        text = authorization[len(BEARER) :].strip()
        token_id = credentials.token_id(text)
        given = None if token_id is None else self._bearers.get(token_id)
        stored = (
            None
            if given is None
            else credentials.TokenRecord(id=credentials.TokenId(given.id), digest=given.digest)
        )
        if not credentials.token_is_valid(text, stored) or given is None:
            raise unauthenticated(NO_SUCH_BEARER)
        principal = Principal(tenant=given.tenant, credential=given.id, tenant_id=given.tenant_id)
        require_same_tenant(principal, self._directory)
        return principal

    def signature(self, request: SignedRequest) -> Principal:
        """Authenticate a request signed with an access key (SigV4).

        Raises: SignatureRefused: the signature is missing, malformed, stale or wrong; an unknown
            key and a wrong signature look alike. Unavailable: control has given no keys of the day.
        """
        claim = claim_of(request)
        try:
            owner = self._keys.authenticate(
                claim, body_sha256=request.body_sha256, now_us=self._clock.wall_us()
            )
        except SignatureRefused as refused:
            if refused.problem in ALIKE:
                raise SignatureRefused(refused.problem, NO_MATCH) from None
            raise
        principal = self._principals.get((owner.access_key_id, claim.scope.region))
        if principal is None:
            principal = self._remembered(owner, claim.scope.region)
        require_same_tenant(principal, self._directory)
        return principal

    def check_known(self, request: SignedRequest) -> None:
        """Refuse a request, before its body has come, that `signature` refuses whatever the body.

        Raises: SignatureRefused: the signature cannot be read, or names no access key.
            Unavailable: control has given none yet.
        """
        scope = claim_of(request).scope
        self._check_filled()
        owner = self._keys.find(scope.access_key_id)
        if owner is None:
            raise SignatureRefused(SignatureProblem.UNKNOWN_KEY, NO_MATCH)
        require_same_tenant(_principal(owner, scope.region), self._directory)

    # ------------------------------------------------------------------------- what is known

    def replace(
        self,
        access_keys: Sequence[AccessKeyDays],
        bearers: Sequence[BearerGiven],
        *,
        through_day: int,
    ) -> None:
        """Take all that control has; what is not among it was revoked.

        `through_day` is the last day that control derived keys for, days since 1970 UTC.
        """
        self._keys.replace(access_keys, through_day=through_day)
        self._bearers = {one.id: one for one in bearers}
        self._principals.clear()
        self._is_filled = True

    def change(self, change: CredentialChange) -> None:
        """Take what was made or changed, and forget what was revoked."""
        for made in change.access_keys:
            self._keys.put(made)
        self._bearers |= {one.id: one for one in change.bearers}
        self._keys.revoke(change.revoked_access_keys)
        for token_id in change.revoked_bearers:
            self._bearers.pop(token_id, None)
        self._principals.clear()

    def _remembered(self, owner: AccessKeyDays, region: str) -> Principal:
        if len(self._principals) >= SIGNING_KEYS_KEPT_MAX:
            self._principals.clear()  # regions are free text; those in use come back at once
        made = self._principals[owner.access_key_id, region] = _principal(owner, region)
        return made

    def _check_filled(self) -> None:
        if not self._is_filled:
            raise Unavailable(
                UnavailableKind.LOCKED,
                "What clients are known by has not come from control yet; retry.",
                retry_after_ms=RETRY_AFTER_MS,
            )


def _principal(owner: AccessKeyDays, region: str) -> Principal:
    return Principal(
        tenant=owner.tenant,
        credential=owner.access_key_id,
        region=region,
        tenant_id=owner.tenant_id,
    )
