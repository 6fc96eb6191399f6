-- The newest value of a range that the node has seen in the coordinator, which may lose it: who is in
-- sync, of which epoch, written at which revision.
ALTER TABLE range_of_table ADD COLUMN PLACEMENT BLOB;  -- NULL: none yet
ALTER TABLE range_of_table ADD COLUMN PLACEMENT_EPOCH INTEGER NOT NULL DEFAULT 0;
ALTER TABLE range_of_table ADD COLUMN PLACEMENT_REVISION INTEGER NOT NULL DEFAULT 0;
