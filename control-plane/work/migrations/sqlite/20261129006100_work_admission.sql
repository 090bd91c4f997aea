ALTER TABLE tasks ADD COLUMN project TEXT;
ALTER TABLE tasks ADD COLUMN task_keys TEXT NOT NULL DEFAULT '[]';
-- Names the tasks that share every hold, limit and budget: those of one project with the same keys. Made from
-- both; for tasks without either it is the tenant's id.
ALTER TABLE tasks ADD COLUMN lane_id BLOB;
ALTER TABLE tasks ADD COLUMN not_before TEXT;
ALTER TABLE tasks ADD COLUMN deadline TEXT;
ALTER TABLE tasks ADD COLUMN overdue_at TEXT;
-- Until when it cannot start for a reason of its own: its time, a hold on it, its budget.
ALTER TABLE tasks ADD COLUMN parked_until TEXT;
ALTER TABLE tasks ADD COLUMN budget_micros INTEGER CHECK (budget_micros >= 0);
ALTER TABLE tasks ADD COLUMN budget_machine_seconds INTEGER CHECK (budget_machine_seconds >= 0);
ALTER TABLE tasks ADD COLUMN budget_tokens INTEGER CHECK (budget_tokens >= 0);
ALTER TABLE tasks ADD COLUMN budget_attempts INTEGER CHECK (budget_attempts >= 0);
ALTER TABLE tasks ADD COLUMN spent_micros INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN spent_machine_seconds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN spent_tokens INTEGER NOT NULL DEFAULT 0;
-- Whether money is set aside for it in a budget.
ALTER TABLE tasks ADD COLUMN has_reservation INTEGER NOT NULL DEFAULT FALSE;
ALTER TABLE executions ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
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
    id         BLOB NOT NULL PRIMARY KEY,
    tenant_id  BLOB NOT NULL,
    scope      TEXT NOT NULL CHECK (scope IN ('task', 'project', 'key', 'everything')),
    task_id    BLOB,
    target     TEXT,
    owner      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    expires_at TEXT,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX holds_tenant ON holds (tenant_id, created_at, id);
CREATE INDEX holds_wide ON holds (tenant_id) WHERE scope <> 'task';
CREATE INDEX holds_task ON holds (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX holds_expiry ON holds (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE key_limits (
    tenant_id        BLOB NOT NULL,
    limit_key        TEXT NOT NULL,
    max_running      INTEGER CHECK (max_running >= 0),
    rate_tokens      INTEGER CHECK (rate_tokens > 0),
    rate_per_seconds INTEGER CHECK (rate_per_seconds > 0),
    rate_burst       INTEGER CHECK (rate_burst > 0),
    -- How full the bucket was then, in millionths of a token.
    level_micros     INTEGER NOT NULL,
    level_at         TEXT NOT NULL,
    updated_at       TEXT NOT NULL,
    PRIMARY KEY (tenant_id, limit_key)
) STRICT;

-- How much of the workers each tenant, and each project in it, was given last: see work::scheduler::order.
CREATE TABLE shares (
    tenant_id BLOB NOT NULL,
    scope     TEXT NOT NULL CHECK (scope IN ('tenant', 'project')),
    project   TEXT NOT NULL,
    weight    INTEGER NOT NULL CHECK (weight > 0),
    started   INTEGER,
    PRIMARY KEY (tenant_id, scope, project)
) STRICT;

CREATE TABLE budgets (
    id                 BLOB NOT NULL PRIMARY KEY,
    tenant_id          BLOB NOT NULL,
    -- Empty for all tasks of the tenant together.
    project            TEXT NOT NULL,
    period             TEXT NOT NULL CHECK (period IN ('day', 'week', 'month')),
    allocated_micros   INTEGER NOT NULL CHECK (allocated_micros >= 0),
    -- Hundredths of a percent.
    alert_threshold    INTEGER NOT NULL,
    reservation_micros INTEGER,
    period_start       TEXT NOT NULL,
    spent_micros       INTEGER NOT NULL,
    reserved_micros    INTEGER NOT NULL CHECK (reserved_micros >= 0),
    alerted            INTEGER NOT NULL,
    created_at         TEXT NOT NULL,
    UNIQUE (tenant_id, project, period)
) STRICT;

-- What is set aside in a budget for a task in somebody's hands.
CREATE TABLE budget_reservations (
    task_id   BLOB NOT NULL,
    budget_id BLOB NOT NULL,
    tenant_id BLOB NOT NULL,
    micros    INTEGER NOT NULL,
    PRIMARY KEY (task_id, budget_id)
) STRICT;
