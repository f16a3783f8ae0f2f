-- From version 8 to version 9: what the receivers of `notify` are told.
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
