-- The newest attempt to split each range. It is written down before anybody is asked to split; the
-- row of a range that is split stays, and says that the range is no more.
CREATE TABLE range_split (
    range_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    table_id    TEXT COLLATE "C" NOT NULL REFERENCES table_definition (table_id),
    epoch       BIGINT           NOT NULL,  -- of the range, in which the attempt is
    at_hash     BIGINT           NOT NULL,  -- the lowest of the upper child
    low_id      TEXT COLLATE "C" NOT NULL,
    high_id     TEXT COLLATE "C" NOT NULL,
    why         TEXT COLLATE "C" NOT NULL,  -- size, heat, operator
    state       TEXT COLLATE "C" NOT NULL,  -- begun, done, abandoned
    begun_at_us BIGINT           NOT NULL,
    ended_at_us BIGINT,                     -- NULL while it is begun
    CHECK (0 < at_hash AND at_hash <= 4294967295),
    CHECK ((state = 'begun') = (ended_at_us IS NULL))
);
CREATE INDEX range_split_by_state ON range_split (state, range_id);
CREATE INDEX range_split_by_table ON range_split (table_id, range_id);
