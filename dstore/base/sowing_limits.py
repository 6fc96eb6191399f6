"""The bounds of splits on nodes; what they are for is in docs/adr/0018-splits.md."""

from typing import Final

SPLIT_PAUSE_S: Final = 1.0  # for the seeds to ripen; the writes go on if they have not
SPLIT_SOWN_S: Final = 4 * 3_600.0  # for the seeds to be filled
SPLIT_ASK_MS: Final = 500  # between two questions how far a replica's seeds are
SPLIT_FORSAKEN_S: Final = 15.0  # seeds are filled no more for who has not asked for them so long
SPLIT_TURN_MS: Final = 5  # between two turns of seeds that are being filled
