-- What the local indexes of a range had when that was last noted, as QUANTITY is noted of its entries.
ALTER TABLE range_of_table ADD COLUMN INDEXES TEXT NOT NULL DEFAULT '{}';  -- JSON: name, IndexSize
