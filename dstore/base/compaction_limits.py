"""The bound of what the coordinator remembers of former values."""

from typing import Final

# Between two compactions: so much of the history is kept at least, and twice that at most.
COMPACTION_INTERVAL_S: Final = 300.0
