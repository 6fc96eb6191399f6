"""`node.wraps`: the node database's data key, wrapped once per enrolment.

A stand-alone node has one wrap, under its local key alone. An enrolled node has one per control
plane, each under HKDF(local key ⊕ that plane's (node, control) key), and none under the local key
alone (I4): any one control unlocks it, and the disk alone does not.

While the database is written anew under another key, the file holds the wraps of both keys, so that
no crash leaves a database that nobody can open; `enrolment` has the steps.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import ENROLMENTS_MAX
from dstore.base.private_files import write_private
from dstore.model.errors import Corrupt, Unavailable, UnavailableKind
from dstore.security.envelope import WrappedKey, WrongKey, framed
from dstore.security.keys import ControlShare, Key256, Purpose, derive
from dstore.storage.component_key import FORMAT, ComponentKey, decode_bytes, decode_file
from dstore.storage.vault.layout import FileKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.base.entropy import Entropy

WRAPS_FILE: Final = "node.wraps"
STANDALONE: Final = "stand-alone"
WAITING: Final = "locked: waiting for control, which holds a share of this node's keys."
FILE_UUID_BYTES: Final = 16
_RETRY_AFTER_MS: Final = 1_000


class _Wrap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    enrolment: str
    wrapped: str


class _Next(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    file_uuid: str
    generation: int
    wraps: list[_Wrap]


class _WrapsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    format: int
    file_uuid: str
    generation: int
    wraps: list[_Wrap]
    next: _Next | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wraps:
    """One data key of the node database, wrapped.

    `wrapped` maps an enrolment, the UUID of a control plane or STANDALONE, to the key's wrap.
    """

    file_uuid: bytes
    generation: int
    wrapped: dict[str, WrappedKey] = field(repr=False)

    @property
    def control_planes(self) -> tuple[str, ...]:
        """Who can unlock it; nobody is needed if there is none."""
        return tuple(name for name in self.wrapped if name != STANDALONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWraps:
    """What the file holds: the key in use, and the one that a rewrite under way goes over to."""

    current: Wraps
    following: Wraps | None = None


def read_wraps(directory: Path) -> StoredWraps:
    """Read the file. Raises: Corrupt: it is damaged or missing."""
    stored = decode_file(directory / WRAPS_FILE, _WrapsFile)
    following = stored.next
    return StoredWraps(
        current=_decoded(_Next(stored.file_uuid, stored.generation, stored.wraps)),
        following=None if following is None else _decoded(following),
    )


def write_wraps(directory: Path, wraps: StoredWraps) -> None:
    """Write the file, whole or not at all, durably."""
    current = _encoded(wraps.current)
    following = None if wraps.following is None else _encoded(wraps.following)
    stored = _WrapsFile(FORMAT, current.file_uuid, current.generation, current.wraps, following)
    write_private(directory / WRAPS_FILE, msgspec.json.encode(stored))


def wrap_alone(key: FileKey, own: ComponentKey, *, entropy: Entropy) -> Wraps:
    """Wrap a stand-alone node's data key under its local key alone."""
    return _wraps(key, {STANDALONE: _wrap(key, own, None, entropy=entropy)})


def wrap_for(
    key: FileKey,
    own: ComponentKey,
    share: ControlShare,
    *,
    beside: Wraps | None = None,
    entropy: Entropy,
) -> Wraps:
    """Wrap a data key for a control plane.

    Args:
        key: the node database's.
        own: the node's.
        share: the plane's (node, control) key; a wrap for the same plane is replaced.
        beside: the wraps of the same data key for other planes, which stay.
        entropy: source of the nonce.
    """
    kept = {} if beside is None else beside.wrapped
    assert beside is None or (beside.file_uuid, beside.generation) == (
        key.file_uuid,
        key.generation,
    )
    assert STANDALONE not in kept, "an enrolled node keeps no wrap under its own key alone"
    assert len({*kept, share.control_plane}) <= ENROLMENTS_MAX
    made = _wrap(key, own, share, entropy=entropy)
    return _wraps(key, {**kept, share.control_plane: made})


