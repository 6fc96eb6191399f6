"""Tokens that admit a component, each once. The secret is compared by `security`, in constant time.

token = await join_tokens.get(tx, token_id)     # then: digest, role
await join_tokens.use(tx, token_id, by=uuid, public_key=fingerprint, now_us=now)
await NODES.insert(tx, node)                    # in the same transaction
"""

from __future__ import annotations

from typing import Final

from dstore.base.limits import CONTROL_PAGE_MAX
from dstore.model.errors import RefusalKind, Refused
from dstore.storage.control.records import JoinTokenId, JoinTokenRecord
from dstore.storage.control.relation import Relation
from dstore.storage.control.store import Key, Page, Transaction

_TOKENS: Final = Relation(JoinTokenRecord, "join_token", key=("id",), noun="A token of this ID")


async def insert(tx: Transaction, token: JoinTokenRecord) -> None:
    """Add a token. Raises: Refused(CONFLICT)."""
    await _TOKENS.insert(tx, token)


async def get(tx: Transaction, token_id: JoinTokenId) -> JoinTokenRecord | None:
    """Find a token, used and expired ones included."""
    return await _TOKENS.find(tx, id=token_id)


async def use(
    tx: Transaction, token_id: JoinTokenId, *, by: str, public_key: str, now_us: int
) -> JoinTokenRecord:
    """Use a token up.

    The same public key may come again before the token expires: its first answer may be lost.

    Args:
        tx: the transaction that also admits the component.
        token_id: of a token whose secret and role were checked.
        by: the UUID that the component is to have.
        public_key: the fingerprint of the key that is to be certified.
        now_us: wall time, microseconds since 1970.
    Returns: the token as it is now; `used_by` is another UUID than `by` if this is a repetition:
        that component exists, and is to be answered again.
    Raises: Refused(UNAUTHENTICATED): it was used by another key, or is expired, or revoked.
    """
    changed = await tx.change(
        "UPDATE join_token SET used_at_us = $2, used_by = $3, used_key = $4 "
        "WHERE id = $1 AND used_at_us IS NULL AND expires_at_us > $2",
        token_id,
        now_us,
        by,
        public_key,
    )
    token = await get(tx, token_id)
    if token is None:
        raise _refused("is not known here, or was revoked")
    if changed == 1 or (token.used_key == public_key and token.expires_at_us > now_us):
        return token
    raise _refused("was used already" if token.used_at_us is not None else "is expired")


async def delete(tx: Transaction, token_id: JoinTokenId) -> bool:
    """Revoke a token. Returns: whether there was one."""
    return await _TOKENS.delete(tx, id=token_id) == 1


async def forget_expired(tx: Transaction, *, before_us: int) -> int:
    """Remove tokens that expired before then. Returns: how many."""
    return await tx.change("DELETE FROM join_token WHERE expires_at_us < $1", before_us)


async def page(
    tx: Transaction, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[JoinTokenRecord]:
    """List tokens by ID."""
    return await _TOKENS.page(tx, after=after, limit=limit)


def _refused(why: str) -> Refused:
    return Refused(
        RefusalKind.UNAUTHENTICATED,
        f"The join token {why}; make another with: dstore control token create.",
    )
