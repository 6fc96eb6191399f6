"""The bounds of feeding global indexes; what they are for is in docs/adr/0021-global-indexes.md."""

from typing import Final

from dstore.base.limits import KIB, MIB

INDEX_FORMERS_MAX: Final = 4  # ranges before one that a split has made; who is fed knows them
MEMO_BYTES_MAX: Final = 64 * 1024  # one value beside the entries
MEMO_NAME_CHARS_MAX: Final = 64  # a word and a UUID
MEMOS_COPIED: Final = 256  # in one message of a copy
INDEX_BATCH_BYTES: Final = MIB // 2  # of records that are read for an index at a time
INDEX_BATCH_RECORDS: Final = 256
INDEX_FED_ROWS_MAX: Final = 2 * INDEX_BATCH_RECORDS  # in one message: each record has two at most
# Of one message that the event loop takes, and of records that it makes rows of: 5 ms at the most.
# Two threads that both run Python hand the interpreter to and fro at every statement of SQLite's.
INDEX_LOOP_ROWS: Final = 64
INDEX_LOOP_RECORDS: Final = (
    512  # an index that is further behind is told more at a time, in threads
)
INDEX_RECENT_BYTES: Final = MIB // 2  # records of a range that its lanes may read without its file
INDEX_RECENT_BYTES_SUM: Final = 32 * MIB  # of all ranges of a node together
INDEX_SCANNED_ITEMS: Final = 256  # read at a time while an index is filled
INDEX_SCANNED_BYTES: Final = MIB // 2
# While clients ask the node for anything, on its event loop: about 2 ms to read and 5 ms to take.
INDEX_LOOP_SCANNED_ITEMS: Final = 32
INDEX_LOOP_SCANNED_BYTES: Final = 64 * KIB
INDEX_FETCHED_ROWS: Final = 512  # whose pages a thread fetches for it: 15 attributes an item
# While it is filled it is told of what is written in zones alone that were looked at or are next.
INDEX_ZONE_ITEMS: Final = 4_096
INDEX_ZONES_MAX: Final = 256  # of a range
INDEX_NOTED_RECORDS: Final = 1_024  # read for an index before it is noted in the range's log
INDEX_NOTED_S: Final = 5.0  # or after so long, if any was read
INDEX_NOTED_ITEMS: Final = 4_096  # looked at while an index is filled, before that is noted
INDEX_LOG_RECORDS_MAX: Final = 1_000_000  # kept for an index that can't be reached
INDEX_LOG_CROWDED_RECORDS: Final = 65_536  # of those, on a disk that has no room
INDEX_CALL_S: Final = 5.0  # to have one message taken
INDEX_BACKOFF_MS_MIN: Final = 20
INDEX_BACKOFF_MS_MAX: Final = 2_000
INDEX_GONE_S: Final = 60.0  # an index is not shown any more for so long before its log is let go
INDEX_SWEPT_S: Final = 20.0  # between two looks at which indexes are gone
INDEX_GATHERED_MS: Final = 10  # for further writes, since each message is a commit and a sync
# Read for one index at a time: a window's records and their rows, and while it is filled a page's.
INDEX_PART_BYTES: Final = 4 * INDEX_BATCH_BYTES
INDEX_ROOM_BYTES: Final = 64 * MIB  # for all of a node together: 32 such, or many more small ones
INDEX_ROW_BYTES: Final = 512  # that a row takes in memory besides its image and key
INDEX_QUEUED_S: Final = 10.0  # for room, between two looks whether it is too late
INDEX_HELD_S: Final = 2.0  # that nothing is taken, before what was read makes room for others
