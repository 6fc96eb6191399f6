"""Every write of an entry, as a value: what it decides from the entry before is its `apply`.

A value can be kept, sent to the node that holds the entry (`mutation_wire`) and applied there, in
the writer's transaction, with the same outcome as here (I3). In one process it is handed over as it
is; nothing is encoded.

Called, it applies itself: it stands where storage asks for a function (`range_writer.Apply`), and
whoever sends a `range_writer.Write` elsewhere finds it there as a value.
"""

from __future__ import annotations

from dstore.service.entry_writes import CreateEntry, DeleteEntry, MergeEntry, ReplaceEntry
from dstore.service.item_writes import DeleteItem, PutItem, UpdateItem

ItemMutation = PutItem | DeleteItem | UpdateItem
"""DynamoDB's writes, made by `item_writes`."""

EntryMutation = CreateEntry | ReplaceEntry | MergeEntry | DeleteEntry
"""v1's writes, made by `entry_writes`."""

Mutation = ItemMutation | EntryMutation
"""`apply(previous: Entry | None) -> Outcome`: pure; raises Refused or ConditionFailed."""
