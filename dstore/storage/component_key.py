"""A component's own key file: its UUID and its local 256-bit key, in clear, mode 0600.

Every component has one, made at its first start and never changed: `node.key`, `proxy.key` …
Everything that a component seals on its disk needs this key, most of it another share as well; keep
it out of backups.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from dstore.base.private_files import write_private
from dstore.model.errors import Corrupt
from dstore.security.envelope import KEY_BYTES
from dstore.security.keys import Key256, new_key

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy

T = TypeVar("T")

FORMAT: Final = 1


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    uuid: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentKey:
    """Who a component is, and its local key, in memory: never logged, never sent."""

    uuid: str
    key: Key256 = field(repr=False)


def create(path: Path, *, entropy: Entropy) -> ComponentKey:
    """Draw a component's UUID and key and store them, durably; there must be no file yet."""
    made = ComponentKey(uuid=entropy.uuid(), key=new_key(entropy))
    content = _KeyFile(FORMAT, made.uuid, b64encode(made.key).decode())
    write_private(path, msgspec.json.encode(content))
    return made


def load(path: Path) -> ComponentKey:
    """Read a key file. Raises: Corrupt: it is damaged or missing."""
    stored = decode_file(path, _KeyFile)
    key = decode_bytes(stored.key, path.name, size=KEY_BYTES)
    return ComponentKey(uuid=stored.uuid, key=Key256(key))


def decode_file(path: Path, kind: type[T]) -> T:
    """Read a file of JSON. Raises: Corrupt: it is damaged or missing."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        what, where = "missing", "file"
    except msgspec.DecodeError:
        what, where = "damaged", "content"
    raise Corrupt(f"{path.name} is {what}; restore it.", file=path.name, where=where)


def decode_bytes(text: str, file: str, *, size: int | None = None) -> bytes:
    """Decode base64 from such a file. Raises: Corrupt: it is none, or of another size."""
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        decoded = None
    if decoded is None or size not in {None, len(decoded)}:
        raise Corrupt(f"{file} is damaged; restore it.", file=file, where="content")
    return decoded
