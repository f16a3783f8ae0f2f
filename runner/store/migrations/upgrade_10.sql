ALTER TABLE batch ADD COLUMN account TEXT;
ALTER TABLE batch ADD COLUMN queue TEXT;

CREATE INDEX batch_in_processing ON batch (queue, run, requests, intent_at)
    WHERE state IN ('submitting', 'submitted');

-- The queue of the API that a state shares with others, by its name: the fewest requests that were refused, with all in
-- processing, and until when no create is tried that would fill it as much. A hint: it may be lost, and is not moved.
CREATE TABLE queue (
    name     TEXT PRIMARY KEY,
    refused  INTEGER NOT NULL,
    refusals INTEGER NOT NULL,
    until    REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Runs that wait for room in a queue, with the requests that each would send next, for as long as they are at work.
CREATE TABLE queue_wait (
    queue TEXT NOT NULL,
    run   INTEGER NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    wants INTEGER NOT NULL,
    since REAL NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (queue, run)
) STRICT, WITHOUT ROWID;
