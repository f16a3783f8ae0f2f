-- From version 7 to version 8: the figures of `evaluate`, runs of a sample before the whole, and the batch that warms the
-- cache for the others.
ALTER TABLE run ADD COLUMN evaluation TEXT;
ALTER TABLE run ADD COLUMN is_pilot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN is_warmup INTEGER NOT NULL DEFAULT 0;
