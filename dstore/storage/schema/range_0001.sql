-- A replica's file. The first table is SPEC.md's V1 layout: one top-level attribute is one row.
-- The row with an empty C_COL is the entry's head: it says that the entry exists, even an empty
-- one, and its C_DATA is the entry's version (what an ETag shows).
CREATE TABLE v1 (
    RID_ID      BLOB    NOT NULL,  -- model.keys: hash, partition key, sort key; order-preserving
    C_COL       TEXT    NOT NULL,  -- attribute name
    HASH        INTEGER NOT NULL,  -- unsigned murmur3 of the partition key, 0 to 2^32 - 1
    C_DATA_TYPE TEXT    NOT NULL,  -- model.values.DataType, or 'Entry' in the head row
    C_DATA      TEXT,
    PRIMARY KEY (RID_ID, C_COL)
) WITHOUT ROWID;

-- What was done, in order. A position (EPOCH, SEQ) names one record for ever; DIGEST is SHA-256
-- chained to the record before. Images start with a format byte.
CREATE TABLE log (
    SEQ        INTEGER PRIMARY KEY,
    EPOCH      INTEGER NOT NULL,
    TIME_US    INTEGER NOT NULL,   -- wall time, microseconds since 1970
    REQUEST_ID TEXT,
    KIND       TEXT    NOT NULL,   -- 'put' or 'delete'
    RID_ID     BLOB    NOT NULL,
    NEW_IMAGE  BLOB,               -- NULL in a delete: a tombstone
    DIGEST     BLOB    NOT NULL
);

-- Requests that named themselves, so that a retry is answered again and not applied again (I9).
CREATE TABLE request (
    PRINCIPAL  TEXT    NOT NULL,
    REQUEST_ID TEXT    NOT NULL,
    ORDINAL    INTEGER NOT NULL,
    DIGEST     BLOB    NOT NULL,   -- of the request: the same id with other content is another request
    SEQ        INTEGER NOT NULL,
    ANSWER     BLOB    NOT NULL,
    TIME_US    INTEGER NOT NULL,
    PRIMARY KEY (PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST)
) WITHOUT ROWID;
CREATE INDEX request_by_time ON request (TIME_US);

-- One row: where the log stands, and what the table of tables wants to know.
CREATE TABLE meta (
    ID         INTEGER PRIMARY KEY CHECK (ID = 1),
    RANGE_ID   TEXT    NOT NULL,
    EPOCH      INTEGER NOT NULL,
    SEQ        INTEGER NOT NULL,
    DIGEST     BLOB    NOT NULL,
    QUANTITY   INTEGER NOT NULL    -- entries
);
