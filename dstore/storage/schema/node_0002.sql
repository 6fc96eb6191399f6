-- Several ranges of a table, placed here by a control: each in its epoch, and its file's key wrapped
-- with the share of that control, if there is one.
ALTER TABLE tenant ADD COLUMN TENANT_ID TEXT;  -- control's UUID of the tenant; NULL: there is none
ALTER TABLE range_of_table ADD COLUMN EPOCH INTEGER NOT NULL DEFAULT 1;
-- The control plane whose (tenant, control) share is part of the key that wraps FILE_KEY.
ALTER TABLE range_of_table ADD COLUMN ENROLMENT TEXT NOT NULL DEFAULT 'stand-alone';
