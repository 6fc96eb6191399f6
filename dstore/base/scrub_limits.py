"""The bounds of scrubs; what they are for is in docs/adr/0019-scrub.md."""

from typing import Final

from dstore.base.limits import KIB, MIB

SCRUB_PERIOD_S: Final = 7 * 24 * 3_600.0  # in which every range is read whole once, on each replica
SCRUB_BYTES_S: Final = 4 * MIB  # that a primary reads, and has read of each other: 3 % of a core
SCRUB_ASKED_FASTER: Final = 8  # times as fast where somebody waits for it
SCRUB_PAGES: Final = 64  # of a file, read in one piece: ~2 ms of a thread
SCRUB_SPAN_BYTES: Final = 256 * KIB  # of rows that are summed in one piece: ~5 ms of a thread
SCRUB_SPAN_ENTRIES: Final = 512
SCRUB_CALL_S: Final = 10.0  # for another replica to read a piece
SCRUB_SURE_S: Final = 600.0  # for it to read a whole file where a page is suspect; 25 µs a page
# Between the moments of two replicas' sums; where writes are faster, the sums are made once more.
SCRUB_LAG_RECORDS_MAX: Final = 16_384
SCRUB_TRIES: Final = 5  # of a span whose sums are not of moments that can be compared
SCRUB_AGAIN_MS: Final = 250  # before what differs is looked at once more
SCRUB_LOOK_S: Final = 5.0  # between two looks for ranges that are due
SCRUB_ASKED_LOOK_S: Final = 0.5  # the same, while a range that was asked for can't be scrubbed yet
SCRUB_RETRY_S: Final = 30.0  # of one that could not be scrubbed, or not be repaired
SCRUB_REPAIRED_S: Final = 3_600.0  # that a copy is waited for, to tell that it is made
SCRUBS_ASKED_MAX: Final = 10_000  # ranges in one question to a node, and waiting there
SCRUB_NAMED_MAX: Final = 8  # pages or replicas that a sentence names, the rest is counted
