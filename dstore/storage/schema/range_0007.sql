-- When the last record was made that was left out of `log`, wall time in microseconds since 1970; 0:
-- none was since what stands up to THIN_SEQ was carried here from another file.
ALTER TABLE meta ADD COLUMN LEFT_OUT_US INTEGER NOT NULL DEFAULT 0;
