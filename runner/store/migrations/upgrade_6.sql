-- From version 6 to version 7: the range of the rows of a batch, so that looking for them does not read the whole run,
-- the length of params that have references to files on disk, and the failed rows of a run by reason.
ALTER TABLE run ADD COLUMN failures TEXT;
ALTER TABLE row ADD COLUMN sent_length INTEGER;
ALTER TABLE batch ADD COLUMN first_row INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN last_row INTEGER NOT NULL DEFAULT 0;
UPDATE batch SET first_row = found.first, last_row = found.last FROM (
    SELECT run, round, batch, min(row) AS first, max(row) AS last FROM row GROUP BY run, round, batch
) AS found WHERE found.run = batch.run AND found.round = batch.round AND found.batch = batch.batch;
