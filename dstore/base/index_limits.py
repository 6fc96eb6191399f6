"""The bounds of secondary indexes; what they are for is in docs/adr/0020 and 0021."""

from typing import Final

from dstore.base.limits import MIB

# DynamoDB's bound of the items of one partition key in a table with local indexes, their entries in
# these included. Source: developer guide, "Local secondary indexes", "Item collection size limit".
ITEM_COLLECTION_BYTES_MAX: Final = 10 * 1_024 * MIB
INDEX_ENTRY_OVERHEAD_BYTES: Final = 100  # that AWS adds to an entry's attributes; same page
INDEX_BUILT_ENTRIES: Final = 500  # of a file that is brought up, in one transaction: ~10 ms

INDEX_KEYS_OF_A_ROLE_MAX: Final = 4  # key attributes of a global index, HASH or RANGE
INDEXES_LOOK_S: Final = 5.0  # between two looks for indexes that are declared and not made
INDEX_ASK_S_MIN: Final = 0.05  # between two questions how far an index is: at first,
INDEX_ASK_S_MAX: Final = 1.0  # and, twice as long each time, at the most
INDEX_CALL_S: Final = 5.0  # for a primary to answer
INDEX_RANGES_ASKED: Final = 16  # ranges of a base table that are asked at the same time
