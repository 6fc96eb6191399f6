"""Recent records: a lane finds there exactly what its log would tell it, or nothing."""

from __future__ import annotations

from random import Random
from unittest.mock import patch

from dstore.service.cluster import recent_records
from dstore.service.cluster.recent_records import RecentBytes, RecentRecords
from dstore.storage.log_records import LogRecord, RecordKind


def _records(first: int, last: int, *, image_bytes: int = 100) -> list[LogRecord]:
    return [
        LogRecord(
            epoch=1,
            seq=seq,
            time_us=0,
            kind=RecordKind.PUT,
            rid_id=b"key",
            image=bytes(image_bytes),
            request=None,
            digest=bytes(32),
        )
        for seq in range(first, last + 1)
    ]


def _seqs(
    recent: RecentRecords,
    after_seq: int,
    last_seq: int,
    *,
    records_max: int = 100,
    bytes_max: int = 1 << 20,
) -> list[int] | None:
    found = recent.read(
        after_seq=after_seq, last_seq=last_seq, records_max=records_max, bytes_max=bytes_max
    )
    return None if found is None else [each.seq for each in found]


def test_a_lane_reads_on_where_it_is() -> None:
    """What is asked for comes without a gap and within its bounds; what is not there is told."""
    recent = RecentRecords(RecentBytes())
    recent.fed("lane", 10)
    recent.add(_records(11, 14))
    recent.add(_records(15, 20))
    assert _seqs(recent, 10, 20) == [*range(11, 21)]
    assert _seqs(recent, 13, 17) == [14, 15, 16, 17]
    assert _seqs(recent, 12, 20, records_max=2) == [13, 14]
    assert _seqs(recent, 12, 20, bytes_max=1) == [13], "at least one"
    assert _seqs(recent, 9, 20) is None, "it begins later"
    assert _seqs(recent, 12, 21) is None, "it ends earlier"


def test_what_was_missed_leaves_no_gap() -> None:
    """Records that came another way, of a former primary, are not passed over."""
    recent = RecentRecords(RecentBytes())
    recent.fed("lane", 0)
    recent.add(_records(1, 3))
    recent.add(_records(5, 6))
    assert _seqs(recent, 2, 6) is None
    assert _seqs(recent, 4, 6) == [5, 6]


def test_what_all_lanes_have_had_goes() -> None:
    """The slowest lane is waited for; one that has ended is not, and with the last all goes."""
    whole = RecentBytes()
    recent = RecentRecords(whole)
    recent.add(_records(1, 2))
    assert whole.count == 0, "nobody reads it"
    recent.fed("slow", 2)
    recent.fed("fast", 2)
    recent.add(_records(3, 9))
    recent.fed("fast", 9)
    assert _seqs(recent, 2, 9) == [*range(3, 10)]
    recent.forget("slow")
    recent.fed("fast", 9)
    assert _seqs(recent, 8, 9) is None
    recent.add(_records(10, 12))
    recent.forget("fast")
    assert whole.count == 0


def test_it_is_bounded() -> None:
    """Of one range the oldest go; when all ranges together have too much, that range's all go."""
    with patch.multiple(recent_records, INDEX_RECENT_BYTES=1_000, INDEX_RECENT_BYTES_SUM=1_500):
        whole = RecentBytes()
        one, other = RecentRecords(whole), RecentRecords(whole)
        one.fed("lane", 0)
        other.fed("lane", 0)
        for seq in range(1, 30):
            one.add(_records(seq, seq))
            assert whole.count <= 1_000
        assert _seqs(one, 28, 29) == [29]
        assert _seqs(one, 5, 29) is None
        other.add(_records(1, 6))
        assert _seqs(other, 0, 6) is None
        assert whole.count <= 1_000
        assert _seqs(one, 28, 29) == [29]


def test_its_count_is_that_of_what_it_has() -> None:
    """Whatever comes and goes, in the end nothing is counted: else all would be full for ever."""
    random = Random(3)
    whole = RecentBytes()
    ranges = [RecentRecords(whole) for _ in range(3)]
    ends = [0, 0, 0]
    with patch.multiple(recent_records, INDEX_RECENT_BYTES=2_000, INDEX_RECENT_BYTES_SUM=4_000):
        for _ in range(500):
            number = random.randrange(3)
            recent, end = ranges[number], ends[number]
            if random.random() < 0.6:
                more = random.randrange(1, 5)
                recent.add(_records(end + 1, end + more, image_bytes=random.randrange(300)))
                ends[number] += more
            else:
                recent.fed(random.choice("ab"), random.randrange(max(0, end - 8), end + 1))
    for recent in ranges:
        recent.forget("a")
        recent.forget("b")
    assert whole.count == 0
