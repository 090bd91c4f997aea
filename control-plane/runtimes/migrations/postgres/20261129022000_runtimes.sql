-- Agents' terminals on people's computers (rows ORK-6.1a to ORK-6.1d).
CREATE TABLE runtimes (
    id                UUID NOT NULL PRIMARY KEY,
    tenant_id         UUID NOT NULL,
    session_id        TEXT NOT NULL,
    agent             TEXT NOT NULL,
    host              TEXT NOT NULL,
    pid               BIGINT NOT NULL,
    backend           TEXT NOT NULL CHECK (backend IN ('tmux', 'pty')),
    target            TEXT NOT NULL,
    management        TEXT NOT NULL CHECK (management IN ('managed', 'unmanaged')),
    can_resume        BOOLEAN NOT NULL,
    task_id           UUID,
    paused            TEXT,
    read_cursor       BIGINT NOT NULL,
    last_number       BIGINT NOT NULL,
    registered_at     TIMESTAMPTZ NOT NULL,
    last_heartbeat_at TIMESTAMPTZ NOT NULL,
    gone_at           TIMESTAMPTZ,
    UNIQUE (tenant_id, session_id)
);
CREATE INDEX runtimes_silence ON runtimes (last_heartbeat_at);

-- Words for their agents (rows ORK-6.3a to ORK-6.4e).
CREATE TABLE triggers (
    id         UUID NOT NULL PRIMARY KEY,
    tenant_id  UUID NOT NULL,
    runtime_id UUID NOT NULL REFERENCES runtimes (id) ON DELETE CASCADE,
    number     BIGINT NOT NULL,
    content    TEXT NOT NULL,
    dedupe_key TEXT,
    forced     BOOLEAN NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('pending', 'written', 'delivered', 'failed')),
    reason     TEXT NOT NULL,
    via        TEXT CHECK (via IN ('terminal', 'resume')),
    attempts   INTEGER NOT NULL,
    not_before TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    written_at TIMESTAMPTZ,
    ended_at   TIMESTAMPTZ,
    UNIQUE (runtime_id, number)
);
CREATE INDEX triggers_open ON triggers (runtime_id, number) WHERE ended_at IS NULL;
CREATE INDEX triggers_due ON triggers (created_at) WHERE ended_at IS NULL;
CREATE INDEX triggers_keys ON triggers (runtime_id, dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE INDEX triggers_ended ON triggers (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX triggers_waiting ON triggers (tenant_id, runtime_id) WHERE ended_at IS NULL;
CREATE INDEX triggers_recent ON triggers (runtime_id, created_at);
