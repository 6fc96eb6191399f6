-- A range may be split: beside it lie the seeds of its children, the lower one from the same hash on.
CREATE TABLE range_of_table_6 (
    RID_TENANT    TEXT    NOT NULL,
    RID_TABLE     TEXT    NOT NULL,
    HASH_START    INTEGER NOT NULL,          -- 0 to 2^32 - 1, closed interval
    HASH_END      INTEGER NOT NULL,
    QUANTITY      INTEGER NOT NULL,          -- estimate; the range file knows
    UUID          TEXT    NOT NULL,          -- the tenant's UUID on this node
    TABLE_VERSION INTEGER NOT NULL,          -- number of the range file's schema
    RANGE_ID      TEXT    NOT NULL UNIQUE,
    FILE_UUID     BLOB    NOT NULL,
    GENERATION    INTEGER NOT NULL,
    FILE_KEY      BLOB    NOT NULL,          -- the file's data key, wrapped
    EPOCH         INTEGER NOT NULL DEFAULT 1,
    ENROLMENT     TEXT    NOT NULL DEFAULT 'stand-alone',
    DRAWN_UNDER   TEXT    NOT NULL DEFAULT 'stand-alone',
    PLACEMENT     BLOB,
    PLACEMENT_EPOCH    INTEGER NOT NULL DEFAULT 0,
    PLACEMENT_REVISION INTEGER NOT NULL DEFAULT 0,
    SCRUBBED_AT_US INTEGER NOT NULL DEFAULT 0,  -- wall time, microseconds since 1970; 0: nobody knows
    PARENT        TEXT,                      -- of a seed: the range that is split; NULL: it is none
    PARENT_EPOCH  INTEGER NOT NULL DEFAULT 0,  -- in which it is
    -- Of a seed: the split that it is for. Of a range that was split, of which only the file is left: how.
    CUT_AT        INTEGER,                   -- lowest hash of the upper child; NULL: neither
    CUT_LOW       TEXT,                      -- the lower child's RANGE_ID
    CUT_HIGH      TEXT,
    PRIMARY KEY (RID_TENANT, RID_TABLE, HASH_START, RANGE_ID)
) WITHOUT ROWID;
INSERT INTO range_of_table_6 (RID_TENANT, RID_TABLE, HASH_START, HASH_END, QUANTITY, UUID,
    TABLE_VERSION, RANGE_ID, FILE_UUID, GENERATION, FILE_KEY, EPOCH, ENROLMENT, DRAWN_UNDER,
    PLACEMENT, PLACEMENT_EPOCH, PLACEMENT_REVISION, SCRUBBED_AT_US)
SELECT RID_TENANT, RID_TABLE, HASH_START, HASH_END, QUANTITY, UUID,
    TABLE_VERSION, RANGE_ID, FILE_UUID, GENERATION, FILE_KEY, EPOCH, ENROLMENT, DRAWN_UNDER,
    PLACEMENT, PLACEMENT_EPOCH, PLACEMENT_REVISION, SCRUBBED_AT_US
FROM range_of_table;
DROP TABLE range_of_table;
ALTER TABLE range_of_table_6 RENAME TO range_of_table;
