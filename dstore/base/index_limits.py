"""The bounds of secondary indexes; what they are for is in docs/adr/0020-local-indexes.md."""

from typing import Final

from dstore.base.limits import MIB

# DynamoDB's bound of the items of one partition key in a table with local indexes, their entries in
# these included. Source: developer guide, "Local secondary indexes", "Item collection size limit".
ITEM_COLLECTION_BYTES_MAX: Final = 10 * 1_024 * MIB
INDEX_ENTRY_OVERHEAD_BYTES: Final = 100  # that AWS adds to an entry's attributes; same page
INDEX_BUILT_ENTRIES: Final = 500  # of a file that is brought up, in one transaction: ~10 ms
