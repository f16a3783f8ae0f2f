-- A state that several projects and machines share, in PostgreSQL. The tables are those of schema.sql; run numbers are
-- unique over all projects, so that whatever belongs to a run needs no name of its project.
CREATE TABLE state_version (version BIGINT NOT NULL);

-- Who may change the runs of a spec, until when by the clock of this server. A lease is taken over after its end, never
-- deleted: `fence` counts how often it was taken. `version` is that of the tables, as its holder knows them.
CREATE TABLE lease (
    project TEXT NOT NULL,
    spec    TEXT NOT NULL,
    owner   TEXT NOT NULL,
    holder  TEXT NOT NULL,
    fence   BIGINT NOT NULL,
    until   TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (project, spec)
);

-- Projects whose runs have moved to a folder on one machine, which has the token.
CREATE TABLE moved (
    project TEXT PRIMARY KEY,
    place   TEXT NOT NULL,
    token   TEXT NOT NULL
);

CREATE TABLE run (
    number      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project     TEXT NOT NULL,
    id          TEXT NOT NULL UNIQUE,
    spec        TEXT NOT NULL,
    spec_path   TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('preparing', 'prepared', 'running', 'finished', 'abandoned')),
    rows        BIGINT NOT NULL DEFAULT 0,
    is_canceled BOOLEAN NOT NULL DEFAULT FALSE,
    created_at  DOUBLE PRECISION NOT NULL,
    finished_at DOUBLE PRECISION,
    sinks       TEXT NOT NULL DEFAULT '[]',
    purged_at   DOUBLE PRECISION,
    recovered_at DOUBLE PRECISION,
    rows_sha256 TEXT,
    spec_sha256 TEXT,
    mode        TEXT NOT NULL DEFAULT 'batch',
    started_at  DOUBLE PRECISION,
    estimated_cost DOUBLE PRECISION,
    failures    TEXT,
    evaluation  TEXT,
    is_pilot    BOOLEAN NOT NULL DEFAULT FALSE,
    cache       TEXT,
    unsent_index TEXT,
    duplicate_index TEXT
);

CREATE INDEX run_of_spec ON run (project, spec);

CREATE TABLE batch (
    run          BIGINT NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    round        BIGINT NOT NULL,
    batch        BIGINT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('prepared', 'submitting', 'submitted', 'ended', 'collected')),
    requests     BIGINT NOT NULL,
    bytes        BIGINT NOT NULL,
    sha256       TEXT NOT NULL,
    intent_at    DOUBLE PRECISION,
    base_url     TEXT,
    batch_id     TEXT UNIQUE,
    search_started_at DOUBLE PRECISION,
    request_id   TEXT,
    workspace_id TEXT,
    created_at   DOUBLE PRECISION,
    ended_at     DOUBLE PRECISION,
    counts       TEXT NOT NULL DEFAULT '{}',
    usage        TEXT NOT NULL DEFAULT '{}',
    not_found_since DOUBLE PRECISION,
    incomplete_downloads BIGINT NOT NULL DEFAULT 0,
    accepted_before_rejection BIGINT,
    rejection    TEXT,
    ignored_lines TEXT NOT NULL DEFAULT '{}',
    results_sha256 TEXT,
    search_from  DOUBLE PRECISION,
    search_started_local DOUBLE PRECISION,
    send_mode    TEXT NOT NULL DEFAULT 'batch',
    reserved_cost DOUBLE PRECISION,
    cost         DOUBLE PRECISION,
    synchronous_cost DOUBLE PRECISION,
    canceled_at  DOUBLE PRECISION,
    assumed_unsent_at   DOUBLE PRECISION,
    incomplete_since DOUBLE PRECISION,
    incomplete_at DOUBLE PRECISION,
    missing_results BIGINT NOT NULL DEFAULT 0,
    doubted_cost DOUBLE PRECISION NOT NULL DEFAULT 0,
    first_row    BIGINT NOT NULL DEFAULT 0,
    last_row     BIGINT NOT NULL DEFAULT 0,
    is_warmup    BOOLEAN NOT NULL DEFAULT FALSE,
    cache        TEXT,
    cache_saving DOUBLE PRECISION,
    request_index TEXT,
    result_index TEXT,
    retries      BIGINT NOT NULL DEFAULT 0,
    account      TEXT,
    queue        TEXT,
    PRIMARY KEY (run, round, batch)
);

CREATE INDEX batch_in_processing ON batch (queue, run, requests, intent_at)
    WHERE state IN ('submitting', 'submitted');

-- Remote batches that looked like one of ours until their results ruled them out.
CREATE TABLE excluded_batch (
    run      BIGINT NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    round    BIGINT NOT NULL,
    batch    BIGINT NOT NULL,
    batch_id TEXT NOT NULL,
    PRIMARY KEY (run, round, batch, batch_id)
);

-- Remote batches that their results identify as part of a run; recorded while its state is recovered.
CREATE TABLE recovered_batch (
    run        BIGINT NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    batch_id   TEXT NOT NULL,
    round      BIGINT NOT NULL,
    batch      BIGINT NOT NULL,
    requests   BIGINT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run, batch_id)
);

-- Number of rows of a run per current outcome.
CREATE TABLE outcome_count (
    run     BIGINT NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    outcome TEXT NOT NULL,
    rows    BIGINT NOT NULL,
    PRIMARY KEY (run, outcome)
);

-- What the receivers of `notify` are told of a run, or of a spec whose run could not begin; recorded with the change
-- that it says. An event is settled once each receiver has it. `mark` tells events of one name apart.
CREATE TABLE event (
    number      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project     TEXT NOT NULL,
    id          TEXT NOT NULL UNIQUE,
    spec        TEXT NOT NULL,
    run         BIGINT REFERENCES run (number) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    mark        TEXT NOT NULL,
    happened_at DOUBLE PRECISION NOT NULL,
    body        TEXT NOT NULL,
    settled_at  DOUBLE PRECISION
);
CREATE INDEX event_pending ON event (project, spec) WHERE settled_at IS NULL;

-- Receivers that have an event which others still wait for; a digest names each, without its password.
CREATE TABLE told (
    event    BIGINT NOT NULL REFERENCES event (number) ON DELETE CASCADE,
    receiver TEXT NOT NULL,
    PRIMARY KEY (event, receiver)
);

-- The queue of the API that a state shares with others, by its name: the fewest requests that were refused, with all in
-- processing, and until when no create is tried that would fill it as much. A hint: it may be lost, and is not moved.
CREATE TABLE queue (
    name     TEXT PRIMARY KEY,
    refused  BIGINT NOT NULL,
    refusals BIGINT NOT NULL,
    until    DOUBLE PRECISION NOT NULL
);

-- Runs that wait for room in a queue, with the requests that each would send next, for as long as they are at work.
CREATE TABLE queue_wait (
    queue TEXT NOT NULL,
    run   BIGINT NOT NULL REFERENCES run (number) ON DELETE CASCADE,
    wants BIGINT NOT NULL,
    since DOUBLE PRECISION NOT NULL,
    until DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (queue, run)
);
