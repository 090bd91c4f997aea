CREATE TABLE tasks (
    id                  BLOB NOT NULL PRIMARY KEY,
    tenant_id           BLOB NOT NULL REFERENCES tenants (id),
    title               TEXT NOT NULL,
    description         TEXT NOT NULL,
    status              TEXT NOT NULL,
    priority            INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 5),
    effort_estimate     INTEGER CHECK (effort_estimate >= 0),
    spec                TEXT,
    repository          TEXT,
    attempts            INTEGER NOT NULL,
    losses              INTEGER NOT NULL,
    retry_count         INTEGER NOT NULL,
    cancel_requested_at TEXT,
    execution_id        BLOB,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_status ON tasks (status);
CREATE INDEX tasks_priority ON tasks (tenant_id, priority DESC, created_at, id);
CREATE INDEX tasks_waiting ON tasks (priority DESC, created_at, id) WHERE status = 'ready' AND spec IS NOT NULL;
CREATE INDEX tasks_cancelling ON tasks (id) WHERE cancel_requested_at IS NOT NULL;

CREATE TABLE executions (
    id               BLOB NOT NULL PRIMARY KEY,
    tenant_id        BLOB NOT NULL,
    task_id          BLOB NOT NULL REFERENCES tasks (id),
    number           INTEGER NOT NULL,
    agent_type       TEXT NOT NULL,
    worker_id        BLOB NOT NULL,
    assigned_at      TEXT NOT NULL,
    started_at       TEXT,
    completed_at     TEXT,
    lease_until      TEXT,
    duration_seconds INTEGER,
    cost_micros      INTEGER NOT NULL,
    success          INTEGER,
    outcome          TEXT,
    exit_code        INTEGER,
    exit_signal      INTEGER,
    failure          TEXT,
    error_message    TEXT,
    commit_sha       TEXT,
    phases           TEXT NOT NULL,
    UNIQUE (task_id, number)
) STRICT;
CREATE INDEX executions_open ON executions (worker_id) WHERE completed_at IS NULL;
CREATE INDEX executions_leases ON executions (lease_until) WHERE completed_at IS NULL;
