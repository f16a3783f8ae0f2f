-- Payloads, and where each of them is, are files in the run's folder. The database holds what must change together.
CREATE TABLE run (
    number      INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    spec        TEXT NOT NULL,
    spec_path   TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('preparing', 'prepared', 'running', 'finished', 'abandoned')),
    rows        INTEGER NOT NULL DEFAULT 0,
    is_canceled INTEGER NOT NULL DEFAULT 0,
    created_at  REAL NOT NULL,
    finished_at REAL,
    sinks       TEXT NOT NULL DEFAULT '[]',
    purged_at   REAL,
    recovered_at REAL,
    rows_sha256 TEXT,
    spec_sha256 TEXT,
    mode        TEXT NOT NULL DEFAULT 'batch',
    started_at  REAL,
    estimated_cost REAL,
    failures    TEXT,
    evaluation  TEXT,
    is_pilot    INTEGER NOT NULL DEFAULT 0,
    cache       TEXT,
    unsent_index TEXT,
    duplicate_index TEXT
) STRICT;

CREATE TABLE batch (
    run          INTEGER NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    round        INTEGER NOT NULL,
    batch        INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('prepared', 'submitting', 'submitted', 'ended', 'collected')),
    requests     INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    sha256       TEXT NOT NULL,
    intent_at    REAL,
    base_url     TEXT,
    batch_id     TEXT UNIQUE,
    search_started_at REAL,
    request_id   TEXT,
    workspace_id TEXT,
    created_at   REAL,
    ended_at     REAL,
    counts       TEXT NOT NULL DEFAULT '{}',
    usage        TEXT NOT NULL DEFAULT '{}',
    not_found_since REAL,
    incomplete_downloads INTEGER NOT NULL DEFAULT 0,
    accepted_before_rejection INTEGER,
    rejection    TEXT,
    ignored_lines TEXT NOT NULL DEFAULT '{}',
    results_sha256 TEXT,
    search_from  REAL,
    search_started_local REAL,
    send_mode    TEXT NOT NULL DEFAULT 'batch',
    reserved_cost REAL,
    cost         REAL,
    synchronous_cost REAL,
    canceled_at  REAL,
    assumed_unsent_at   REAL,
    incomplete_since REAL,
    incomplete_at REAL,
    missing_results INTEGER NOT NULL DEFAULT 0,
    doubted_cost REAL NOT NULL DEFAULT 0,
    first_row    INTEGER NOT NULL DEFAULT 0,
    last_row     INTEGER NOT NULL DEFAULT 0,
    is_warmup    INTEGER NOT NULL DEFAULT 0,
    cache        TEXT,
    cache_saving REAL,
    request_index TEXT,
    result_index TEXT,
    retries      INTEGER NOT NULL DEFAULT 0,
    account      TEXT,
    queue        TEXT,
    PRIMARY KEY (run, round, batch)
) STRICT, WITHOUT ROWID;

CREATE INDEX batch_in_processing ON batch (queue, run, requests, intent_at)
    WHERE state IN ('submitting', 'submitted');

-- Remote batches that looked like one of ours until their results ruled them out.
CREATE TABLE excluded_batch (
    run      INTEGER NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    round    INTEGER NOT NULL,
    batch    INTEGER NOT NULL,
    batch_id TEXT NOT NULL,
    PRIMARY KEY (run, round, batch, batch_id)
) STRICT, WITHOUT ROWID;

-- Remote batches that their results identify as part of a run; recorded while its state is recovered.
CREATE TABLE recovered_batch (
    run        INTEGER NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    batch_id   TEXT NOT NULL,
    round      INTEGER NOT NULL,
    batch      INTEGER NOT NULL,
    requests   INTEGER NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (run, batch_id)
) STRICT, WITHOUT ROWID;

-- Number of rows of a run per current outcome.
CREATE TABLE outcome_count (
    run     INTEGER NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    outcome TEXT NOT NULL,
    rows    INTEGER NOT NULL,
    PRIMARY KEY (run, outcome)
) STRICT, WITHOUT ROWID;

-- What the receivers of `notify` are told of a run, or of a spec whose run could not begin; recorded with the change
-- that it says. An event is settled once each receiver has it. `mark` tells events of one name apart.
CREATE TABLE event (
    number      INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    spec        TEXT NOT NULL,
    run         INTEGER REFERENCES run (number) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    mark        TEXT NOT NULL,
    happened_at REAL NOT NULL,
    body        TEXT NOT NULL,
    settled_at  REAL
) STRICT;
CREATE INDEX event_pending ON event (spec) WHERE settled_at IS NULL;

-- Receivers that have an event which others still wait for; a digest names each, without its password.
CREATE TABLE told (
    event    INTEGER NOT NULL REFERENCES event (number) ON DELETE CASCADE,
    receiver TEXT NOT NULL,
    PRIMARY KEY (event, receiver)
) STRICT, WITHOUT ROWID;

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
