"""The key files of a node, and the keys they open.

    node.key    the node's UUID and its local 256-bit key, in clear, mode 0600
    node.wraps  the node database's data key, wrapped once per enrolment

A stand-alone node wraps under its local key alone. A node that joins a control plane will wrap
under local key ⊕ (node, control) key instead, and drop the stand-alone wrap (I4): the shape of
both files stays. Whoever has both files of a stand-alone node has its data; keep `node.key` out of
backups.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from dstore.model.errors import Corrupt
from dstore.security.envelope import KEY_BYTES, WrappedKey, WrongKey, framed
from dstore.security.keys import Key256, Purpose, derive, new_key
from dstore.storage.vault.layout import FileKey

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy

T = TypeVar("T")

KEY_FILE: Final = "node.key"
WRAPS_FILE: Final = "node.wraps"
FORMAT: Final = 1
STANDALONE: Final = "stand-alone"
_FILE_UUID_BYTES: Final = 16


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    uuid: str
    key: str


class _Wrap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    enrolment: str
    wrapped: str


class _WrapsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    file_uuid: str
    generation: int
    wraps: list[_Wrap]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """A node's identity and keys, in memory: never logged, never sent."""

    uuid: str
    local_key: Key256 = field(repr=False)
    database_key: FileKey = field(repr=False)

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


def load_or_create(directory: Path, *, database: Path, entropy: Entropy) -> NodeKeys:
    """Read a node's key files, or make them on the first start, before there is a `database`.

    Raises:
        Corrupt: a file is damaged, or one of the two is missing beside an existing database.
        WrongKey: `node.key` is not the key that wrapped the database ("locked").
    """
    key_path, wraps_path = directory / KEY_FILE, directory / WRAPS_FILE
    if not wraps_path.exists() and not database.exists():
        _create(key_path, wraps_path, entropy)
    identity = _decode(key_path, _KeyFile)
    stored = _decode(wraps_path, _WrapsFile)
    local_key = Key256(_bytes(identity.key, KEY_FILE, size=KEY_BYTES))
    secret = _unwrap(stored, identity.uuid, local_key)
    return NodeKeys(
        uuid=identity.uuid,
        local_key=local_key,
        database_key=FileKey(
            file_uuid=_bytes(stored.file_uuid, WRAPS_FILE, size=_FILE_UUID_BYTES),
            generation=stored.generation,
            secret=secret,
        ),
    )


def new_file_key(entropy: Entropy) -> FileKey:
    """Draw the key of a new vault file."""
    return FileKey(file_uuid=entropy.token(_FILE_UUID_BYTES), generation=0, secret=new_key(entropy))


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 whole or not at all, durably. Raises: OSError: it names `path`."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        _write_scratch(scratch, content)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_directory(path.parent)


def _write_scratch(scratch: Path, content: bytes) -> None:
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make a directory's entries durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(key_path: Path, wraps_path: Path, entropy: Entropy) -> None:
    if not key_path.exists():
        made = _KeyFile(FORMAT, entropy.uuid(), b64encode(new_key(entropy)).decode())
        write_private(key_path, msgspec.json.encode(made))
    identity = _decode(key_path, _KeyFile)
    key = new_file_key(entropy)
    wrapped = WrappedKey.wrap(
        _standalone_key(identity.uuid, Key256(_bytes(identity.key, KEY_FILE, size=KEY_BYTES))),
        key.secret,
        key_id=STANDALONE,
        context=_context(identity.uuid),
        entropy=entropy,
    )
    wrap = _Wrap(STANDALONE, b64encode(wrapped.to_bytes()).decode())
    file_uuid = b64encode(key.file_uuid).decode()
    write_private(
        wraps_path, msgspec.json.encode(_WrapsFile(FORMAT, file_uuid, key.generation, [wrap]))
    )


def _unwrap(stored: _WrapsFile, uuid: str, local_key: Key256) -> bytes:
    for wrap in stored.wraps:
        if wrap.enrolment == STANDALONE:
            wrapped = WrappedKey.from_bytes(_bytes(wrap.wrapped, WRAPS_FILE), file=WRAPS_FILE)
            key = _standalone_key(uuid, local_key)
            try:
                return wrapped.unwrap(key, context=_context(uuid), file=WRAPS_FILE)
            except WrongKey as error:
                message = (
                    f"{KEY_FILE} is not the key that this directory was made with; restore it."
                )
                raise WrongKey(message) from error
    raise Corrupt(
        f"{WRAPS_FILE} has no wrap that this node can open.", file=WRAPS_FILE, where="wraps"
    )


def _standalone_key(uuid: str, local_key: Key256) -> Key256:
    return derive(local_key, purpose=Purpose.NODE_DATABASE, context=[uuid, STANDALONE])


def _context(uuid: str) -> bytes:
    return framed([b"node-database", uuid.encode()])


def _bytes(text: str, file: str, *, size: int | None = None) -> bytes:
    """Decode base64 from one of the two files. Raises: Corrupt: it is none, or of another size."""
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        decoded = None
    if decoded is None or size not in {None, len(decoded)}:
        raise Corrupt(f"{file} is damaged; restore it.", file=file, where="content")
    return decoded


def _decode(path: Path, kind: type[T]) -> T:
    try:
        decoded = msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise Corrupt(
            f"{path.name} is missing; restore it.", file=path.name, where="file"
        ) from None
    except msgspec.DecodeError:
        raise Corrupt(
            f"{path.name} is damaged; restore it.", file=path.name, where="content"
        ) from None
    return decoded
