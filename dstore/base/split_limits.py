"""The bounds of splits as control decides on them; those of nodes are in `limits`."""

from typing import Final

from dstore.base.limits import MIB

SPLIT_BYTES: Final = 1_024 * MIB  # of a replica, from which on its range is split
SPLIT_BYTES_LEAST: Final = 1 * MIB  # that an operator can set it to; an empty file has a tenth
SPLIT_REQUESTS_PER_S: Final = 1_000  # from which on a range is split: a third of what a core does
SPLIT_SUSTAINED_S: Final = 120.0  # for which they must have come
# A hot range is split only if it is so much of an average node's part of all requests: a smaller
# one can be handed over whole, which moves no bytes.
SPLIT_HEAT_PART_PERCENT: Final = 25
SPLIT_SIDE_PERCENT: Final = 15  # of the bytes, or requests, that each child must have
SPLIT_HELD_PART: Final = 4  # a file is split for its size if entries are at least this part of it

SPLITS_AT_ONCE: Final = 2  # ranges that are split at the same time, over all nodes
SPLITS_OPEN_MAX: Final = 256  # attempts that are driven on, those included that nobody waits for
SPLIT_PATIENCE_S: Final = 600.0  # after which an attempt is in nobody's way any more
SPLITS_LOOK_S: Final = 5.0  # between two looks for ranges that should be split
SPLITS_ASK_S: Final = 1.0  # the same while one is split, or its keys are looked at
SPLITS_PAUSE_S: Final = 0.2  # between two looks, whatever happens meanwhile
SPLIT_CALL_S: Final = 5.0  # for a primary to answer
# A range that can't be split well is looked at again after so long, each time twice that.
SPLIT_AGAIN_S: Final = 600.0
SPLIT_AGAIN_S_MAX: Final = 24 * 3_600.0
SPLITS_REMEMBERED_MAX: Final = 10_000  # ranges of which a leader knows why not to split them now

SAMPLE_ROWS: Final = 4_096  # of a file, weighed in one piece: ~4 ms of a thread
SAMPLE_PAUSE_S: Final = 0.01  # between two pieces
SAMPLE_BUCKETS_MAX: Final = 1_024  # that a sample has
SAMPLE_REQUESTS: Final = 2_048  # whose keys are looked at
SAMPLE_REQUESTS_S: Final = 10.0  # for so long at the most
SAMPLE_REQUESTS_LOOKS: Final = 100  # in that time, whether there are enough
SAMPLES_AT_ONCE: Final = 4  # that a node makes
SAMPLE_KEPT_S: Final = 60.0  # for whoever asks for it
