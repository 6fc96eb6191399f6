-- Names of requests that are known for a while only, each beside the write that it was done by.
ALTER TABLE log ADD COLUMN NAME BLOB;  -- msgpack of log_records.NameMark, NULL without one
-- The names of some writes, up to the record SEQ: much cheaper than a row of `request` for each.
CREATE TABLE name (
    SEQ         INTEGER PRIMARY KEY,
    TIME_US     INTEGER NOT NULL,   -- wall time of the last of them
    TOTAL_BYTES INTEGER NOT NULL,   -- of NAMES of this row and of all that ever were before it
    NAMES       BLOB    NOT NULL    -- msgpack of a list of brief_names.NamedAnswer
);
