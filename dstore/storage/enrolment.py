"""Put a node under control planes: who of them can unlock its database.

Joining the first one writes the node database anew under a fresh key, which is wrapped under local
key ⊕ (node, control) key and never under the local key alone; what opened it before opens nothing
any more (I4). The steps, each durable before the next, so that a crash at any point leaves a
database that the next start can open:

1. the database's log is folded in, and its pages are sealed again into a staged file
2. `node.wraps` holds the former wraps and the coming ones: from here on a start goes forward, and
   needs control
3. the staged file takes the database's name
4. `node.wraps` holds the coming wraps alone

So before it calls `enrol` a node has stored what it needs to ask control for its key again: its
certificate, the authority, control's addresses.

Tenant files are written anew afterwards, one by one (`service.holdings`), while the node serves.
The database is closed. All functions wait for the disk; call them in a thread.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import apsw

from dstore.base.limits import ENROLMENTS_MAX
from dstore.model.errors import RefusalKind, Refused
from dstore.storage import node_wraps, rewriting
from dstore.storage.failures import translated
from dstore.storage.node_keys import WRAPS_FILE, NodeKeys, renewed_file_key
from dstore.storage.node_wraps import StoredWraps

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.base.entropy import Entropy
    from dstore.security.keys import ControlShare
    from dstore.storage.vault.layout import FileKey
    from dstore.storage.vault.vault import Vault


def enrol(
    directory: Path,
    keys: NodeKeys,
    share: ControlShare,
    *,
    database: Path,
    vault: Vault,
    entropy: Entropy,
) -> NodeKeys:
    """Let a control plane unlock the node's database from now on.

    A stand-alone node's database is written anew; a node of other planes gets one more wrap; of a
    plane that is enrolled already the wrap is replaced: its key was rotated, or an answer was lost.

    Args:
        directory: the data directory, locked by the caller.
        keys: as loaded; the node is unlocked.
        share: the (node, control) key.
        database: the node database's path; closed, perhaps not made yet.
        vault: knows no key of the database at present.
        entropy: source of the new key.

    Returns: the keys to open the database with.
    Raises: Refused(CONFLICT): ENROLMENTS_MAX planes already. Corrupt: the database is damaged, and
        nothing was changed. Unavailable(NO_SPACE): the same.
    """
    planes = keys.control_planes
    if share.control_plane not in planes and len(planes) >= ENROLMENTS_MAX:
        raise Refused(
            RefusalKind.CONFLICT, f"A node belongs to at most {ENROLMENTS_MAX} control planes."
        )
    if planes:
        current = node_wraps.read_wraps(directory).current
        wraps = node_wraps.wrap_for(
            keys.database_key, keys.own, share, beside=current, entropy=entropy
        )
        _replace(directory, StoredWraps(current=wraps))
        return replace(keys, control_planes=wraps.control_planes)
    return _leave_standing_alone(
        directory, keys, share, database=database, vault=vault, entropy=entropy
    )


def _leave_standing_alone(
    directory: Path,
    keys: NodeKeys,
    share: ControlShare,
    *,
    database: Path,
    vault: Vault,
    entropy: Entropy,
) -> NodeKeys:
    after = renewed_file_key(keys.database_key, entropy)
    coming = node_wraps.wrap_for(after, keys.own, share, entropy=entropy)
    if database.exists():
        _fold(database, keys.database_key, vault=vault)
        rewriting.stage(database, before=keys.database_key, after=after)
        current = node_wraps.read_wraps(directory).current
        _replace(directory, StoredWraps(current=current, following=coming))
        rewriting.promote(database, after.generation)
    _replace(directory, StoredWraps(current=coming))
    return replace(keys, database_key=after, control_planes=coming.control_planes)


def _fold(database: Path, key: FileKey, *, vault: Vault) -> None:
    """Recover and fold in the log; closing the last connection then deletes it."""
    vault.register(database, key)
    try:
        with translated(str(database)), closing(vault.connect(database)) as connection:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        vault.forget(database)


def _replace(directory: Path, wraps: StoredWraps) -> None:
    with rewriting.overwriting_former(directory / WRAPS_FILE):
        node_wraps.write_wraps(directory, wraps)
