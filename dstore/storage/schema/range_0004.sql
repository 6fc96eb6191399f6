-- Up to this record, included, a put may stand in `log` without its NEW_IMAGE: nobody wanted it.
ALTER TABLE meta ADD COLUMN THIN_SEQ INTEGER NOT NULL DEFAULT 0;
