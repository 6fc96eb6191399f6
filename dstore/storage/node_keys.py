"""The keys of a node: its own, from `node.key`, and its database's, from `node.wraps`.

    node.key    the node's UUID and its local 256-bit key, in clear, mode 0600
    node.wraps  the node database's data key, wrapped once per enrolment, see `node_wraps`

Whoever has both files of a stand-alone node has its data; keep `node.key` out of backups. An
enrolled node's files open nothing without a share that its control keeps; how a node is enrolled
stands in `enrolment`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from dstore.base.private_files import sync_directory, write_private
from dstore.security.keys import ControlShare, Key256, Purpose, derive, new_key
from dstore.storage import component_key, node_wraps, rewriting
from dstore.storage.component_key import ComponentKey
from dstore.storage.node_wraps import FILE_UUID_BYTES, STANDALONE, WRAPS_FILE, StoredWraps
from dstore.storage.vault.layout import FileKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dstore.base.entropy import Entropy

__all__ = [
    "KEY_FILE",
    "STANDALONE",
    "WRAPS_FILE",
    "NodeIdentity",
    "NodeKeys",
    "load_or_create",
    "new_file_key",
    "read_identity",
    "renewed_file_key",
    "sync_directory",
    "write_private",
]

KEY_FILE: Final = "node.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """What is known of a node before it is unlocked.

    `control_planes` are those of which any one unlocks it; none if it stands alone.
    """

    uuid: str
    control_planes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """A node's identity and keys, in memory: never logged, never sent."""

    uuid: str
    local_key: Key256 = field(repr=False)
    database_key: FileKey = field(repr=False)
    control_planes: tuple[str, ...] = ()

    @property
    def own(self) -> ComponentKey:
        """The node's own key file, as other modules take it."""
        return ComponentKey(uuid=self.uuid, key=self.local_key)

    def tenant_share_key(self, tenant_uuid: str) -> Key256:
        """The key under which a tenant's (tenant, node) share is wrapped in the node database."""
        return derive(
            self.local_key, purpose=Purpose.TENANT_SHARE, context=[self.uuid, tenant_uuid]
        )

    def secret_key(self, tenant_uuid: str, *, tenant_share: Key256) -> Key256:
        """The key that seals a tenant's access-key secrets."""
        return derive(
            self.local_key,
            tenant_share,
            purpose=Purpose.ACCESS_KEY,
            context=[self.uuid, tenant_uuid],
        )

    def deferred_key(self, tenant_uuid: str, *, tenant_share: Key256) -> Key256:
        """The key that seals a tenant's accepted writes in the node database."""
        return derive(
            self.local_key,
            tenant_share,
            purpose=Purpose.DEFERRED,
            context=[self.uuid, tenant_uuid],
        )

    def file_wrapping_key(
        self,
        tenant_uuid: str,
        *,
        tenant_share: Key256,
        table_id: str,
        control_share: Key256 | None = None,
    ) -> Key256:
        """The key that wraps the data keys of a table's range files.

        SPEC.md composes node, (tenant, node) and (tenant, control); a stand-alone node has no
        control, so the third share is absent until the files are wrapped again at enrolment.
        """
        shares = [self.local_key, tenant_share]
        if control_share is not None:
            shares.append(control_share)
        return derive(
            *shares,
            purpose=Purpose.TENANT_FILE,
            context=[self.uuid, tenant_uuid, table_id],
        )


def read_identity(directory: Path) -> NodeIdentity | None:
    """Tell who a node is and whom it has to ask for its keys. Returns: None before its first start.

    Raises: Corrupt: one of its two files is damaged or missing.
    """
    if not (directory / KEY_FILE).exists() and not (directory / WRAPS_FILE).exists():
        return None
    stored = node_wraps.read_wraps(directory)
    return NodeIdentity(
        uuid=component_key.load(directory / KEY_FILE).uuid,
        control_planes=(stored.following or stored.current).control_planes,
    )


def load_or_create(
    directory: Path,
    *,
    database: Path,
    entropy: Entropy,
    shares: Sequence[ControlShare] = (),
) -> NodeKeys:
    """Read a node's key files, or make them on the first start, before there is a `database`.

    A rewrite of the database that a crash has cut short is brought to its end first.

    Args:
        directory: the data directory, locked by the caller.
        database: the node database's path; it is not open.
        entropy: source of new keys.
        shares: the (node, control) keys that controls gave; of an enrolled node one is enough.

    Raises:
        Corrupt: a file is damaged, or one of the two is missing beside an existing database.
        WrongKey: `node.key`, or the share given, is not what wrapped the database ("locked").
        Unavailable(LOCKED): "waiting for control": no share of a plane that it is enrolled with.
    """
    key_path = directory / KEY_FILE
    if not (directory / WRAPS_FILE).exists() and not database.exists():
        own = (
            component_key.load(key_path)
            if key_path.exists()
            else component_key.create(key_path, entropy=entropy)
        )
        made = node_wraps.wrap_alone(new_file_key(entropy), own, entropy=entropy)
        node_wraps.write_wraps(directory, StoredWraps(current=made))
    own = component_key.load(key_path)
    wraps = _settled(directory, database)
    return NodeKeys(
        uuid=own.uuid,
        local_key=own.key,
        database_key=node_wraps.unwrap(wraps, own, shares),
        control_planes=wraps.control_planes,
    )


def new_file_key(entropy: Entropy) -> FileKey:
    """Draw the key of a new vault file."""
    return FileKey(file_uuid=entropy.token(FILE_UUID_BYTES), generation=0, secret=new_key(entropy))


def renewed_file_key(key: FileKey, entropy: Entropy) -> FileKey:
    """Draw the key of the next generation of a vault file."""
    return replace(key, generation=key.generation + 1, secret=new_key(entropy))


def _settled(directory: Path, database: Path) -> node_wraps.Wraps:
    """Bring a rewrite of the database to its end, or clear away what never became one."""
    stored = node_wraps.read_wraps(directory)
    wraps = stored.following or stored.current
    rewriting.settle(database, wraps.generation)
    if stored.following is not None:
        with rewriting.overwriting_former(directory / WRAPS_FILE):
            node_wraps.write_wraps(directory, StoredWraps(current=wraps))
    return wraps
