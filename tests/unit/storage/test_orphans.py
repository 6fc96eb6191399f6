"""Files that no record names are kept for a while: the records may be the ones that are wrong."""

from pathlib import Path

from dstore.base.limits import ORPHAN_GRACE_S
from dstore.storage.orphans import ORPHANS, Orphans
from dstore.storage.range_files import FOLDER
from tests.support.stores import put, rid, store

NOW_S = 1_800_000_000


def _files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


async def test_a_wrong_catalog_destroys_nothing(tmp_path: Path) -> None:
    """After a start with yesterday's node.db the right one still finds every table."""
    async with store(tmp_path) as it:
        old, new = await it.new_range(), await it.new_range()
        await (await it.open(new)).submit(put("k", {"n": {"N": "1"}}))
        keys = it.keys
    before = _files(tmp_path / FOLDER)
    orphans = Orphans(tmp_path)
    orphans.sort({old}, now_s=NOW_S)
    assert not list((tmp_path / FOLDER).glob(f"??/{new}*"))
    assert orphans.count() == 1
    orphans.sort({old, new}, now_s=NOW_S + 5)
    assert orphans.count() == 0
    assert _files(tmp_path / FOLDER) == before
    async with store(tmp_path) as it:
        it.keys = keys
        entry = await (await it.open(new)).read(rid("k"))
        assert entry is not None
        assert entry.item == {"n": {"N": "1"}}


def test_deleted_after_the_grace_time_and_not_before(tmp_path: Path) -> None:
    """The time counts from when the file was set aside, however old the file is."""
    folder = tmp_path / FOLDER / "ab"
    folder.mkdir(parents=True)
    for suffix in ("", "-wal", "-shm"):
        (folder / f"abcd.db{suffix}").write_bytes(b"left over")
    orphans = Orphans(tmp_path)
    orphans.sort(set(), now_s=NOW_S)
    orphans.sort(set(), now_s=NOW_S + 100)
    orphans.delete_due(now_s=NOW_S + ORPHAN_GRACE_S - 1)
    assert orphans.count() == 1
    assert len(_files(tmp_path / FOLDER)) == 3
    orphans.delete_due(now_s=NOW_S + ORPHAN_GRACE_S)
    assert orphans.count() == 0
    assert _files(tmp_path / FOLDER) == set()


def test_a_file_in_place_is_never_replaced_by_a_set_aside_one(tmp_path: Path) -> None:
    """A range that lives again under the same id is newer than what was set aside."""
    folder, aside = tmp_path / FOLDER / "ab", tmp_path / FOLDER / ORPHANS
    folder.mkdir(parents=True)
    aside.mkdir()
    (folder / "abcd.db").write_bytes(b"new")
    (aside / f"{NOW_S}-abcd.db").write_bytes(b"old")
    (aside / "notes").write_bytes(b"the operator's own")
    Orphans(tmp_path).sort({"abcd"}, now_s=NOW_S)
    assert (folder / "abcd.db").read_bytes() == b"new"
    assert (aside / f"{NOW_S}-abcd.db").read_bytes() == b"old"
    assert (aside / "notes").exists()


def test_disowned_files_are_never_brought_back(tmp_path: Path) -> None:
    """A range that comes back has a file of its own; a former log beside it would damage it."""
    folder = tmp_path / FOLDER / "ab"
    folder.mkdir(parents=True)
    for suffix in ("", "-wal"):
        (folder / f"abcd.db{suffix}").write_bytes(b"former")
    orphans = Orphans(tmp_path)
    orphans.sort(set(), now_s=NOW_S)
    for _ in range(2):
        orphans.disown("abcd")
    (folder / "abcd.db").write_bytes(b"new")
    orphans.sort({"abcd"}, now_s=NOW_S + 1)
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("abcd.db", b"new")]
    assert orphans.count() == 1
    orphans.delete_due(now_s=NOW_S + ORPHAN_GRACE_S)
    assert orphans.count() == 0
