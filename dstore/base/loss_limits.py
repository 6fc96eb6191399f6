"""The bounds of accepting a loss; what they are for is in docs/adr/0023-accepted-loss.md."""

from typing import Final

LOSS_ASK_S: Final = 3.0  # for a replica to say where it stands; nobody waits but the operator
LOSS_REASON_CHARS_MAX: Final = 500  # that an operator gives
