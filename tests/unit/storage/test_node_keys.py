"""The key files of a node: made once, opened by the right shares alone."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from dstore.base.limits import ENROLMENTS_MAX
from dstore.model.errors import Corrupt, Refused, Unavailable, UnavailableKind
from dstore.security.envelope import WrongKey
from dstore.security.keys import ControlShare, Key256, new_key
from dstore.storage.enrolment import enrol
from dstore.storage.node_keys import (
    KEY_FILE,
    STANDALONE,
    WRAPS_FILE,
    NodeKeys,
    load_or_create,
    read_identity,
    renewed_file_key,
)
from dstore.storage.vault.vault import Vault
from tests.support.entropy import SeededEntropy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ENTROPY = SeededEntropy(Random(21))
VAULT = Vault(entropy=ENTROPY, page_cache_bytes=1 << 20)
PLANE, OTHER_PLANE = ENTROPY.uuid(), ENTROPY.uuid()
SHARE = ControlShare(control_plane=PLANE, key=new_key(ENTROPY))
OTHER = ControlShare(control_plane=OTHER_PLANE, key=new_key(ENTROPY))

# What an earlier dStore wrote, and the data key in it.
OLD_KEY_FILE = (
    b'{"format":1,"uuid":"8d1bb7d8-8da3-4b4e-8d64-6a34e70f2c59",'
    b'"key":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="}'
)


def load(directory: Path, *shares: ControlShare) -> NodeKeys:
    return load_or_create(directory, database=directory / "node.db", entropy=ENTROPY, shares=shares)


def enrolled(directory: Path, keys: NodeKeys, share: ControlShare = SHARE) -> NodeKeys:
    return enrol(
        directory, keys, share, database=directory / "node.db", vault=VAULT, entropy=ENTROPY
    )


def wraps_of(directory: Path) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads((directory / WRAPS_FILE).read_bytes())
    return decoded


def planes_of(directory: Path) -> list[str]:
    return [wrap["enrolment"] for wrap in wraps_of(directory)["wraps"]]


def test_the_first_start_makes_private_files_and_the_next_reads_them(tmp_path: Path) -> None:
    """A stand-alone node needs nobody."""
    assert read_identity(tmp_path) is None
    made = load(tmp_path)
    assert load(tmp_path) == made
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    identity = read_identity(tmp_path)
    assert identity is not None
    assert (identity.uuid, identity.control_planes) == (made.uuid, ())
    assert planes_of(tmp_path) == [STANDALONE]


def test_the_files_of_an_earlier_dstore_open_unchanged(tmp_path: Path) -> None:
    """The format and the derivation are those of the first release, byte for byte."""
    (tmp_path / KEY_FILE).write_bytes(OLD_KEY_FILE)
    wraps = _old_wraps()
    (tmp_path / WRAPS_FILE).write_bytes(wraps)
    keys = load(tmp_path)
    assert keys.uuid == "8d1bb7d8-8da3-4b4e-8d64-6a34e70f2c59"
    assert keys.local_key == bytes(range(1, 33))
    assert keys.database_key.secret == bytes(range(33, 65))
    assert keys.database_key.file_uuid == bytes(range(16))
    assert (tmp_path / WRAPS_FILE).read_bytes() == wraps


def test_an_enrolled_node_waits_for_control(tmp_path: Path) -> None:
    """Its files alone open nothing; that is no damage, and says whom it waits for."""
    keys = enrolled(tmp_path, load(tmp_path))
    assert planes_of(tmp_path) == [PLANE]
    with pytest.raises(Unavailable, match="waiting for control") as caught:
        load(tmp_path)
    assert caught.value.kind is UnavailableKind.LOCKED
    with pytest.raises(Unavailable):
        load(tmp_path, OTHER)
    assert load(tmp_path, SHARE) == keys
    identity = read_identity(tmp_path)
    assert identity is not None
    assert identity.control_planes == (PLANE,)


def test_joining_draws_a_new_data_key(tmp_path: Path) -> None:
    """What the former wrap gave away opens nothing that is written from now on."""
    before = load(tmp_path)
    after = enrolled(tmp_path, before)
    assert after.database_key.secret != before.database_key.secret
    assert after.database_key.generation == before.database_key.generation + 1
    assert after.local_key == before.local_key


def test_a_wrong_share_is_locked_and_not_damage(tmp_path: Path) -> None:
    """Control gave another node's key, or was restored from an old backup."""
    enrolled(tmp_path, load(tmp_path))
    wrong = ControlShare(control_plane=PLANE, key=new_key(ENTROPY))
    with pytest.raises(WrongKey, match=PLANE):
        load(tmp_path, wrong)


def test_any_one_of_several_planes_unlocks(tmp_path: Path) -> None:
    """Enrolment is a list; one plane's mistake keeps no other from unlocking."""
    keys = enrolled(tmp_path, load(tmp_path))
    both = enrolled(tmp_path, keys, OTHER)
    assert planes_of(tmp_path) == [PLANE, OTHER_PLANE]
    assert both.database_key == keys.database_key
    wrong = ControlShare(control_plane=PLANE, key=new_key(ENTROPY))
    for shares in ((SHARE,), (OTHER,), (SHARE, OTHER), (wrong, OTHER), (OTHER, wrong)):
        assert load(tmp_path, *shares) == both


