"""The keys below a tenant's share: wrapped for the node database, opened from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from dstore.base.limits import RETRY_AFTER_MS
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.security.envelope import WrappedKey, WrongKey, framed
from dstore.security.keys import ControlShare, Key256, new_key
from dstore.storage.node_keys import STANDALONE, new_file_key, renewed_file_key
from dstore.storage.node_records import TenantRecord
from dstore.storage.schema import Schema, newest
from dstore.storage.table_records import NODE_FILE, RangeRecord
from dstore.storage.vault.layout import FileKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.base.entropy import Entropy
    from dstore.model.ranges import RangeRef
    from dstore.model.tables import TableDefinition, TableId
    from dstore.storage.node_keys import NodeKeys

_WAITING: Final = "locked: waiting for control, which holds a share of this tenant's keys; retry."


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What of a tenant's keys is at hand: the node's own share, and perhaps control's."""

    node: Key256 = field(repr=False)
    control: ControlShare | None = None


class TenantKeys:
    """Draws, wraps and opens the shares of tenants and the keys of their files."""

    def __init__(self, keys: NodeKeys, entropy: Entropy) -> None:
        """Work below the node's own keys."""
        self._keys = keys
        self._entropy = entropy

    def new_tenant(
        self, name: str, *, created_at_us: int, tenant_id: str | None = None
    ) -> tuple[TenantRecord, Key256]:
        """Draw a tenant's UUID and key share. Returns: its record, and the share in clear."""
        uuid, share = self._entropy.uuid(), new_key(self._entropy)
        wrapped = WrappedKey.wrap(
            self._keys.tenant_share_key(uuid),
            share,
            key_id=uuid,
            context=_share_context(uuid),
            entropy=self._entropy,
        )
        record = TenantRecord(
            name=name,
            uuid=uuid,
            node_key=wrapped.to_bytes(),
            created_at_us=created_at_us,
            tenant_id=tenant_id,
        )
        return record, share

    def share(self, record: TenantRecord) -> Key256:
        """Open a tenant's share. Raises: Unavailable: the node's key does not open it."""
        where = "key share of a tenant"
        wrapped = WrappedKey.from_bytes(record.node_key, file=NODE_FILE, where=where)
        share = _unlocked(
            lambda: wrapped.unwrap(
                self._keys.tenant_share_key(record.uuid),
                context=_share_context(record.uuid),
                file=NODE_FILE,
                where=where,
            )
        )
        return Key256(share)

    def new_range(
        self,
        tenant: TenantRecord,
        shares: Shares,
        definition: TableDefinition,
        *,
        ref: RangeRef,
    ) -> tuple[RangeRecord, FileKey]:
        """Draw the key of a new range's file, wrapped for the record with all shares at hand."""
        key = new_file_key(self._entropy)
        held = RangeRecord(
            tenant=tenant.name,
            table=definition.name,
            range_id=ref.range_id,
            epoch=ref.epoch,
            hash_start=ref.low,
            hash_end=ref.high,
            tenant_uuid=tenant.uuid,
            table_version=newest(Schema.RANGE),
            file_uuid=key.file_uuid,
            generation=key.generation,
            file_key=b"",
            drawn_under=_plane(shares.control),
        )
        return self._wrapped(held, key, shares, table_id=definition.table_id), key

    def file_key(self, held: RangeRecord, shares: Shares, *, table_id: TableId) -> FileKey:
        """Open the key of a range's file.

        Raises: Unavailable: control's share is needed and not at hand, or the keys do not fit.
        """
        control = None
        if held.enrolment != STANDALONE:
            control = shares.control
            if control is None or control.control_plane != held.enrolment:
                raise Unavailable(UnavailableKind.LOCKED, _WAITING, retry_after_ms=RETRY_AFTER_MS)
        where = f"file key of range {held.range_id}"
        wrapped = WrappedKey.from_bytes(held.file_key, file=NODE_FILE, where=where)
        secret = _unlocked(
            lambda: wrapped.unwrap(
                self._wrapping_key(held, shares.node, control, table_id=table_id),
                context=_file_context(held.range_id, held.generation),
                file=NODE_FILE,
                where=where,
            )
        )
        return FileKey(file_uuid=held.file_uuid, generation=held.generation, secret=secret)

    def rewrapped(
        self, held: RangeRecord, before: Shares, after: Shares, *, table_id: TableId
    ) -> RangeRecord:
        """Wrap a range's file key anew, under other shares; the file itself stays as it is.

        Raises: as `file_key`.
        """
        key = self.file_key(held, before, table_id=table_id)
        return self._wrapped(held, key, after, table_id=table_id)

    def renewed(
        self, held: RangeRecord, shares: Shares, *, table_id: TableId
    ) -> tuple[RangeRecord, FileKey, FileKey]:
        """Draw the key of a file's next generation, wrapped with all shares at hand.

        Returns: the record to be, the key that opens the file now, and the one to write it under.
        Raises: as `file_key`.
        """
        before = self.file_key(held, shares, table_id=table_id)
        after = renewed_file_key(before, self._entropy)
        coming = replace(held, generation=after.generation, drawn_under=_plane(shares.control))
        return self._wrapped(coming, after, shares, table_id=table_id), before, after

    def _wrapped(
        self, held: RangeRecord, key: FileKey, shares: Shares, *, table_id: TableId
    ) -> RangeRecord:
        control = shares.control
        wrapped = WrappedKey.wrap(
            self._wrapping_key(held, shares.node, control, table_id=table_id),
            key.secret,
            key_id=held.range_id,
            context=_file_context(held.range_id, held.generation),
            entropy=self._entropy,
        )
        return replace(held, file_key=wrapped.to_bytes(), enrolment=_plane(control))

    def _wrapping_key(
        self, held: RangeRecord, share: Key256, control: ControlShare | None, *, table_id: TableId
    ) -> Key256:
        return self._keys.file_wrapping_key(
            held.tenant_uuid,
            tenant_share=share,
            table_id=table_id,
            control_share=None if control is None else control.key,
        )


def _plane(control: ControlShare | None) -> str:
    return STANDALONE if control is None else control.control_plane


def _unlocked(unwrap: Callable[[], bytes]) -> bytes:
    try:
        return unwrap()
    except WrongKey as error:
        raise Unavailable(
            UnavailableKind.LOCKED, "The node's key does not open this; restore node.key."
        ) from error


def _share_context(tenant_uuid: str) -> bytes:
    return framed([b"tenant-share", tenant_uuid.encode()])


def _file_context(range_id: str, generation: int) -> bytes:
    return framed([b"range-file", range_id.encode(), str(generation).encode()])
