"""The bounds of how a node's disk is told from an older copy of itself."""

from typing import Final

# Between two marks of a run that goes on: a copy that was made before the last one is known as one.
BOOT_MARK_S: Final = 300.0
