"""The copy on the disk opens whole, for its own process, or not at all."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from dstore.topology import last_known_good
from dstore.topology.fold import Fold
from dstore.topology.last_known_good import MAGIC, LastKnownGood
from dstore.topology.view import EMPTY_VIEW
from tests.support.entropy import SeededEntropy
from tests.support.topology import NODES, details, fold, shown, whole_table

KEY = bytes(range(32))
OWNER = "dstore://plane/proxy/one"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "topology.sealed"


def copy_at(path: Path, *, key: bytes = KEY, owner: str = OWNER) -> LastKnownGood:
    return LastKnownGood(path, key=key, owner=owner, entropy=SeededEntropy(Random(1)))


def many_tables() -> Fold:
    return fold(*(whole_table(name=f"orders-{number}") for number in range(20)))


def test_copy_gives_the_view_back(path: Path) -> None:
    """I10: a process that starts while etcd is away serves what it served before."""
    made = fold(
        {
            **whole_table(),
            f"node/{NODES[0]}/details": details(),
            f"node/{NODES[0]}/alive": f'{{"session":"{NODES[1]}"}}'.encode(),
            f"notice/{NODES[0]}/1": b'{"details":"old news"}',
        }
    )
    copy_at(path).save(made.view)
    copy = copy_at(path).load()
    assert copy is not None
    assert (copy.cluster_id, copy.revision) == ("c1", 1)
    again = Fold()
    again.apply(again.newer(copy.kvs))
    lasting = {
        key: value
        for key, value in shown(made.view).items()
        if not key.endswith("/alive") and not key.startswith("notice/")
    }
    assert shown(again.view) == lasting


def test_copy_is_private_sealed_and_replaced_whole(path: Path) -> None:
    """Names of tenants and tables are nobody's business who finds the disk (I2)."""
    copy_at(path).save(fold(whole_table("canary-tenant")).view)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    assert b"canary" not in content
    assert b"orders" not in content
    copy_at(path).save(EMPTY_VIEW)
    copy = copy_at(path).load()
    assert copy is not None
    assert copy.kvs == ()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_no_copy_is_no_news(path: Path) -> None:
    """The first start of a process logs no complaint."""
    with capture_logs() as logged:
        assert copy_at(path).load() is None
    assert logged == []


def cut_anywhere(content: bytes) -> list[bytes]:
    return [content[:length] for length in range(0, len(content), 97)] + [content[:-1]]


def flipped(content: bytes) -> list[bytes]:
    places = range(0, len(content), 211)
    return [content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :] for at in places]


def longer(content: bytes) -> list[bytes]:
    return [content + b"\0", content + content[len(MAGIC) + 16 :]]


def other_files(_: bytes) -> list[bytes]:
    return [b"", b"x", MAGIC, b"dStore topology 2\n" + b"x" * 100, b"\0" * 5_000]


def blocks_of(content: bytes) -> list[bytes]:
    blocks, at = [], len(MAGIC) + 16
    while at < len(content):
        end = at + 4 + int.from_bytes(content[at : at + 4], "big")
        blocks.append(content[at:end])
        at = end
    return blocks


def reordered(content: bytes) -> list[bytes]:
    head, blocks = content[: len(MAGIC) + 16], blocks_of(content)
    assert len(blocks) > 3
    swapped = [blocks[1], blocks[0], *blocks[2:]]
    left_out = [blocks[0], *blocks[2:]]
    only_the_last = blocks[-1:]
    return [head + b"".join(each) for each in (swapped, left_out, only_the_last)]


@pytest.mark.parametrize("spoil", [cut_anywhere, flipped, longer, other_files, reordered])
def test_spoilt_copy_is_refused(
    path: Path, spoil: Callable[[bytes], list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shortened, altered or pieced-together file never routes a request."""
    monkeypatch.setattr(last_known_good, "TOPOLOGY_COPY_BLOCK_BYTES", 1_000)
    copy_at(path).save(many_tables().view)
    assert copy_at(path).load() is not None
    for content in spoil(path.read_bytes()):
        path.write_bytes(content)
        with capture_logs() as logged:
            assert copy_at(path).load() is None
        assert [event["event"] for event in logged] == ["topology_copy_refused"]


@pytest.mark.parametrize(
    "reader", [{"key": bytes(32)[:-1] + b"\1"}, {"owner": "dstore://plane/proxy/two"}]
)
def test_copy_of_another_process_is_refused(path: Path, reader: dict[str, str]) -> None:
    """A data directory that was put together from two is not believed."""
    copy_at(path).save(many_tables().view)
    with capture_logs() as logged:
        assert copy_at(path, **reader).load() is None  # type: ignore[arg-type] # a key or an owner
    assert [event["event"] for event in logged] == ["topology_copy_refused"]


def test_blocks_of_an_older_writing_do_not_fit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of yesterday's topology in today's file would be a topology that never was."""
    monkeypatch.setattr(last_known_good, "TOPOLOGY_COPY_BLOCK_BYTES", 1_000)
    copy = copy_at(path)
    copy.save(many_tables().view)
    older = path.read_bytes()
    copy.save(many_tables().view)
    newer = path.read_bytes()
    head = newer[: len(MAGIC) + 16]
    path.write_bytes(head + b"".join([blocks_of(older)[0], *blocks_of(newer)[1:]]))
    assert copy.load() is None


def test_copy_that_others_can_read_is_refused(path: Path) -> None:
    """As with keys: a file that others could write to may be theirs."""
    copy_at(path).save(EMPTY_VIEW)
    path.chmod(0o644)
    with capture_logs() as logged:
        assert copy_at(path).load() is None
    assert [event["event"] for event in logged] == ["topology_copy_refused"]


def test_failed_writing_leaves_the_former_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the newest view, not the last one."""
    copy_at(path).save(many_tables().view)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(last_known_good, "write_private", full)
    with pytest.raises(OSError, match="No space"):
        copy_at(path).save(EMPTY_VIEW)
    assert path.read_bytes() == before
