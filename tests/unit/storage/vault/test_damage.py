"""Damage at every kind of place: an error, or (at the log's very end) its clean disappearance."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final

import apsw
import pytest

from dstore.model.errors import Corrupt
from dstore.storage.vault.layout import (
    CONTENT_BYTES,
    FRAME_BYTES,
    PAGE_BYTES,
    SLOT_BYTES,
    SLOT_STRIDE_BYTES,
    WAL_PREFIX_BYTES,
)
from tests.support.specimen import (
    Rows,
    Specimen,
    frame_at,
    make_specimen,
    make_table,
    new_vault,
    read_all,
    snapshot,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Offsets in a frame, one field each: header (clear), then the sealed page.
_FRAME_FIELDS: Final = {
    "page number": (0, 4),
    "commit size": (4, 8),
    "salts": (8, 16),
    "log number": (16, 24),
    "content": (24, 24 + CONTENT_BYTES),
    "note": (24 + CONTENT_BYTES, 24 + CONTENT_BYTES + 12),
    "tag": (FRAME_BYTES - 28, FRAME_BYTES - 12),
    "nonce": (FRAME_BYTES - 12, FRAME_BYTES),
}
_SLOT_FIELDS: Final = {"nonce": (0, 12), "header": (12, 52), "tag": (52, SLOT_BYTES)}
_PAGE_FIELDS: Final = {
    "content": (0, CONTENT_BYTES),
    "tag": (PAGE_BYTES - 28, PAGE_BYTES - 12),
    "nonce": (PAGE_BYTES - 12, PAGE_BYTES),
}


@pytest.fixture(scope="module", params=[1, 2, 3], ids=lambda logs: f"log {logs}")
def specimen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    """Four transactions in the first, second and third log of a file."""
    return make_specimen(tmp_path_factory.mktemp("made"), logs=request.param, transactions=4)


@pytest.fixture
def find(tmp_path: Path) -> Callable[[Specimen], Rows | None]:
    """Open a damaged copy. Returns: the rows, or None if it is reported as damaged."""
    numbers = count()

    def find_rows(damaged: Specimen) -> Rows | None:
        path = damaged.lay_out(tmp_path / str(next(numbers)))
        vault = new_vault(path)
        connection = None
        try:
            connection = vault.connect(path)
            return read_all(connection)
        except Corrupt:
            return None
        finally:
            if connection is not None:
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close()
            vault.forget(path)

    return find_rows


@pytest.fixture(scope="module")
def folded(specimen: Specimen, tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    """The same file closed, its log folded into the database."""
    path = specimen.lay_out(tmp_path_factory.mktemp("folded"))
    vault = new_vault(path)
    vault.connect(path).close()
    vault.forget(path)
    return snapshot(path, list(specimen.states), [])


def _judge(specimen: Specimen, found: Rows | None, *, frame: int) -> None:
    """Damage in a frame: an error, or inside the last transaction only, its disappearance."""
    if frame >= specimen.frames:
        assert found == specimen.states[-1], "a frame of no log was missed"
    elif frame >= specimen.last_starts:
        assert found is None or found == specimen.states[-2]
    else:
        assert found is None, f"frame {frame} of {specimen.frames} is damaged and was not missed"


def test_undamaged_specimens_open(
    specimen: Specimen, find: Callable[[Specimen], Rows | None]
) -> None:
    """The test of the tests: with older logs' frames left behind, nothing is missing."""
    assert find(specimen) == specimen.states[-1]
    assert specimen.frames >= 12


