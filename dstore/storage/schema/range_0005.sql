-- Rows that are made of entries, each in the transaction that changes its entry, and of nothing
-- else: `derived_rows`. What a file keeps of this sort it says itself, so that every writer of it
-- knows. A file of before keeps nothing; it is brought up when it is opened.
CREATE TABLE derivation (
    ID         INTEGER PRIMARY KEY,
    KIND       TEXT NOT NULL,      -- derived_rows.Kind
    DEFINITION TEXT NOT NULL       -- JSON; what it says is the kind's
);
CREATE TABLE derived (
    DERIVATION INTEGER NOT NULL,
    KEY        BLOB    NOT NULL,   -- of an index: model.index_rows.local_key
    RID_ID     BLOB    NOT NULL,   -- of the entry that it is made of
    PRIMARY KEY (DERIVATION, KEY)
) WITHOUT ROWID;
-- Of a table with local indexes: what the entries of a partition key count, and their index rows.
CREATE TABLE collection (
    PREFIX     BLOB PRIMARY KEY,   -- model.keys.partition_prefix
    SIZE_BYTES INTEGER NOT NULL
) WITHOUT ROWID;
