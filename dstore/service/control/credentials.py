"""What clients of a cluster sign and call with: access keys and bearer tokens, in control's store.

Any control process changes them, also while the coordinator is away: a key is revoked when the
operator says so, not when there is a leader. Proxies hear of a change by `key_feed`. Secrets are
shown once and stored sealed; of tokens only digests are stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.model.errors import Corrupt, RefusalKind, Refused
from dstore.model.rid import tenant_rid
from dstore.model.status import ResourceStatus
from dstore.security import credentials as made
from dstore.security.control_key import Sealed
from dstore.security.envelope import WrongKey
from dstore.service.access import Principal, unauthenticated
from dstore.service.refusals import no_such
from dstore.storage.control import credentials, tenants
from dstore.storage.control.records import AccessKeyRecord, BearerRecord
from dstore.storage.control.store import every

if TYPE_CHECKING:
    from dstore.service.control.realm import Realm
    from dstore.storage.control.store import Transaction

_BEARER: Final = "bearer "


class ControlCredentials:
    """Makes, lists and revokes credentials. `actor` is the public id of the one that asks.

    Every method raises Unavailable (nothing was changed) and those that change Unknown.
    """

    def __init__(self, realm: Realm) -> None:
        """Keep them in the store of `realm`."""
        self._realm = realm

    async def bearer(self, authorization: str) -> Principal:
        """Authenticate `Authorization: Bearer …`. Raises: Refused(UNAUTHENTICATED)."""
        text = authorization[len(_BEARER) :].strip()
        token_id = made.token_id(text)
        record = None
        if token_id is not None:
            async with self._realm.plane.store.snapshot() as tx:
                record = await credentials.get_bearer(tx, token_id)
        stored = (
            None
            if record is None
            else made.TokenRecord(id=made.TokenId(record.id), digest=record.digest)
        )
        if not made.token_is_valid(text, stored) or record is None:
            raise unauthenticated("The token is not valid here.")
        return Principal(tenant=record.tenant, credential=record.id)

    async def access_keys(self, tenant: str) -> tuple[AccessKeyRecord, ...]:
        """List a tenant's access keys, oldest first. Raises: Refused: there is no such tenant."""
        async with self._realm.plane.store.snapshot() as tx:
            await _check_tenant(tx, tenant)
            found = await every(lambda after: credentials.access_keys_of(tx, tenant, after=after))
        return tuple(sorted(found, key=lambda key: (key.created_at_us, key.id)))

    async def tokens(self, tenant: str | None) -> tuple[BearerRecord, ...]:
        """List a tenant's or the operator's tokens, oldest first. Raises: Refused."""
        async with self._realm.plane.store.snapshot() as tx:
            await _check_tenant(tx, tenant)
            found = await every(lambda after: credentials.bearers_of(tx, tenant, after=after))
        return tuple(sorted(found, key=lambda token: (token.created_at_us, token.id)))

    async def create_access_key(self, tenant: str, *, actor: str) -> tuple[AccessKeyRecord, str]:
        """Make an access key. Returns: it, and its secret, to be shown once."""
        key = made.new_access_key(self._realm.entropy)
        return await self._store(tenant, key, actor=actor), key.secret

    async def import_access_key(
        self, tenant: str, key_id: str, secret: str, *, actor: str
    ) -> AccessKeyRecord:
        """Store a given access key. Raises: Refused: malformed, or its id is taken."""
        return await self._store(tenant, made.imported_access_key(key_id, secret), actor=actor)

    async def secret_of(self, tenant: str, key_id: str) -> str | None:
        """Open an access key's secret; None if the tenant has no such key. Raises: Corrupt."""
        async with self._realm.plane.store.snapshot() as tx:
            record = await credentials.get_access_key(tx, key_id)
        if record is None or record.tenant != tenant:
            return None
        try:
            opened = self._realm.plane.control_key.open(
                record.sealed_secret, what=Sealed.ACCESS_KEY, record_id=key_id
            )
        except WrongKey:
            raise Corrupt(
                "The secret of an access key in control's store is damaged; delete the key.",
                file="control",
                where=f"access key {key_id}",
            ) from None
        return opened.decode()

    async def delete_access_key(self, tenant: str, key_id: str, *, actor: str) -> None:
        """Revoke an access key. Raises: Refused: the tenant has no such key."""
        realm = self._realm
        async with realm.plane.store.transaction() as tx:
            record = await credentials.get_access_key(tx, key_id)
            if record is None or record.tenant != tenant:
                raise _no_such("access key")
            await credentials.delete_access_key(tx, key_id)
            await realm.audit(
                tx, actor=actor, action="delete_access_key", subject=_subject(tenant, key_id)
            )

    async def create_token(self, tenant: str | None, *, actor: str) -> tuple[BearerRecord, str]:
        """Make a token; of None, the operator's. Returns: it, and its text, to be shown once."""
        realm = self._realm
        text, token = made.new_token(realm.entropy)
        record = BearerRecord(
            id=token.id,
            tenant=tenant,
            digest=token.digest,
            created_at_us=realm.clock.wall_us(),
        )
        async with realm.plane.store.transaction() as tx:
            await _check_tenant(tx, tenant)
            await credentials.insert_bearer(tx, record)
            await realm.audit(
                tx, actor=actor, action="create_token", subject=_subject(tenant, token.id)
            )
        return record, text

    async def delete_token(self, tenant: str | None, token_id: str, *, actor: str) -> None:
        """Revoke a token. Raises: Refused: the owner has no such token."""
        realm = self._realm
        async with realm.plane.store.transaction() as tx:
            record = await credentials.get_bearer(tx, token_id)
            if record is None or record.tenant != tenant:
                raise _no_such("token")
            await credentials.delete_bearer(tx, token_id)
            await realm.audit(
                tx, actor=actor, action="delete_token", subject=_subject(tenant, token_id)
            )

    async def _store(self, tenant: str, key: made.AccessKey, *, actor: str) -> AccessKeyRecord:
        realm = self._realm
        record = AccessKeyRecord(
            id=key.id,
            tenant=tenant,
            sealed_secret=realm.plane.control_key.seal(
                key.secret.encode(),
                what=Sealed.ACCESS_KEY,
                record_id=key.id,
                entropy=realm.entropy,
            ),
            created_at_us=realm.clock.wall_us(),
        )
        async with realm.plane.store.transaction() as tx:
            await _check_tenant(tx, tenant)
            await credentials.insert_access_key(tx, record)
            await realm.audit(
                tx, actor=actor, action="create_access_key", subject=_subject(tenant, key.id)
            )
        return record


async def _check_tenant(tx: Transaction, name: str | None) -> None:
    """Refuse a tenant that there is not, or not for long; the operator (None) is always there."""
    if name is None:
        return
    record = await tenants.get(tx, name)
    if record is None or record.status is ResourceStatus.DELETING:
        raise no_such("tenant", name)


def _subject(tenant: str | None, credential: str) -> str:
    owner = "operator" if tenant is None else str(tenant_rid(tenant))
    return f"{owner} {credential}"


def _no_such(what: str) -> Refused:
    return Refused(RefusalKind.NOT_FOUND, f"There is no such {what}; list them to see which are.")
