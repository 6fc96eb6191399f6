"""Who is asking, and whether they may.

A credential names its tenant; nothing in a request can change that (I11). Whoever is not allowed
gets the same answer whether the tenant that they named exists or not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.security import credentials
from dstore.security.envelope import WrongKey, framed, open_sealed, seal
from dstore.security.keys import new_key
from dstore.security.sigv4 import (
    SignatureProblem,
    SignatureRefused,
    SigningKey,
    date_key,
    signing_key,
)
from dstore.security.sigv4_parts import Scope
from dstore.security.sigv4_request import BINDING_HEADERS, SERVICES, Claim, read_claim, verify
from dstore.storage import node_records
from dstore.storage.node_records import AccessKeyRecord, BearerRecord, NodeContents

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.service.catalog import Catalog
    from dstore.service.directory import Directory
    from dstore.service.held_tenant import Tenant
    from dstore.storage.node_database import NodeDatabase
    from dstore.storage.node_keys import NodeKeys

SIGNING_KEYS_CACHED_MAX: Final = 4_096
BEARER: Final = "bearer "
ALIKE: Final = frozenset({SignatureProblem.UNKNOWN_KEY, SignatureProblem.MISMATCH})
NO_SUCH_BEARER: Final = "The token is not valid here; ask the operator for another one."
NO_MATCH: Final = (
    "No access key here makes this signature of this request; check the key's id and secret, and "
    "that nothing between client and server changes the request."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated client: a tenant's, or (tenant None) the operator.

    `credential` is the public id of its token or access key; `region` is what its signature names,
    free text, "" if it came with a token. `tenant_id` is the tenant's UUID: a name is given again,
    to somebody else, once its tenant is deleted. It is "" of the operator, and of a credential that
    came from a control that does not say it.
    """

    tenant: str | None
    credential: str
    region: str = ""
    tenant_id: str = ""

    @property
    def is_operator(self) -> bool:
        """May do everything; what it changes is audited."""
        return self.tenant is None


@dataclass(slots=True, kw_only=True)  # Freezing would cost 1 µs on every request.
class SignedRequest:
    """What a signature covers: the request as it was received, not as it was parsed.

    `body_sha256` is of the body as it was sent, before any decompression, in lower-case hexadecimal
    digits. `services` and `binding` are what the surface asks of a signature, see `read_claim`.
    """

    method: str
    target: str
    headers: Sequence[tuple[bytes, bytes]]
    body_sha256: str
    services: frozenset[str] = SERVICES
    binding: frozenset[bytes] = BINDING_HEADERS


