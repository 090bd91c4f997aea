ALTER TABLE machines ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN former_provider_id TEXT;
ALTER TABLE machines ADD COLUMN image TEXT NOT NULL DEFAULT '';
ALTER TABLE machines ADD COLUMN made_at TIMESTAMPTZ;
ALTER TABLE machines ADD COLUMN executions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN cold_starts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN rung INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN stuck_minutes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN retiring TEXT;

ALTER TABLE volumes ADD COLUMN source_id TEXT;
ALTER TABLE volumes ADD COLUMN released_at TIMESTAMPTZ;
ALTER TABLE volumes ADD COLUMN size_gb INTEGER NOT NULL DEFAULT 0;
CREATE INDEX volumes_released ON volumes (released_at) WHERE released_at IS NOT NULL AND state <> 'destroyed';

CREATE TABLE provider_rests (
    scope TEXT NOT NULL PRIMARY KEY,
    until TIMESTAMPTZ NOT NULL,
    times INTEGER NOT NULL,
    why   TEXT NOT NULL
);

CREATE TABLE orphans (
    provider_id   TEXT NOT NULL PRIMARY KEY,
    kind          TEXT NOT NULL CHECK (kind IN ('machine', 'volume')),
    name          TEXT NOT NULL,
    region        TEXT NOT NULL,
    sightings     INTEGER NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL,
    approved      BOOLEAN NOT NULL,
    reaped_at     TIMESTAMPTZ,
    error         TEXT
);

CREATE TABLE provider_observation (
    id         INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    watched_at TIMESTAMPTZ NOT NULL,
    strangers  INTEGER NOT NULL
);
