-- From version 1 to version 2.
ALTER TABLE run ADD COLUMN purged_at REAL;
ALTER TABLE run ADD COLUMN recovered_at REAL;
ALTER TABLE run ADD COLUMN rows_sha256 TEXT;
ALTER TABLE run ADD COLUMN spec_sha256 TEXT;
ALTER TABLE batch ADD COLUMN faulty_since REAL;
ALTER TABLE batch ADD COLUMN downloads INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN refused_after INTEGER;
ALTER TABLE batch ADD COLUMN refusal TEXT;
ALTER TABLE batch ADD COLUMN odd TEXT NOT NULL DEFAULT '{}';
ALTER TABLE batch ADD COLUMN results_sha256 TEXT;
ALTER TABLE batch ADD COLUMN search_from REAL;
ALTER TABLE batch ADD COLUMN unknown_since REAL;

CREATE TABLE found (
    run        INTEGER NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    batch_id   TEXT NOT NULL,
    round      INTEGER NOT NULL,
    batch      INTEGER NOT NULL,
    requests   INTEGER NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (run, batch_id)
) STRICT, WITHOUT ROWID;