@pytest.mark.parametrize("field", _FRAME_FIELDS)
def test_flipped_bit_in_a_frame(
    specimen: Specimen, field: str, find: Callable[[Specimen], Rows | None]
) -> None:
    """Every field of every frame is authenticated, the clear ones too."""
    random, (low, high) = Random(field), _FRAME_FIELDS[field]
    for frame in range((len(specimen.log) - WAL_PREFIX_BYTES) // FRAME_BYTES):
        offset = frame_at(frame) + random.randrange(low, high)
        found = find(specimen.flipped(offset, bit=random.randrange(8)))
        _judge(specimen, found, frame=frame)


def test_zeroed_and_torn_frames(
    specimen: Specimen, find: Callable[[Specimen], Rows | None]
) -> None:
    """A sector or a whole frame that reads as zeros is damage like any other."""
    for frame in range(specimen.frames):
        for start, length in ((0, FRAME_BYTES), (0, 512), (2_048, 512), (FRAME_BYTES - 512, 512)):
            damaged = specimen.with_log(frame_at(frame) + start, bytes(length))
            _judge(specimen, find(damaged), frame=frame)


def test_swapped_frames(specimen: Specimen, find: Callable[[Specimen], Rows | None]) -> None:
    """A frame opens in its own place only, so SQLite's checksums need not notice.

    They cannot be repaired either: they lie under the seal, not in the header.
    """
    for one in range(specimen.frames - 1):
        other = one + 1
        first, second = specimen.frame(one), specimen.frame(other)
        swaps = {
            "frames": (second, first),
            "pages": (first[:24] + second[24:], second[:24] + first[24:]),
            "page numbers": (second[:4] + first[4:], first[:4] + second[4:]),
        }
        for left, right in swaps.values():
            damaged = specimen.with_log(frame_at(one), left + right)
            if damaged.log != specimen.log:
                _judge(specimen, find(damaged), frame=one)


def test_repeated_frame(specimen: Specimen, find: Callable[[Specimen], Rows | None]) -> None:
    """An earlier frame copied over a later one is not taken for it."""
    for frame in range(1, specimen.frames):
        damaged = specimen.with_log(frame_at(frame), specimen.frame(frame - 1))
        _judge(specimen, find(damaged), frame=frame)


def test_truncated_log(specimen: Specimen, find: Callable[[Specimen], Rows | None]) -> None:
    """A log cut short holds the transactions that are whole, no part of any other."""
    for frame in range(specimen.begins, specimen.frames + 1):
        for extra in (0, 1, 24, 2_000, FRAME_BYTES - 1):
            cut = Specimen(
                main=specimen.main,
                log=specimen.log[: frame_at(frame) + extra],
                states=specimen.states,
                ends=specimen.ends,
            )
            whole = sum(end <= frame for end in specimen.ends)
            assert find(cut) == specimen.states[whole]


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("field", _SLOT_FIELDS)
def test_flipped_bit_in_a_header(
    specimen: Specimen, slot: int, field: str, find: Callable[[Specimen], Rows | None]
) -> None:
    """The newest log's header is missed when it is damaged; the older one is not needed."""
    random, (low, high) = Random(field), _SLOT_FIELDS[field]
    base = slot * SLOT_STRIDE_BYTES
    intact = specimen.log[base : base + SLOT_BYTES]
    outcomes = []
    for _ in range(4):
        offset = base + random.randrange(low, high)
        outcomes.append(find(specimen.flipped(offset, bit=random.randrange(8))))
    outcomes.append(find(specimen.with_log(base, bytes(SLOT_BYTES))))
    assert outcomes in ([None] * 5, [specimen.states[-1]] * 5)
    if not any(intact):
        assert outcomes[0] is not None


def test_exactly_one_header_is_needed(
    specimen: Specimen, find: Callable[[Specimen], Rows | None]
) -> None:
    """Of the two slots only the newest log's matters, and swapping them is noticed."""
    blank = bytes(SLOT_BYTES)
    outcomes = [find(specimen.with_log(at, blank)) for at in (0, SLOT_STRIDE_BYTES)]
    assert sorted(outcome is None for outcome in outcomes) == [False, True]
    first, second = specimen.log[:512], specimen.log[512:1_024]
    assert find(specimen.with_log(0, second + first)) is None
    assert find(specimen.with_log(0, bytes(1_024))) is None


def test_header_of_a_log_that_covers_the_former(
    tmp_path: Path, find: Callable[[Specimen], Rows | None]
) -> None:
    """With no frame of the former log left to object, the newer frames themselves are missed."""
    path = tmp_path / "longer.db"
    vault = new_vault(path)
    connection = vault.create(path)
    make_table(connection)
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    rows: Rows = {}
    for seed in range(4):
        write(connection, rows, Random(seed))
    final = snapshot(path, [rows], [vault.log_pages(path)])
    connection.close()
    assert find(final) == rows
    outcomes = [find(final.with_log(at, bytes(SLOT_BYTES))) for at in (0, SLOT_STRIDE_BYTES)]
    assert outcomes == [None, rows]


def test_flipped_bit_in_a_page(folded: Specimen, find: Callable[[Specimen], Rows | None]) -> None:
    """Without a log, every page of the database is needed and every bit of it authenticated."""
    random = Random(1)
    for page in range(len(folded.main) // PAGE_BYTES):
        for low, high in _PAGE_FIELDS.values():
            offset = page * PAGE_BYTES + random.randrange(low, high)
            byte = bytes([folded.main[offset] ^ 1 << random.randrange(8)])
            assert find(folded.with_main(offset, byte)) is None
        assert find(folded.with_main(page * PAGE_BYTES, bytes(PAGE_BYTES))) is None
        assert find(folded.with_main(page * PAGE_BYTES + 1_024, bytes(512))) is None


def test_swapped_pages(folded: Specimen, find: Callable[[Specimen], Rows | None]) -> None:
    """A page opens in its own place only."""
    for page in range(len(folded.main) // PAGE_BYTES - 1):
        at = page * PAGE_BYTES
        first, second = (
            folded.main[at : at + PAGE_BYTES],
            folded.main[at + PAGE_BYTES :][:PAGE_BYTES],
        )
        assert find(folded.with_main(at, second + first)) is None
        assert find(folded.with_main(at, first + first)) is None


@pytest.mark.parametrize("pages", [0, 1, 3])
@pytest.mark.parametrize("extra", [0, 100, 4_000])
def test_truncated_database(
    folded: Specimen, pages: int, extra: int, find: Callable[[Specimen], Rows | None]
) -> None:
    """A database cut short is missed, even when nothing is left of it."""
    cut = folded.main[: pages * PAGE_BYTES + extra]
    assert find(Specimen(main=cut, log=b"", states=folded.states, ends=())) is None


def test_emptied_database_keeps_its_log(
    specimen: Specimen, find: Callable[[Specimen], Rows | None], tmp_path: Path
) -> None:
    """SQLite would take a file of no bytes for a new one and delete the log beside it."""
    empty = Specimen(main=b"", log=specimen.log, states=specimen.states, ends=specimen.ends)
    assert find(empty) is None
    assert (tmp_path / "0" / "range.db-wal").read_bytes() == specimen.log


def test_recovered_transactions_are_vouched_for(
    specimen: Specimen, find: Callable[[Specimen], Rows | None], tmp_path: Path
) -> None:
    """The first transaction after a recovery says that all before it was synced."""
    path = specimen.lay_out(tmp_path / "again")
    vault = new_vault(path)
    connection = vault.connect(path)
    rows = dict(specimen.states[-1])
    write(connection, rows, Random(9))
    ends = [*specimen.ends, vault.log_pages(path)]
    again = snapshot(path, [*specimen.states, rows], ends)
    connection.close()
    for frame in range(again.frames):
        _judge(again, find(again.flipped(frame_at(frame) + 1_000, bit=3)), frame=frame)


def test_lost_write_is_noticed(tmp_path: Path, find: Callable[[Specimen], Rows | None]) -> None:
    """A disk that lost an acknowledged rewrite shows an older frame, authentic and in its place.

    SQLite's checksums do not meet there, and it would end the log without a word.
    """
    path = tmp_path / "lost.db"
    vault = new_vault(path)
    connection = vault.create(path)
    make_table(connection)
    connection.pragma("cache_size", 5)
    rows: Rows = {}
    write(connection, rows, Random(1))
    start = vault.log_pages(path)
    connection.execute("BEGIN")
    for key in range(100, 200):
        connection.execute("INSERT INTO entry VALUES (?, zeroblob(3000))", (key,))
    connection.execute("ROLLBACK")
    stale = snapshot(path, [], [])
    states = []
    for _ in range(3):
        write(connection, rows, Random(2))
        states.append(dict(rows))
    final = snapshot(path, states, [vault.log_pages(path)])
    connection.close()
    assert stale.frame(start) != final.frame(start)
    assert find(final) == rows
    assert find(final.with_log(frame_at(start), stale.frame(start))) is None


def test_torn_first_page_is_recovered_from_the_log(
    tmp_path: Path, find: Callable[[Specimen], Rows | None]
) -> None:
    """A checkpoint cut short may tear page 1, which SQLite reads before it looks into the log."""
    path = tmp_path / "torn.db"
    vault = new_vault(path)
    connection = vault.create(path)
    make_table(connection)
    rows: Rows = {}
    write(connection, rows, Random(1))
    whole = snapshot(path, [rows], [vault.log_pages(path)])
    connection.close()
    for start in range(0, PAGE_BYTES, 512):
        assert find(whole.with_main(start, Random(start).randbytes(512))) == rows
    assert find(whole.with_main(0, bytes(PAGE_BYTES))) == rows


def test_damage_under_a_running_process(specimen: Specimen, tmp_path: Path) -> None:
    """A frame that rots while the file is open is reported to whoever reads it, and not cached."""
    path = specimen.lay_out(tmp_path / "live")
    vault = new_vault(path)
    connection = vault.connect(path)
    rows = dict(specimen.states[-1])
    write(connection, rows, Random(5))
    with path.with_name("range.db-wal").open("r+b") as log:
        for frame in range(vault.log_pages(path)):
            log.seek(frame_at(frame) + 900)
            log.write(b"rotten")
    with pytest.raises(Corrupt):
        read_all(vault.connect(path, readonly=True))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close()
