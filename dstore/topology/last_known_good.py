"""The last good view on the disk, sealed: what a process starts with while etcd cannot be reached.

It also holds up to which revision of which cluster this process has seen the coordinator, so that
one that went back in time is noticed across a restart (REPLICATION.md).

The file: MAGIC, then blocks, each its length (4 bytes, big endian) and its sealed bytes. A block is
bound to the process, to one writing of the file, and to its place; the last one says that it is the
last. So a file of another process, a shortened one and one pieced together do not open. What is
leased (who is alive, who leads) and the notices are not in it: they mean nothing later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from dstore.base.entropy import Entropy
from dstore.base.limits import TOPOLOGY_COPY_BLOCK_BYTES, TOPOLOGY_COPY_BYTES_MAX
from dstore.base.logging import get_logger
from dstore.base.private_files import read_private, write_private
from dstore.security.envelope import WrongKey, framed, open_sealed, seal
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import KeyValue, Revision
from dstore.topology.view import TopologyView, contents

FILE_NAME: Final = "topology.sealed"
MAGIC: Final = b"dStore topology 1\n"

_LENGTH_BYTES: Final = 4
_WRITING_BYTES: Final = 16
PASSING: Final = keys.AlivePath | keys.LeaderPath | keys.NoticePath

_log: Final = get_logger(__name__)


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A view as it was written: every key of it, as of `revision` of the cluster `cluster_id`."""

    cluster_id: str
    revision: Revision
    kvs: tuple[KeyValue, ...]


class _Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    key: str
    value: bytes
    mod_revision: int


class _Block(msgspec.Struct, frozen=True, array_like=True):
    cluster_id: str
    revision: int
    is_last: bool
    rows: tuple[_Row, ...]


class LastKnownGood:
    """The file of one process. The methods wait for the disk and compute: call them in a thread.

    One thread at a time saves.
    """

    __slots__ = ("_entropy", "_key", "_owner", "_path")

    def __init__(self, path: Path, *, key: bytes, owner: str, entropy: Entropy) -> None:
        """Name the file; nothing is read or written yet.

        Args:
            path: the file's; its folder exists.
            key: 32 bytes, for this purpose alone (`keys.derive`), never from control: the file is
                read while control may be away.
            owner: the process's identity in its control plane, as its certificate spells it.
            entropy: source of nonces.
        """
        self._path = path
        self._key = key
        self._owner = owner
        self._entropy = entropy

    def save(self, view: TopologyView) -> int:
        """Replace the file by one of this view, durably, or leave it as it is.

        Returns: the file's size in bytes. Raises: OSError: it could not be written.
        Cost: about 10 µs a key.
        """
        writing = self._entropy.token(_WRITING_BYTES)
        parts = [MAGIC, writing]
        for place, block in enumerate(_blocks(view)):
            plaintext = _encoder.encode(block)
            context = self._context(writing, place)
            sealed = seal(self._key, plaintext, context=context, entropy=self._entropy)
            parts += [len(sealed).to_bytes(_LENGTH_BYTES, "big"), sealed]
        content = b"".join(parts)
        write_private(self._path, content)
        return len(content)

    def load(self) -> Copy | None:
        """Read the file; None if there is none, or if it is not whole and this process's own.

        The latter is logged as `topology_copy_refused`: the process starts without it.
        """
        try:
            return self._opened(read_private(self._path, bytes_max=TOPOLOGY_COPY_BYTES_MAX))
        except FileNotFoundError:
            return None
        except WrongKey:
            why = "it is damaged, or another process's"
        except (ValueError, msgspec.MsgspecError, OSError) as error:
            why = str(error)
        _log.warning("topology_copy_refused", file=self._path.name, reason=why)
        return None

    def _opened(self, content: bytes) -> Copy:
        """Raises: WrongKey, ValueError, msgspec.MsgspecError: it is not what `save` wrote."""
        start = len(MAGIC) + _WRITING_BYTES
        if not content.startswith(MAGIC):
            raise ValueError("it is of another version, or something else")
        writing = content[len(MAGIC) : start]
        kvs: list[KeyValue] = []
        blocks = _sealed_blocks(memoryview(content)[start:])
        for place, sealed in enumerate(blocks):
            plaintext = open_sealed(self._key, sealed, context=self._context(writing, place))
            block = _decoder.decode(plaintext)
            kvs += map(_key_value, block.rows)
            if block.is_last:
                if next(blocks, None) is not None:
                    raise ValueError("something follows its end")
                return Copy(
                    cluster_id=block.cluster_id, revision=Revision(block.revision), kvs=tuple(kvs)
                )
        raise ValueError("its end is missing")

    def _context(self, writing: bytes, place: int) -> bytes:
        return framed((b"topology-copy", self._owner.encode(), writing, str(place).encode()))


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Block)


def _blocks(view: TopologyView) -> Iterator[_Block]:
    """Cut a view's keys into blocks of about TOPOLOGY_COPY_BLOCK_BYTES; there is always a last."""
    rows: list[_Row] = []
    size = 0
    for path, value, mod_revision in contents(view):
        if isinstance(path, PASSING):
            continue
        row = _Row(path.path, values.encode(value), mod_revision)
        size += len(row.key) + len(row.value)
        rows.append(row)
        if size >= TOPOLOGY_COPY_BLOCK_BYTES:
            yield _block(view, rows, is_last=False)
            rows, size = [], 0
    yield _block(view, rows, is_last=True)


def _block(view: TopologyView, rows: Sequence[_Row], *, is_last: bool) -> _Block:
    return _Block(view.cluster_id, view.revision, is_last, tuple(rows))


def _sealed_blocks(content: memoryview) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(content[at:start], "big")
        yield bytes(content[start:at])


def _key_value(row: _Row) -> KeyValue:
    revision = Revision(row.mod_revision)
    # When it was made does not matter to a view, and is not kept.
    return KeyValue(key=row.key, value=row.value, create_revision=revision, mod_revision=revision)
