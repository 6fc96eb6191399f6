-- How often an operator had the topology recovered, and the last recovery that was brought to its
-- end: between the two the leader publishes everything anew. A leader writes in the recovery that
-- it began in, and in no later one.
ALTER TABLE control_plane ADD COLUMN recoveries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE control_plane ADD COLUMN recovered BIGINT NOT NULL DEFAULT 0;
