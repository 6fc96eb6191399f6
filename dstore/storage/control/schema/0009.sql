-- The table whose global index a hidden table holds; NULL of a tenant's own tables.
ALTER TABLE table_definition ADD COLUMN base_id TEXT COLLATE "C";
CREATE INDEX table_definition_by_base ON table_definition (base_id, name);
