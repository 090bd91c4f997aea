ALTER TABLE tasks ADD COLUMN project TEXT;
ALTER TABLE tasks ADD COLUMN task_keys JSONB NOT NULL DEFAULT '[]';
-- Names the tasks that share every hold, limit and budget: those of one project with the same keys. Made from
-- both; for tasks without either it is the tenant's id.
ALTER TABLE tasks ADD COLUMN lane_id UUID;
ALTER TABLE tasks ADD COLUMN not_before TIMESTAMPTZ;
ALTER TABLE tasks ADD COLUMN deadline TIMESTAMPTZ;
ALTER TABLE tasks ADD COLUMN overdue_at TIMESTAMPTZ;
-- Until when it cannot start for a reason of its own: its time, a hold on it, its budget.
ALTER TABLE tasks ADD COLUMN parked_until TIMESTAMPTZ;
ALTER TABLE tasks ADD COLUMN budget_micros BIGINT CHECK (budget_micros >= 0);
ALTER TABLE tasks ADD COLUMN budget_machine_seconds BIGINT CHECK (budget_machine_seconds >= 0);
ALTER TABLE tasks ADD COLUMN budget_tokens BIGINT CHECK (budget_tokens >= 0);
ALTER TABLE tasks ADD COLUMN budget_attempts INTEGER CHECK (budget_attempts >= 0);
ALTER TABLE tasks ADD COLUMN spent_micros BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN spent_machine_seconds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN spent_tokens BIGINT NOT NULL DEFAULT 0;
-- Whether money is set aside for it in a budget.
ALTER TABLE tasks ADD COLUMN has_reservation BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE executions ADD COLUMN tokens BIGINT NOT NULL DEFAULT 0;
UPDATE tasks SET lane_id = tenant_id;
CREATE INDEX tasks_lane ON tasks (lane_id, priority DESC, created_at, id)
    WHERE status = 'ready' AND spec IS NOT NULL AND waits_for = 0 AND parked_until IS NULL;
CREATE INDEX tasks_lane_of_notes ON tasks (lane_id, priority DESC, created_at, id)
    WHERE status = 'ready' AND spec IS NULL AND waits_for = 0 AND parked_until IS NULL;
CREATE INDEX tasks_in_hand ON tasks (lane_id) WHERE status IN ('assigned', 'in_progress');
CREATE INDEX tasks_parked ON tasks (parked_until) WHERE parked_until IS NOT NULL AND status = 'ready';
CREATE INDEX tasks_deadline ON tasks (deadline)
    WHERE deadline IS NOT NULL AND overdue_at IS NULL AND status IN ('ready', 'assigned', 'in_progress');

CREATE TABLE holds (
    id         UUID NOT NULL PRIMARY KEY,
    tenant_id  UUID NOT NULL,
    scope      TEXT NOT NULL CHECK (scope IN ('task', 'project', 'key', 'everything')),
    task_id    UUID,
    target     TEXT,
    owner      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    expires_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX holds_tenant ON holds (tenant_id, created_at, id);
CREATE INDEX holds_wide ON holds (tenant_id) WHERE scope <> 'task';
CREATE INDEX holds_task ON holds (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX holds_expiry ON holds (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE key_limits (
    tenant_id        UUID NOT NULL,
    limit_key        TEXT NOT NULL,
    max_running      INTEGER CHECK (max_running >= 0),
    rate_tokens      BIGINT CHECK (rate_tokens > 0),
    rate_per_seconds BIGINT CHECK (rate_per_seconds > 0),
    rate_burst       BIGINT CHECK (rate_burst > 0),
    -- How full the bucket was then, in millionths of a token.
    level_micros     BIGINT NOT NULL,
    level_at         TIMESTAMPTZ NOT NULL,
    updated_at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, limit_key)
);

-- How much of the workers each tenant, and each project in it, was given last: see work::scheduler::order.
CREATE TABLE shares (
    tenant_id UUID NOT NULL,
    scope     TEXT NOT NULL CHECK (scope IN ('tenant', 'project')),
    project   TEXT NOT NULL,
    weight    INTEGER NOT NULL CHECK (weight > 0),
    started   BIGINT,
    PRIMARY KEY (tenant_id, scope, project)
);

CREATE TABLE budgets (
    id                 UUID NOT NULL PRIMARY KEY,
    tenant_id          UUID NOT NULL,
    -- Empty for all tasks of the tenant together.
    project            TEXT NOT NULL,
    period             TEXT NOT NULL CHECK (period IN ('day', 'week', 'month')),
    allocated_micros   BIGINT NOT NULL CHECK (allocated_micros >= 0),
    -- Hundredths of a percent.
    alert_threshold    INTEGER NOT NULL,
    reservation_micros BIGINT,
    period_start       TIMESTAMPTZ NOT NULL,
    spent_micros       BIGINT NOT NULL,
    reserved_micros    BIGINT NOT NULL CHECK (reserved_micros >= 0),
    alerted            BOOLEAN NOT NULL,
    created_at         TIMESTAMPTZ NOT NULL,
    UNIQUE (tenant_id, project, period)
);

-- What is set aside in a budget for a task in somebody's hands.
CREATE TABLE budget_reservations (
    task_id   UUID NOT NULL,
    budget_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    micros    BIGINT NOT NULL,
    PRIMARY KEY (task_id, budget_id)
);
