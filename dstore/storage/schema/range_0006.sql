-- Small values beside the entries, changed by records of the log of the kind 'memo', and so the same
-- in every replica: who reads the log, and how far the logs of other ranges are read into this one.
CREATE TABLE memo (
    NAME  TEXT PRIMARY KEY,
    VALUE BLOB NOT NULL  -- msgpack, see storage/memos.py
) WITHOUT ROWID;
-- Of what a put or delete has replaced, the attributes that readers of the log want; NULL: nobody
-- wanted any. Starts with a format byte, as NEW_IMAGE does.
ALTER TABLE log ADD COLUMN OLD_IMAGE BLOB;
