CREATE TABLE volumes (
    id          UUID NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    provider_id TEXT UNIQUE,
    region      TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'destroyed')),
    created_at  TIMESTAMPTZ NOT NULL
);

CREATE TABLE machines (
    id           UUID NOT NULL PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    provider_id  TEXT UNIQUE,
    region       TEXT,
    state        TEXT NOT NULL,
    state_since  TIMESTAMPTZ NOT NULL,
    next_try_at  TIMESTAMPTZ NOT NULL,
    failures     INTEGER NOT NULL,
    restarts     INTEGER NOT NULL,
    report_by    TIMESTAMPTZ,
    error        TEXT,
    given_up     BOOLEAN NOT NULL,
    volume_id    UUID NOT NULL REFERENCES volumes (id),
    repositories JSONB NOT NULL,
    batch        BIGINT NOT NULL,
    idle_since   TIMESTAMPTZ,
    created_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX machines_existing ON machines (state) WHERE state <> 'destroyed';
CREATE INDEX machines_given_up ON machines (state_since) WHERE given_up;

CREATE TABLE workers (
    id             UUID NOT NULL PRIMARY KEY,
    machine_id     UUID UNIQUE REFERENCES machines (id),
    boot           UUID,
    worker_type    TEXT NOT NULL,
    capacity       INTEGER NOT NULL CHECK (capacity > 0),
    current_load   INTEGER NOT NULL CHECK (current_load >= 0),
    status         TEXT NOT NULL CHECK (status IN ('active', 'idle', 'disabled')),
    last_heartbeat TIMESTAMPTZ NOT NULL,
    registered_at  TIMESTAMPTZ NOT NULL,
    metadata       JSONB NOT NULL
);
CREATE INDEX workers_status ON workers (status);
