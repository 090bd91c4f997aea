CREATE TABLE volumes (
    id          BLOB NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    provider_id TEXT UNIQUE,
    region      TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'destroyed')),
    created_at  TEXT NOT NULL
) STRICT;

CREATE TABLE machines (
    id           BLOB NOT NULL PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    provider_id  TEXT UNIQUE,
    region       TEXT,
    state        TEXT NOT NULL,
    state_since  TEXT NOT NULL,
    next_try_at  TEXT NOT NULL,
    failures     INTEGER NOT NULL,
    restarts     INTEGER NOT NULL,
    report_by    TEXT,
    error        TEXT,
    given_up     INTEGER NOT NULL,
    volume_id    BLOB NOT NULL REFERENCES volumes (id),
    repositories TEXT NOT NULL,
    batch        INTEGER NOT NULL,
    idle_since   TEXT,
    created_at   TEXT NOT NULL
) STRICT;
CREATE INDEX machines_existing ON machines (state) WHERE state <> 'destroyed';
CREATE INDEX machines_given_up ON machines (state_since) WHERE given_up;

CREATE TABLE workers (
    id             BLOB NOT NULL PRIMARY KEY,
    machine_id     BLOB UNIQUE REFERENCES machines (id),
    boot           BLOB,
    worker_type    TEXT NOT NULL,
    capacity       INTEGER NOT NULL CHECK (capacity > 0),
    current_load   INTEGER NOT NULL CHECK (current_load >= 0),
    status         TEXT NOT NULL CHECK (status IN ('active', 'idle', 'disabled')),
    last_heartbeat TEXT NOT NULL,
    registered_at  TEXT NOT NULL,
    metadata       TEXT NOT NULL
) STRICT;
CREATE INDEX workers_status ON workers (status);
