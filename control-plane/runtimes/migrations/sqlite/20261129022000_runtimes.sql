-- Agents' terminals on people's computers (rows ORK-6.1a to ORK-6.1d).
CREATE TABLE runtimes (
    id                BLOB NOT NULL PRIMARY KEY,
    tenant_id         BLOB NOT NULL,
    session_id        TEXT NOT NULL,
    agent             TEXT NOT NULL,
    host              TEXT NOT NULL,
    pid               INTEGER NOT NULL,
    backend           TEXT NOT NULL CHECK (backend IN ('tmux', 'pty')),
    target            TEXT NOT NULL,
    management        TEXT NOT NULL CHECK (management IN ('managed', 'unmanaged')),
    can_resume        INTEGER NOT NULL,
    task_id           BLOB,
    paused            TEXT,
    read_cursor       INTEGER NOT NULL,
    last_number       INTEGER NOT NULL,
    registered_at     TEXT NOT NULL,
    last_heartbeat_at TEXT NOT NULL,
    gone_at           TEXT,
    UNIQUE (tenant_id, session_id)
) STRICT;
CREATE INDEX runtimes_silence ON runtimes (last_heartbeat_at);

-- Words for their agents (rows ORK-6.3a to ORK-6.4e).
CREATE TABLE triggers (
    id         BLOB NOT NULL PRIMARY KEY,
    tenant_id  BLOB NOT NULL,
    runtime_id BLOB NOT NULL REFERENCES runtimes (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    content    TEXT NOT NULL,
    dedupe_key TEXT,
    forced     INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('pending', 'written', 'delivered', 'failed')),
    reason     TEXT NOT NULL,
    via        TEXT CHECK (via IN ('terminal', 'resume')),
    attempts   INTEGER NOT NULL,
    not_before TEXT,
    created_at TEXT NOT NULL,
    written_at TEXT,
    ended_at   TEXT,
    UNIQUE (runtime_id, number)
) STRICT;
CREATE INDEX triggers_open ON triggers (runtime_id, number) WHERE ended_at IS NULL;
CREATE INDEX triggers_due ON triggers (created_at) WHERE ended_at IS NULL;
CREATE INDEX triggers_keys ON triggers (runtime_id, dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE INDEX triggers_ended ON triggers (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX triggers_waiting ON triggers (tenant_id, runtime_id) WHERE ended_at IS NULL;
CREATE INDEX triggers_recent ON triggers (runtime_id, created_at);
