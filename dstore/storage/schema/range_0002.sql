-- Replication. `log` may end behind what `v1` shows: records that are durable here, and not yet
-- known to be committed. meta.SEQ and DIGEST say where the log ends, APPLIED_SEQ up to where `v1`,
-- `request` and QUANTITY are; NULL: they are the same.
ALTER TABLE log ADD COLUMN REQUEST BLOB;  -- msgpack of log_records.RequestMark, NULL without one
ALTER TABLE meta ADD COLUMN APPLIED_SEQ INTEGER;
-- The highest epoch that was promised to a primary; every older one is refused for ever.
ALTER TABLE meta ADD COLUMN PROMISED_EPOCH INTEGER NOT NULL DEFAULT 0;
-- The epoch in which this replica was the primary last: what it had promised others was over then.
ALTER TABLE meta ADD COLUMN SERVED_EPOCH INTEGER NOT NULL DEFAULT 0;
-- A copy that is being made is of no use before it has applied so much; NULL: it is no such copy.
ALTER TABLE meta ADD COLUMN WHOLE_SEQ INTEGER;

-- Where each epoch begins in the log, the opening records among them being trimmed or not.
CREATE TABLE epoch (
    EPOCH     INTEGER PRIMARY KEY,
    FIRST_SEQ INTEGER NOT NULL
);
INSERT INTO epoch (EPOCH, FIRST_SEQ) SELECT EPOCH, 1 FROM meta WHERE SEQ > 0;
