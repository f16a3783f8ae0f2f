-- Payloads are files in the run's folder. The database holds what must change together, and integers per row.
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
    cache       TEXT
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
    PRIMARY KEY (run, round, batch)
) STRICT, WITHOUT ROWID;

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

-- round and batch are those of the latest attempt; both are 0 for a row that was never sent. Offsets and lengths
-- are bytes: body_* locate the params in that batch's body, result_* the line in its results. digest identifies a
-- request. A row whose request equals that of an earlier row of the run has none, and names that row in duplicate_of.
CREATE TABLE row (
    run           INTEGER NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    row           INTEGER NOT NULL,
    round         INTEGER NOT NULL,
    batch         INTEGER NOT NULL,
    body_offset   INTEGER NOT NULL,
    body_length   INTEGER NOT NULL,
    outcome       TEXT,
    retry         INTEGER NOT NULL DEFAULT 0,
    result_offset INTEGER,
    result_length INTEGER,
    digest        BLOB,
    duplicate_of  INTEGER,
    -- Correction of the byte length for attachments, whose token count does not follow from their size.
    size_adjustment INTEGER NOT NULL DEFAULT 0,
    -- Bytes of the params as they are sent, if the body has references to files instead of their data.
    sent_length   INTEGER,
    PRIMARY KEY (run, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX row_succeeded_digest ON row (digest) WHERE outcome = 'succeeded';
CREATE INDEX row_duplicates ON row (run, duplicate_of) WHERE duplicate_of IS NOT NULL;

-- Number of rows of a run per current outcome, kept in step with `row`.
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
