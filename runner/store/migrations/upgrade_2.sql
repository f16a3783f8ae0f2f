-- From version 2 to version 3.
ALTER TABLE run ADD COLUMN mode TEXT NOT NULL DEFAULT 'batch';
ALTER TABLE run ADD COLUMN started_at REAL;
ALTER TABLE run ADD COLUMN estimated REAL;
ALTER TABLE batch ADD COLUMN lane TEXT NOT NULL DEFAULT 'batch';
ALTER TABLE batch ADD COLUMN reserved REAL;
ALTER TABLE batch ADD COLUMN cost REAL;
ALTER TABLE batch ADD COLUMN synchronous REAL;
ALTER TABLE batch ADD COLUMN canceled_at REAL;
ALTER TABLE row ADD COLUMN digest BLOB;
ALTER TABLE row ADD COLUMN same_as INTEGER;

CREATE INDEX answered ON row (digest) WHERE outcome = 'succeeded';
CREATE INDEX twin ON row (run, same_as) WHERE same_as IS NOT NULL;