def unwrap(wraps: Wraps, own: ComponentKey, shares: Sequence[ControlShare]) -> FileKey:
    """Open the data key with the local key, and with control's share if there is an enrolment.

    Raises:
        Unavailable(LOCKED): the node is enrolled, and none of its planes' shares is given.
        WrongKey: the local key or every share given is not the one that wrapped it.
        Corrupt: the wraps are damaged.
    """
    if not wraps.control_planes:
        return _file_key(wraps, _unwrapped(wraps, own, None))
    given = [share for share in shares if share.control_plane in wraps.wrapped]
    if not given:
        raise Unavailable(UnavailableKind.LOCKED, WAITING, retry_after_ms=_RETRY_AFTER_MS)
    for share in given[:-1]:
        try:
            return _file_key(wraps, _unwrapped(wraps, own, share))
        except WrongKey:
            continue  # one plane's mistake keeps no other from unlocking
    return _file_key(wraps, _unwrapped(wraps, own, given[-1]))


def _unwrapped(wraps: Wraps, own: ComponentKey, share: ControlShare | None) -> bytes:
    name = STANDALONE if share is None else share.control_plane
    try:
        return wraps.wrapped[name].unwrap(
            _wrapping_key(own, share), context=_context(own.uuid), file=WRAPS_FILE
        )
    except WrongKey as error:
        whose = "is not the key" if share is None else f"or control plane {name}'s is not the key"
        message = f"node.key {whose} that this directory was made with; restore it."
        raise WrongKey(message) from error


def _wrap(
    key: FileKey, own: ComponentKey, share: ControlShare | None, *, entropy: Entropy
) -> WrappedKey:
    return WrappedKey.wrap(
        _wrapping_key(own, share),
        key.secret,
        key_id=STANDALONE if share is None else share.control_plane,
        context=_context(own.uuid),
        entropy=entropy,
    )


def _wrapping_key(own: ComponentKey, share: ControlShare | None) -> Key256:
    if share is None:
        return derive(own.key, purpose=Purpose.NODE_DATABASE, context=[own.uuid, STANDALONE])
    return derive(
        own.key,
        share.key,
        purpose=Purpose.NODE_DATABASE,
        context=[own.uuid, share.control_plane],
    )


def _context(uuid: str) -> bytes:
    return framed([b"node-database", uuid.encode()])


def _wraps(key: FileKey, wrapped: dict[str, WrappedKey]) -> Wraps:
    return Wraps(file_uuid=key.file_uuid, generation=key.generation, wrapped=wrapped)


def _file_key(wraps: Wraps, secret: bytes) -> FileKey:
    return FileKey(file_uuid=wraps.file_uuid, generation=wraps.generation, secret=secret)


def _encoded(wraps: Wraps) -> _Next:
    return _Next(
        b64encode(wraps.file_uuid).decode(),
        wraps.generation,
        [_Wrap(name, b64encode(one.to_bytes()).decode()) for name, one in wraps.wrapped.items()],
    )


def _decoded(stored: _Next) -> Wraps:
    wrapped = {
        one.enrolment: WrappedKey.from_bytes(decode_bytes(one.wrapped, WRAPS_FILE), file=WRAPS_FILE)
        for one in stored.wraps
    }
    # One enrolment at least, each once; a wrap under the local key alone stands alone (I4).
    is_whole = len(wrapped) == len(stored.wraps) and 1 <= len(wrapped) <= ENROLMENTS_MAX
    if not is_whole or (STANDALONE in wrapped and len(wrapped) > 1):
        raise Corrupt(
            f"{WRAPS_FILE} has no wrap that this node can open.", file=WRAPS_FILE, where="wraps"
        )
    return Wraps(
        file_uuid=decode_bytes(stored.file_uuid, WRAPS_FILE, size=FILE_UUID_BYTES),
        generation=stored.generation,
        wrapped=wrapped,
    )
