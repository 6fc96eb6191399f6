"""Bounds of items that expire (time to live): when, how fast, how much at once."""

from typing import Final

DAY_S: Final = 24 * 3_600
EXPIRY_AGE_S_MAX: Final = 5 * 365 * DAY_S  # DynamoDB's: who expired before that stays for good
EXPIRY_AT_S_MAX: Final = (1 << 53) - 1  # later times than this are none: 285 million years
EXPIRY_CHANGE_S: Final = 30 * 60  # between two changes of a table's time to live: what AWS does
EXPIRY_ASK_S: Final = 2.0  # how long one who asks for a table's state waits for all of its ranges
EXPIRY_ASKED_AT_ONCE: Final = 16  # ranges of a table, by the same
EXPIRY_KNOWN_MAX: Final = 4_096  # tables whose settled state a process remembers

EXPIRY_SWEPT_ROWS: Final = 32  # items of one range that are deleted at once: about 3 ms of a core
EXPIRY_RANGES_AT_ONCE: Final = 4  # so one that can't be written to does not hold up the others
EXPIRY_BUSY_ITEMS_PER_S: Final = 1_500  # of a node, while it serves requests
EXPIRY_ITEMS_PER_S_MAX: Final = 20_000  # of a node that serves none
EXPIRY_BUSY_MS: Final = 1_000  # so long behind a request the node counts as serving
EXPIRY_TURN_PIECES: Final = 50  # of one range, before another one that is due has its turn
EXPIRY_LOOK_S: Final = 10.0  # the wall clock is looked at so often, should it have been set
EXPIRY_JUMP_S: Final = 300  # set ahead by more, it is doubted: what nodes' clocks may differ by
EXPIRY_BELIEVED_S: Final = 3_600  # so long it is, until it is believed all the same
EXPIRY_DUE_S_MIN: Final = 1  # what is due is looked for at most so often in one range
EXPIRY_RETRY_S: Final = 1.0  # behind a failure, doubled up to the next
EXPIRY_RETRY_S_MAX: Final = 60.0
EXPIRY_WRITE_S: Final = 30.0  # for a piece to be deleted; then it is tried again

EXPIRY_BUILT_ROWS: Final = 4_000  # rows of `v1` that one piece of work looks through: about 5 ms
EXPIRY_DROPPED_ROWS: Final = 2_000  # rows of an index that goes, in one piece
EXPIRY_REST_FACTOR: Final = 3  # while a node serves, it rests so many times as long as a piece took
EXPIRY_OPENED_PAUSE_S: Final = 0.02  # between two files that are opened only to see what is due
