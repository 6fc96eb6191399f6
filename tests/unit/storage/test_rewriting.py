"""Files are written anew under other keys: whole or not at all, wherever a crash falls."""

from __future__ import annotations

import os
from contextlib import closing
from random import Random
from shutil import copytree
from typing import TYPE_CHECKING

import pytest

from dstore.model.errors import Corrupt, Unavailable, UnavailableKind
from dstore.security.keys import ControlShare, new_key
from dstore.storage import rewriting
from dstore.storage.enrolment import enrol
from dstore.storage.node_keys import (
    WRAPS_FILE,
    NodeKeys,
    load_or_create,
    new_file_key,
    read_identity,
    renewed_file_key,
)
from dstore.storage.vault.layout import PAGE_BYTES, FileKey
from dstore.storage.vault.vault import Vault
from tests.support.entropy import SeededEntropy
from tests.support.snapshots import snapshots

if TYPE_CHECKING:
    from pathlib import Path

ENTROPY = SeededEntropy(Random(22))
PLANE = ENTROPY.uuid()
SHARE = ControlShare(control_plane=PLANE, key=new_key(ENTROPY))
ROWS = 3_000  # about 400 pages: more than are sealed at a time
FEW = 200
BEFORE = new_file_key(ENTROPY)
AFTER = renewed_file_key(BEFORE, ENTROPY)


def vault() -> Vault:
    return Vault(entropy=ENTROPY, page_cache_bytes=1 << 20)


def fill(path: Path, key: FileKey, *, rows: int = ROWS) -> None:
    opened = vault()
    opened.register(path, key)
    with closing(opened.create(path)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, content BLOB)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?)", [(row, bytes([row % 251]) * 500) for row in range(rows)]
        )


def count(path: Path, key: FileKey) -> int:
    """Read all of it. Raises: Corrupt: the key is not the file's."""
    opened = vault()
    opened.register(path, key)
    try:
        with closing(opened.connect(path)) as connection:
            assert connection.pragma("integrity_check") == "ok"
            ((rows,),) = connection.execute("SELECT count(*) FROM t").fetchall()
            assert isinstance(rows, int)
            return rows
    finally:
        opened.forget(path)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_every_page_goes_over_to_the_new_key(tmp_path: Path) -> None:
    """What was there is there, under the new key alone."""
    path = tmp_path / "a.db"
    fill(path, BEFORE)
    former = path.read_bytes()
    rewriting.stage(path, before=BEFORE, after=AFTER)
    assert count(path, BEFORE) == ROWS
    rewriting.promote(path, AFTER.generation)
    assert count(path, AFTER) == ROWS
    with pytest.raises(Corrupt):
        count(path, BEFORE)
    assert names(tmp_path) == {"a.db"}
    assert path.stat().st_mode & 0o777 == 0o600
    now = path.read_bytes()
    assert len(now) == len(former)
    assert all(
        now[at : at + PAGE_BYTES] != former[at : at + PAGE_BYTES]
        for at in range(0, len(now), PAGE_BYTES)
    )


def test_the_former_pages_are_overwritten(tmp_path: Path) -> None:
    """Whoever still holds the old file open, or finds its blocks, reads zeros."""
    path = tmp_path / "a.db"
    fill(path, BEFORE)
    witness = tmp_path / "witness"
    os.link(path, witness)
    written: list[int] = []
    patched = pytest.MonkeyPatch()
    patched.setattr(os, "fsync", lambda fd: written.append(os.fstat(fd).st_size))
    rewriting.stage(path, before=BEFORE, after=AFTER)
    former_bytes = witness.stat().st_size
    rewriting.promote(path, AFTER.generation)
    patched.undo()
    assert former_bytes in written  # zeros as long as the file was, on the disk before the cut
    assert witness.read_bytes() == b""


def test_a_file_that_was_not_replaced_is_never_overwritten(tmp_path: Path) -> None:
    """The overwriting looks at what it holds, not at what it was meant to hold."""
    path = tmp_path / "a"
    path.write_bytes(b"content")
    with rewriting.overwriting_former(path):
        pass
    with pytest.raises(RuntimeError), rewriting.overwriting_former(path):
        raise RuntimeError
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("page", [0, 1, 200, -1])
def test_a_damaged_page_stops_a_rewrite(tmp_path: Path, page: int) -> None:
    """Damage is reported under the old key, not sealed anew as if it were right."""
    path = tmp_path / "a.db"
    fill(path, BEFORE)
    content = bytearray(path.read_bytes())
    content[page * PAGE_BYTES + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corrupt, match="fails authentication"):
        rewriting.stage(path, before=BEFORE, after=AFTER)
    assert names(tmp_path) == {"a.db"}


