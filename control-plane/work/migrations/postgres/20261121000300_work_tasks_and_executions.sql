CREATE TABLE tasks (
    id                  UUID NOT NULL PRIMARY KEY,
    tenant_id           UUID NOT NULL REFERENCES tenants (id),
    title               TEXT NOT NULL,
    description         TEXT NOT NULL,
    status              TEXT NOT NULL,
    priority            SMALLINT NOT NULL CHECK (priority BETWEEN 1 AND 5),
    effort_estimate     INTEGER CHECK (effort_estimate >= 0),
    spec                JSONB,
    repository          TEXT,
    attempts            INTEGER NOT NULL,
    losses              INTEGER NOT NULL,
    retry_count         INTEGER NOT NULL,
    cancel_requested_at TIMESTAMPTZ,
    execution_id        UUID,
    created_at          TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL
);
CREATE INDEX tasks_status ON tasks (status);
CREATE INDEX tasks_priority ON tasks (tenant_id, priority DESC, created_at, id);
CREATE INDEX tasks_waiting ON tasks (priority DESC, created_at, id) WHERE status = 'ready' AND spec IS NOT NULL;
CREATE INDEX tasks_cancelling ON tasks (id) WHERE cancel_requested_at IS NOT NULL;

CREATE TABLE executions (
    id               UUID NOT NULL PRIMARY KEY,
    tenant_id        UUID NOT NULL,
    task_id          UUID NOT NULL REFERENCES tasks (id),
    number           INTEGER NOT NULL,
    agent_type       TEXT NOT NULL,
    worker_id        UUID NOT NULL,
    assigned_at      TIMESTAMPTZ NOT NULL,
    started_at       TIMESTAMPTZ,
    completed_at     TIMESTAMPTZ,
    lease_until      TIMESTAMPTZ,
    duration_seconds BIGINT,
    cost_micros      BIGINT NOT NULL,
    success          BOOLEAN,
    outcome          TEXT,
    exit_code        INTEGER,
    exit_signal      INTEGER,
    failure          TEXT,
    error_message    TEXT,
    commit_sha       TEXT,
    phases           JSONB NOT NULL,
    UNIQUE (task_id, number)
);
CREATE INDEX executions_open ON executions (worker_id) WHERE completed_at IS NULL;
CREATE INDEX executions_leases ON executions (lease_until) WHERE completed_at IS NULL;
