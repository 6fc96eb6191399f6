"""The bounds of what nodes say that they know; see docs/adr/0024-known-features.md."""

from typing import Final

FEATURES_MAX: Final = 256  # words that a node may say, those of later versions included
NODES_BEHIND_NAMED: Final = 5  # in a sentence; the rest is counted
FEATURE_RETRY_MS: Final = 5_000  # for who is refused: nodes are upgraded in minutes
