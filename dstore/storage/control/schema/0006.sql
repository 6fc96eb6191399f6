-- Which nodes control wants to have a replica of a range. Who is its primary, and which of them are in
-- sync, the coordinator says; table_range has the primary that the range was made with.
CREATE TABLE range_replica (
    range_id TEXT COLLATE "C" NOT NULL REFERENCES table_range (range_id),
    node     TEXT COLLATE "C" NOT NULL REFERENCES node (uuid),
    state    TEXT COLLATE "C" NOT NULL,  -- holding, leaving
    PRIMARY KEY (range_id, node)
);
CREATE INDEX range_replica_by_node ON range_replica (node, range_id);
INSERT INTO range_replica (range_id, node, state) SELECT range_id, node, 'holding' FROM table_range;
