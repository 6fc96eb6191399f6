"""The bounds of how a node's disk is told from an older copy of itself."""

from typing import Final

# Between two marks of a run that goes on: a copy that was made before the last one is known as one.
# A mark is two small writes to the node's database and one transaction of the coordinator.
BOOT_MARK_S: Final = 60.0
# Starts of which a disk remembers that they may yet be counted: each try of one against a
# coordinator that does not say what it did is another.
BOOT_DOUBTFUL_MAX: Final = 32
