-- When all replicas of a range were last read whole and compared: wall time, microseconds since 1970.
ALTER TABLE range_of_table ADD COLUMN SCRUBBED_AT_US INTEGER NOT NULL DEFAULT 0;  -- 0: nobody knows
