-- Nothing bounds a tenant: the column only ever held {}.
ALTER TABLE tenant DROP COLUMN limits;
