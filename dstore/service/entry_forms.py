"""What of an entry is looked at by who reads it."""

from __future__ import annotations

from enum import StrEnum


class EntryForm(StrEnum):
    """What of an entry its reader looks at, so that no more has to cross to it.

    ANSWER: version, `answer` and `item_bytes`, as the DynamoDB API shows an item. ROWS: the cells
    as they are stored, of which v1 shows the numbers as they were spelled. In one process an entry
    is always whole.
    """

    ANSWER = "answer"
    ROWS = "rows"
