-- Joining a control plane wraps the keys of tenants' files with its share, and then writes the files
-- anew under keys that never were wrapped without it.
-- The control plane under which the file's data key was drawn.
ALTER TABLE range_of_table ADD COLUMN DRAWN_UNDER TEXT NOT NULL DEFAULT 'stand-alone';
