"""What a node has to know before tables may use it: the one list of such features.

Nodes of several versions serve together while a cluster is upgraded. A node of before a feature
can't read the log of a table that uses it, or keeps less beside the entries than the others. So
each node says which features it knows (`topology.values.Details`), and control lets nobody begin to
use one that a node does not know (`service.control.features`).

A later feature adds a word here, and says in `_uses` what in a table's settings uses it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dstore.model.table_settings import TableSettings
    from dstore.model.tables import TableDefinition


class Feature(StrEnum):
    """Words that nodes exchange: one that is renamed is unknown to all nodes of before."""

    LOCAL_INDEXES = "local_indexes"  # rows beside the entries, in each replica's file
    GLOBAL_INDEXES = "global_indexes"  # records of the kind `memo`, and old images in the log
    TIME_TO_LIVE = "time_to_live"  # records of the kind `expire`

    @property
    def phrase(self) -> str:
        """What a sentence calls it."""
        return self.replace("_", " ")


KNOWN_HERE: Final[tuple[str, ...]] = tuple(sorted(Feature))
"""What this dStore knows, as its nodes say it."""


def needed_by(definition: TableDefinition) -> frozenset[Feature]:
    """Say what a node has to know that is to have a replica of a table; 1 µs."""
    settings = definition.settings
    found = {feature for feature, _ in _uses(settings)}
    if definition.index_of is not None:
        found.add(Feature.GLOBAL_INDEXES)
    if settings.time_to_live is not None:  # disabled or not: its log may tell of what expired
        found.add(Feature.TIME_TO_LIVE)
    return frozenset(found)


def begun_by(before: TableSettings, after: TableSettings) -> frozenset[Feature]:
    """Say which features a change of a table's settings begins to use, or uses for more."""
    return frozenset(feature for feature, _ in _uses(after) - _uses(before))


def _uses(settings: TableSettings) -> set[tuple[Feature, str]]:
    """List what is used, and for what."""
    found = {(Feature.LOCAL_INDEXES, index.name) for index in settings.local_indexes}
    found |= {(Feature.GLOBAL_INDEXES, index.name) for index in settings.global_indexes}
    if settings.expires_by is not None:
        found.add((Feature.TIME_TO_LIVE, settings.expires_by))
    return found