@pytest.mark.parametrize("cut", [PAGE_BYTES, PAGE_BYTES // 2])
def test_a_missing_page_stops_a_rewrite(tmp_path: Path, cut: int) -> None:
    """A file cut short has every page that is left authentic."""
    path = tmp_path / "a.db"
    fill(path, BEFORE)
    os.truncate(path, path.stat().st_size - cut)
    with pytest.raises(Corrupt):
        rewriting.stage(path, before=BEFORE, after=AFTER)
    assert names(tmp_path) == {"a.db"}


def test_a_log_that_is_not_folded_in_stops_a_rewrite(tmp_path: Path) -> None:
    """It holds what the file does not."""
    path = tmp_path / "a.db"
    fill(path, BEFORE)
    (tmp_path / "a.db-wal").write_bytes(b"frames")
    with pytest.raises(Unavailable, match="not folded in"):
        rewriting.stage(path, before=BEFORE, after=AFTER)
    assert names(tmp_path) == {"a.db", "a.db-wal"}


def test_a_full_disk_stops_a_rewrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two copies need room; without it the file is as it was."""
    path = tmp_path / "a.db"
    fill(path, BEFORE)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable) as caught:
        rewriting.stage(path, before=BEFORE, after=AFTER)
    assert caught.value.kind is UnavailableKind.NO_SPACE
    assert names(tmp_path) == {"a.db"}
    assert count(path, BEFORE) == ROWS


def test_a_start_settles_by_what_is_recorded(tmp_path: Path) -> None:
    """Promoted if its generation is the recorded one, deleted if not, for every file at once."""
    folder = tmp_path / "aa"
    folder.mkdir()
    old, new, stranger = (folder / f"aa{name}.db" for name in ("old", "new", "stranger"))
    for path in (old, new, stranger):
        fill(path, BEFORE, rows=10)
        rewriting.stage(path, before=BEFORE, after=AFTER)
    rewriting.settle_all(
        tmp_path, {"aaold": BEFORE.generation, "aanew": AFTER.generation, "absent": 3}
    )
    assert count(old, BEFORE) == count(new, AFTER) == count(stranger, BEFORE) == 10
    assert names(folder) == {"aaold.db", "aanew.db", "aastranger.db", "aastranger.db.g1"}


def load(directory: Path, *shares: ControlShare) -> NodeKeys:
    return load_or_create(directory, database=directory / "node.db", entropy=ENTROPY, shares=shares)


def test_a_crash_anywhere_in_joining_leaves_a_node_that_opens(tmp_path: Path) -> None:
    """Either it stands alone as before, or it is enrolled; never is a database without its key."""
    data, kept = tmp_path / "data", tmp_path / "kept"
    data.mkdir()
    keys = load(data)
    fill(data / "node.db", keys.database_key, rows=FEW)
    with snapshots(data, kept) as copies:
        joined = enrol(data, keys, SHARE, database=data / "node.db", vault=vault(), entropy=ENTROPY)
    assert count(data / "node.db", joined.database_key) == FEW
    assert len(copies) >= 10
    outcomes: list[bool] = []
    for copy in copies:
        identity = read_identity(copy)
        assert identity is not None
        found = load(copy, SHARE)
        assert identity.control_planes == found.control_planes
        assert count(copy / "node.db", found.database_key) == FEW
        assert load(copy, SHARE) == found  # settled once and for all
        assert not [name for name in names(copy) if ".g" in name]
        outcomes.append(bool(found.control_planes))
        if found.control_planes:
            with pytest.raises(Unavailable):
                load(copy)
            assert b"stand-alone" not in (copy / WRAPS_FILE).read_bytes()
        else:
            again = enrol(
                copy, found, SHARE, database=copy / "node.db", vault=vault(), entropy=ENTROPY
            )
            assert count(copy / "node.db", again.database_key) == FEW
    assert outcomes == sorted(outcomes)  # once it is enrolled, no later crash takes it back
    assert {*outcomes} == {False, True}


def test_what_stood_in_the_log_goes_along(tmp_path: Path) -> None:
    """A node that was killed joins at its next start, with what only its log held."""
    data, killed = tmp_path / "data", tmp_path / "killed"
    data.mkdir()
    keys = load(data)
    path = data / "node.db"
    fill(path, keys.database_key, rows=5)
    opened = vault()
    opened.register(path, keys.database_key)
    with closing(opened.connect(path)) as connection:
        connection.execute("INSERT INTO t VALUES (100, 'in the log')")
        copytree(data, killed)
    assert (killed / "node.db-wal").stat().st_size
    found = load(killed)
    joined = enrol(
        killed, found, SHARE, database=killed / "node.db", vault=vault(), entropy=ENTROPY
    )
    assert count(killed / "node.db", joined.database_key) == 6


def test_a_damaged_database_is_not_enrolled(tmp_path: Path) -> None:
    """The refusal changes nothing: the node stands alone as before."""
    keys = load(tmp_path)
    path = tmp_path / "node.db"
    fill(path, keys.database_key)
    content = bytearray(path.read_bytes())
    content[100 * PAGE_BYTES] ^= 1
    path.write_bytes(content)
    before = (tmp_path / WRAPS_FILE).read_bytes()
    with pytest.raises(Corrupt):
        enrol(tmp_path, keys, SHARE, database=path, vault=vault(), entropy=ENTROPY)
    assert (tmp_path / WRAPS_FILE).read_bytes() == before
    assert load(tmp_path) == keys
    assert path.read_bytes() == bytes(content)
