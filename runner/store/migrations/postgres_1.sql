ALTER TABLE batch ADD COLUMN account TEXT;
-- A runner of before fails to take a lease: it does not know the column.
ALTER TABLE lease ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE lease ALTER COLUMN version DROP DEFAULT;
