"""Checksums of a replica's rows, by which two replicas are compared while both go on changing.

What is summed is what the rows mean: the key, the version, and the attributes as they are decoded.
Each sum is of one moment, which is told with it: the record up to which the rows are applied. Rows
are what the log makes of nothing, so two sums of one span must be equal but for the keys of records
between their two moments (`written_between`), and no replica has to wait for another.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from dstore.base.limits import RID_ID_BYTES_MAX
from dstore.base.scrub_limits import SCRUB_LAG_RECORDS_MAX, SCRUB_SPAN_BYTES, SCRUB_SPAN_ENTRIES
from dstore.storage import replica_log
from dstore.storage.entries import scan_entries
from dstore.storage.log_records import Sequence64
from dstore.storage.range_scan import Span
from dstore.storage.readers import one_moment

if TYPE_CHECKING:
    import apsw

    from dstore.storage.entries import Entry

_SUM_BYTES: Final = 16  # of an entry: 2⁻⁶⁴ that two of a table ever look alike
_WIDER: Final = 4  # times as much is read of a span that another replica has measured out
_NEXT: Final = b"\x00"
_WRITTEN: Final = "SELECT RID_ID FROM log WHERE SEQ > ? AND SEQ <= ?"
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode

RidId = Annotated[bytes, msgspec.Meta(max_length=RID_ID_BYTES_MAX)]
Sum = Annotated[bytes, msgspec.Meta(min_length=_SUM_BYTES, max_length=_SUM_BYTES)]


class SpanSums(msgspec.Struct, frozen=True, array_like=True):
    """The checksum of a span of rows at a moment.

    Attributes:
        applied_seq: the record up to which the rows are applied.
        is_whole: whether this is a replica, and no copy in the making.
        last: the last key that was read, if there is more behind it; None: the span is at its end.
        entries: how many there are, of `size_bytes` of data.
        digest: SHA-256 over all of them.
        sums: of each, by its key, if they were asked for.
    """

    applied_seq: Sequence64
    is_whole: bool
    last: RidId | None
    entries: int
    size_bytes: int
    digest: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    sums: tuple[tuple[RidId, Sum], ...] = ()


def sum_span(
    connection: apsw.Connection, *, after: bytes, upto: bytes | None, has_sums: bool = False
) -> SpanSums:
    """Sum the rows behind a key, up to and including another.

    Args:
        connection: a reader's, outside of a transaction.
        after: b"" for the beginning.
        upto: None: about SCRUB_SPAN_BYTES of them.
        has_sums: tell the sum of each.
    Raises: Corrupt: a row is not what it says, or can't be read.
    """
    wider = 1 if upto is None else _WIDER
    entries_max, bytes_max = wider * SCRUB_SPAN_ENTRIES, wider * SCRUB_SPAN_BYTES
    span = Span(high=None if upto is None else upto + _NEXT).behind(after)
    whole = hashlib.sha256()
    sums: list[tuple[bytes, bytes]] = []
    entries = size_bytes = 0
    last: bytes | None = None
    with one_moment(connection):
        state = replica_log.read_state(connection)
        with closing(scan_entries(connection, span)) as found:
            for rid_id, entry in found:
                one = _sum_of(rid_id, entry)
                whole.update(one)
                if has_sums:
                    sums.append((rid_id, one))
                entries += 1
                size_bytes += entry.data_bytes + len(rid_id)
                if entries >= entries_max or size_bytes >= bytes_max:
                    last = rid_id
                    break
    return SpanSums(
        applied_seq=state.applied_seq,
        is_whole=state.whole_seq is None or state.applied_seq >= state.whole_seq,
        last=last,
        entries=entries,
        size_bytes=size_bytes,
        digest=whole.digest(),
        sums=tuple(sums),
    )


def written_between(
    connection: apsw.Connection, *, low_seq: int, high_seq: int
) -> frozenset[bytes] | None:
    """List the keys of the records behind one up to another; None: the log has not all of them."""
    if high_seq - low_seq > SCRUB_LAG_RECORDS_MAX:
        return None
    if low_seq < replica_log.read_state(connection).thin_seq:
        return None
    rows: list[tuple[Any, ...]] = connection.execute(_WRITTEN, (low_seq, high_seq)).fetchall()
    if len(rows) != high_seq - low_seq:
        return None
    return frozenset(rid_id for (rid_id,) in rows)


def differing(ours: SpanSums, theirs: SpanSums) -> dict[bytes, tuple[bytes | None, bytes | None]]:
    """List the keys of which two replicas have different entries: our sum, and theirs.

    None of the two has none. Nothing is said of keys behind where one of them had to stop.
    """
    ends = [each.last for each in (ours, theirs) if each.last is not None]
    end = min(ends, default=None)
    mine, others = dict(ours.sums), dict(theirs.sums)
    return {
        rid_id: (mine.get(rid_id), others.get(rid_id))
        for rid_id in sorted(mine.keys() | others.keys())
        if mine.get(rid_id) != others.get(rid_id) and (end is None or rid_id <= end)
    }


def _sum_of(rid_id: bytes, entry: Entry) -> bytes:
    return hashlib.sha256(_encode((rid_id, entry.version, entry.item))).digest()[:_SUM_BYTES]
