-- The node's own database. SPEC.md's table of tables is `range_of_table`.
CREATE TABLE setting (
    NAME  TEXT NOT NULL PRIMARY KEY,
    VALUE TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE tenant (
    NAME          TEXT    NOT NULL PRIMARY KEY,
    UUID          TEXT    NOT NULL UNIQUE,   -- of this tenant on this node
    NODE_KEY      BLOB    NOT NULL,          -- the (tenant, node) share, wrapped
    CREATED_AT_US INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE table_definition (
    TENANT        TEXT    NOT NULL REFERENCES tenant (NAME),
    NAME          TEXT    NOT NULL,
    TABLE_ID      TEXT    NOT NULL UNIQUE,
    DEFINITION    TEXT    NOT NULL,          -- JSON, with a format number
    PRIMARY KEY (TENANT, NAME)
) WITHOUT ROWID;

CREATE TABLE range_of_table (
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
    PRIMARY KEY (RID_TENANT, RID_TABLE, HASH_START)
) WITHOUT ROWID;

CREATE TABLE access_key (
    ID            TEXT    NOT NULL PRIMARY KEY,
    TENANT        TEXT    NOT NULL REFERENCES tenant (NAME),
    SECRET        BLOB    NOT NULL,          -- sealed
    CREATED_AT_US INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE token (
    ID            TEXT    NOT NULL PRIMARY KEY,
    TENANT        TEXT    REFERENCES tenant (NAME),  -- NULL: the operator's
    DIGEST        BLOB    NOT NULL,
    CREATED_AT_US INTEGER NOT NULL
) WITHOUT ROWID;

-- Writes accepted with 202 and not yet done, and what became of those that are.
CREATE TABLE deferred (
    SEQ           INTEGER PRIMARY KEY AUTOINCREMENT,
    ID            TEXT    NOT NULL UNIQUE,
    TENANT        TEXT    NOT NULL,
    REQUEST       BLOB    NOT NULL,          -- sealed by the service; empty once it is done
    OUTCOME       BLOB,                      -- NULL while it waits
    TIME_US       INTEGER NOT NULL           -- of its acceptance, and then of its outcome
);
CREATE INDEX deferred_by_time ON deferred (TIME_US) WHERE OUTCOME IS NOT NULL;
