-- From version 7 to version 8: the figures of `evaluate`, runs of a sample before the whole, and the prompt cache: the
-- marks that the runner sets, the batch that warms the cache for the others, and what all would cost without it.
ALTER TABLE run ADD COLUMN evaluation TEXT;
ALTER TABLE run ADD COLUMN is_pilot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN cache TEXT;
ALTER TABLE batch ADD COLUMN is_warmup INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN cache TEXT;
ALTER TABLE batch ADD COLUMN cache_saving REAL;