class Access:
    """The node's credentials, in memory as in the node database."""

    def __init__(
        self,
        *,
        database: NodeDatabase,
        catalog: Catalog,
        keys: NodeKeys,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """Start empty; `load` fills it."""
        self._database = database
        self._catalog = catalog
        self._keys = keys
        self._clock = clock
        self._entropy = entropy
        self._tokens: dict[str, BearerRecord] = {}
        self._access_keys: dict[str, AccessKeyRecord] = {}
        # Those that made a right signature, and whose they are; the latest used last.
        self._signing_keys: OrderedDict[Scope, tuple[SigningKey, Principal]] = OrderedDict()
        self._nobody = _Nobody(keys, entropy)
        catalog.on_deleted(self.forget_tenant)

    def load(self, contents: NodeContents) -> None:
        """Take the credentials that the node database holds."""
        self._tokens = {token.id: token for token in contents.tokens}
        self._access_keys = {key.id: key for key in contents.access_keys}

    # ----------------------------------------------------------------------- who is asking

    def bearer(self, authorization: str) -> Principal:
        """Authenticate `Authorization: Bearer …`. Raises: Refused(UNAUTHENTICATED)."""
        text = authorization[len(BEARER) :].strip()
        token_id = credentials.token_id(text)
        record = None if token_id is None else self._tokens.get(token_id)
        stored = (
            None
            if record is None
            else credentials.TokenRecord(id=credentials.TokenId(record.id), digest=record.digest)
        )
        if not credentials.token_is_valid(text, stored) or record is None:
            raise unauthenticated("The token is not valid here; use DSTORE_TOKEN of client.env.")
        return Principal(
            tenant=record.tenant, credential=record.id, tenant_id=self._tenant_id(record.tenant)
        )

    def signature(self, request: SignedRequest) -> Principal:
        """Authenticate a request signed with an access key (SigV4).

        Raises: SignatureRefused: the signature is missing, malformed, stale or wrong; an unknown
            key and a wrong signature look alike.
        """
        claim = claim_of(request)
        scope = claim.scope
        record = self._access_keys.get(scope.access_key_id)
        known = self._signing_keys.get(scope)
        key = self._signing_key(scope, record) if known is None else known[0]
        try:
            verify(
                claim,
                body_sha256=request.body_sha256,
                key=None if record is None else key,
                now_us=self._clock.wall_us(),
            )
        except SignatureRefused as refused:
            if known is not None:
                self._signing_key(scope, record)  # every refusal costs the same
            if refused.problem in ALIKE:
                raise SignatureRefused(refused.problem, NO_MATCH) from None
            raise
        assert record is not None, "without a key no signature is right"
        if known is not None:
            self._signing_keys.move_to_end(scope)
            return known[1]
        principal = Principal(
            tenant=record.tenant,
            credential=record.id,
            region=scope.region,
            tenant_id=self._tenant_id(record.tenant),
        )
        self._remember(scope, key, principal)
        return principal

    def check_known(self, request: SignedRequest) -> None:
        """Refuse a request, before its body has come, that `signature` refuses whatever the body.

        Only for surfaces that tell an unknown access key from a wrong signature, as DynamoDB does:
        who is not refused is waited for.

        Raises: SignatureRefused: the signature cannot be read, or names no access key.
        """
        if claim_of(request).scope.access_key_id not in self._access_keys:
            raise SignatureRefused(SignatureProblem.UNKNOWN_KEY, NO_MATCH)

    def _tenant_id(self, tenant: str | None) -> str:
        """Name the tenant that a credential here is of: they come and go together."""
        return "" if tenant is None else self._catalog.tenant(tenant).uuid

    def _signing_key(self, scope: Scope, record: AccessKeyRecord | None) -> SigningKey:
        """Derive a key: about 0.1 ms, the same for an access key that does not exist."""
        secret = self._nobody.secret() if record is None else self.secret_of(record)
        day = date_key(secret, scope.date)
        return signing_key(day, region=scope.region, service=scope.service)

    def _remember(self, scope: Scope, key: SigningKey, principal: Principal) -> None:
        """Keep a key that made a right signature; only its owner gets it here."""
        self._signing_keys[scope] = key, principal  # as the latest
        if len(self._signing_keys) > SIGNING_KEYS_CACHED_MAX:
            self._signing_keys.popitem(last=False)

    def _forget_signing_keys(self, access_key_ids: Collection[str]) -> None:
        for scope in [one for one in self._signing_keys if one.access_key_id in access_key_ids]:
            del self._signing_keys[scope]

    # ------------------------------------------------------------------------ credentials

    def access_keys(self, tenant: str) -> list[AccessKeyRecord]:
        """The access keys of a tenant, oldest first."""
        found = (key for key in self._access_keys.values() if key.tenant == tenant)
        return sorted(found, key=lambda key: (key.created_at_us, key.id))

    def tokens(self, tenant: str | None) -> list[BearerRecord]:
        """The tokens of a tenant, or (None) of the operator, oldest first."""
        found = (token for token in self._tokens.values() if token.tenant == tenant)
        return sorted(found, key=lambda token: (token.created_at_us, token.id))

    async def create_access_key(self, tenant_name: str) -> tuple[AccessKeyRecord, str]:
        """Make an access key. Returns: the record, and the secret, to be shown once."""
        key = credentials.new_access_key(self._entropy)
        return await self._store_access_key(tenant_name, key), key.secret

    async def import_access_key(
        self, tenant_name: str, key_id: str, secret: str
    ) -> AccessKeyRecord:
        """Store a given access key. Raises: Refused: malformed, or the id is taken."""
        return await self._store_access_key(
            tenant_name, credentials.imported_access_key(key_id, secret)
        )

    async def delete_access_key(self, tenant: str, key_id: str) -> None:
        """Revoke an access key, at once. Raises: Refused: the tenant has no such key."""
        record = self._access_keys.get(key_id)
        if record is None or record.tenant != tenant:
            raise _no_such("access key")
        await self._database.run(lambda db: node_records.delete_access_key(db, key_id))
        self._access_keys.pop(key_id, None)
        self._forget_signing_keys({key_id})

    async def create_token(self, tenant: str | None) -> tuple[BearerRecord, str]:
        """Make a bearer token. Returns: the record, and the text, to be shown once."""
        if tenant is not None:
            self._catalog.tenant(tenant)
        text, made = credentials.new_token(self._entropy)
        record = BearerRecord(
            id=made.id, tenant=tenant, digest=made.digest, created_at_us=self._clock.wall_us()
        )
        await self._database.run(lambda db: node_records.insert_token(db, record))
        self._tokens[record.id] = record
        return record, text

    async def delete_token(self, tenant: str | None, token_id: str) -> None:
        """Revoke a token, at once. Raises: Refused: there is no such token."""
        record = self._tokens.get(token_id)
        if record is None or record.tenant != tenant:
            raise _no_such("token")
        await self._database.run(lambda db: node_records.delete_token(db, token_id))
        self._tokens.pop(token_id, None)

    def forget_tenant(self, tenant: str) -> None:
        """Drop the credentials of a deleted tenant; the node database has done so already."""
        self._tokens = {k: v for k, v in self._tokens.items() if v.tenant != tenant}
        gone = {key.id for key in self._access_keys.values() if key.tenant == tenant}
        for key_id in gone:
            del self._access_keys[key_id]
        self._forget_signing_keys(gone)

    def secret_of(self, record: AccessKeyRecord) -> str:
        """Open an access key's secret. Raises: Unavailable: the node's key does not fit."""
        tenant = self._catalog.tenant(record.tenant)
        try:
            opened = open_sealed(
                self._secret_key(tenant), record.secret, context=_secret_context(record.id)
            )
        except WrongKey as error:
            raise Unavailable(UnavailableKind.LOCKED, "The access key is locked.") from error
        return opened.decode()

    async def _store_access_key(
        self, tenant_name: str, key: credentials.AccessKey
    ) -> AccessKeyRecord:
        tenant = self._catalog.tenant(tenant_name)
        if key.id in self._access_keys:
            raise Refused(RefusalKind.CONFLICT, "An access key of that id exists; delete it first.")
        record = AccessKeyRecord(
            id=key.id,
            tenant=tenant_name,
            secret=seal(
                self._secret_key(tenant),
                key.secret.encode(),
                context=_secret_context(key.id),
                entropy=self._entropy,
            ),
            created_at_us=self._clock.wall_us(),
        )
        await self._database.run(lambda db: node_records.insert_access_key(db, record))
        self._access_keys[record.id] = record
        return record

    def _secret_key(self, tenant: Tenant) -> bytes:
        return self._keys.secret_key(tenant.record.uuid, tenant_share=tenant.share)


class _Nobody:
    """The access key of a tenant that does not exist: opening its secret takes as long as any."""

    def __init__(self, keys: NodeKeys, entropy: Entropy) -> None:
        self._keys = keys
        self._uuid, self._share = entropy.uuid(), new_key(entropy)
        made = credentials.new_access_key(entropy)
        self._context = _secret_context(made.id)
        self._sealed = seal(
            self._secret_key(), made.secret.encode(), context=self._context, entropy=entropy
        )

    def secret(self) -> str:
        return open_sealed(self._secret_key(), self._sealed, context=self._context).decode()

    def _secret_key(self) -> bytes:
        return self._keys.secret_key(self._uuid, tenant_share=self._share)


def claim_of(request: SignedRequest) -> Claim:
    """Read what a signature claims. Raises: SignatureRefused: it cannot be read."""
    return read_claim(
        request.method,
        request.target,
        request.headers,
        services=request.services,
        binding=request.binding,
    )


def authorize(principal: Principal, tenant: str) -> None:
    """Let a principal at a tenant. Raises: Refused(FORBIDDEN), whether the tenant exists or not."""
    if principal.tenant is not None and principal.tenant != tenant:
        raise _forbidden()


def require_same_tenant(principal: Principal, directory: Directory) -> None:
    """Refuse a credential of a tenant whose name is another tenant's by now, as an unknown one.

    A name that nobody has here passes: whoever looks for the tenant says that there is none.

    Raises: Refused, as the credential's surface does if it does not know it. Unavailable: nobody
        knows whose the name is. Cost: 0.3 µs.
    """
    tenant, tenant_id = principal.tenant, principal.tenant_id
    if tenant is None or not tenant_id or not directory.is_another(tenant, tenant_id):
        return
    if principal.region:
        raise SignatureRefused(SignatureProblem.UNKNOWN_KEY, NO_MATCH)
    raise unauthenticated(NO_SUCH_BEARER)


def require_operator(principal: Principal) -> None:
    """Raises: Refused(FORBIDDEN): the principal is a tenant's."""
    if not principal.is_operator:
        raise _forbidden()


def unauthenticated(message: str) -> Refused:
    """Refuse a request without a valid credential."""
    return Refused(RefusalKind.UNAUTHENTICATED, message)


def _forbidden() -> Refused:
    return Refused(RefusalKind.FORBIDDEN, "This credential does not reach that; use another one.")


def _no_such(what: str) -> Refused:
    return Refused(RefusalKind.NOT_FOUND, f"There is no such {what}; list them to see which are.")


def _secret_context(key_id: str) -> bytes:
    return framed([b"access-key", key_id.encode()])
