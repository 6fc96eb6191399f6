-- How much is in a local index, kept with its rows: how many there are, and the bytes of their keys.
ALTER TABLE derivation ADD COLUMN ENTRIES INTEGER NOT NULL DEFAULT 0;
ALTER TABLE derivation ADD COLUMN SIZE_BYTES INTEGER NOT NULL DEFAULT 0;
UPDATE derivation SET (ENTRIES, SIZE_BYTES) = (
    SELECT COUNT(*), IFNULL(SUM(LENGTH(KEY) + LENGTH(RID_ID)), 0)
    FROM derived WHERE DERIVATION = derivation.ID
) WHERE KIND = 'local_index';