def test_enrolling_again_replaces_the_wrap(tmp_path: Path) -> None:
    """A rotated key takes the former one's place; the same one again changes nothing."""
    keys = enrolled(tmp_path, load(tmp_path))
    assert enrolled(tmp_path, keys) == keys
    rotated = ControlShare(control_plane=PLANE, key=new_key(ENTROPY))
    enrolled(tmp_path, keys, rotated)
    assert planes_of(tmp_path) == [PLANE]
    assert load(tmp_path, rotated) == keys
    with pytest.raises(WrongKey):
        load(tmp_path, SHARE)


def test_planes_are_bounded(tmp_path: Path) -> None:
    """The file stays small, and a mistake in a loop ends."""
    keys = enrolled(tmp_path, load(tmp_path), OTHER)
    for _ in range(ENROLMENTS_MAX - 1):
        one_more = ControlShare(control_plane=ENTROPY.uuid(), key=new_key(ENTROPY))
        keys = enrolled(tmp_path, keys, one_more)
    with pytest.raises(Refused, match="at most"):
        enrolled(tmp_path, keys, SHARE)
    assert enrolled(tmp_path, keys, OTHER) == keys


def _with(stored: dict[str, Any], **changes: object) -> bytes:
    return json.dumps({**stored, **changes}).encode()


@pytest.mark.parametrize("damage", ["none", "twice", "both kinds", "too many", "not base64"])
def test_wraps_that_cannot_be_ours_are_damage(tmp_path: Path, damage: str) -> None:
    """A wrap under the local key alone beside others would undo the enrolment (I4)."""
    keys = load(tmp_path)
    (alone,) = wraps_of(tmp_path)["wraps"]
    enrolled(tmp_path, keys)
    stored = wraps_of(tmp_path)
    (wrap,) = stored["wraps"]
    wraps: dict[str, Sequence[object]] = {
        "none": [],
        "twice": [wrap, wrap],
        "both kinds": [alone, wrap],
        "too many": [{**wrap, "enrolment": str(n)} for n in range(ENROLMENTS_MAX + 1)],
        "not base64": [{**wrap, "wrapped": "§"}],
    }
    (tmp_path / WRAPS_FILE).write_bytes(_with(stored, wraps=wraps[damage]))
    with pytest.raises(Corrupt):
        load(tmp_path, SHARE)


@pytest.mark.parametrize("name", [KEY_FILE, WRAPS_FILE])
@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"format":1}'])
def test_a_missing_or_damaged_file_is_named(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    """The operator learns which file to restore; nothing is made anew over it."""
    load(tmp_path)
    (tmp_path / "node.db").touch()
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Corrupt, match=name):
        load(tmp_path)


def test_every_flipped_bit_of_the_wrap_is_noticed(tmp_path: Path) -> None:
    """Damage is told from a wrong key, and never gives a key."""
    enrolled(tmp_path, load(tmp_path))
    stored = wraps_of(tmp_path)
    (wrap,) = stored["wraps"]
    whole = b64decode(wrap["wrapped"])
    for at in range(len(whole)):
        damaged = whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
        changed = {**wrap, "wrapped": b64encode(damaged).decode()}
        (tmp_path / WRAPS_FILE).write_bytes(_with(stored, wraps=[changed]))
        with pytest.raises(Corrupt):
            load(tmp_path, SHARE)


def test_no_key_is_shown(tmp_path: Path) -> None:
    """A repr goes into logs and tracebacks."""
    keys = enrolled(tmp_path, load(tmp_path))
    shown = repr(keys) + repr(SHARE) + repr(keys.own)
    for secret in (keys.local_key, keys.database_key.secret, SHARE.key):
        assert repr(secret) not in shown
    assert renewed_file_key(keys.database_key, ENTROPY).file_uuid == keys.database_key.file_uuid
    assert Key256(SHARE.key) == SHARE.key


def _old_wraps() -> bytes:
    """Wrap a known key as the first release did, written out without this release's code."""

    def framed(*parts: bytes) -> bytes:
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    uuid, alone = b"8d1bb7d8-8da3-4b4e-8d64-6a34e70f2c59", b"stand-alone"
    pseudorandom = hmac.digest(b"dStore/1/keys", bytes(range(1, 33)), "sha256")
    info = framed(b"node-database", uuid, alone)
    wrapping = hmac.digest(pseudorandom, info + b"\1", "sha256")
    place = framed(b"wrapped-key", alone, framed(b"node-database", uuid))
    nonce = bytes(12)
    sealed = AESGCMSIV(wrapping).encrypt(nonce, bytes(range(33, 65)), b"\1" + place)
    commitment = hmac.digest(wrapping, b"dStore/1/key-commitment", "sha256")
    check = hmac.digest(commitment, alone, "sha256")[:16]
    body = b"\1" + framed(alone, b"\1" + nonce + sealed, check)
    wrapped = b64encode(body + hashlib.sha256(body).digest()[:8]).decode()
    file_uuid = b64encode(bytes(range(16))).decode()
    return (
        f'{{"format":1,"file_uuid":"{file_uuid}","generation":0,'
        f'"wraps":[{{"enrolment":"stand-alone","wrapped":"{wrapped}"}}]}}'
    ).encode()
