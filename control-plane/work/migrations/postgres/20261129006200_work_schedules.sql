CREATE TABLE schedules (
    id           UUID NOT NULL PRIMARY KEY,
    tenant_id    UUID NOT NULL,
    name         TEXT NOT NULL,
    cron         TEXT NOT NULL,
    time_zone    TEXT NOT NULL,
    template     JSONB NOT NULL,
    overlap      TEXT NOT NULL CHECK (overlap IN ('skip', 'queue', 'cancel_previous')),
    catch_up     TEXT NOT NULL CHECK (catch_up IN ('one', 'none')),
    paused       BOOLEAN NOT NULL,
    next_at      TIMESTAMPTZ,
    last_at      TIMESTAMPTZ,
    last_task_id UUID,
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX schedules_tenant ON schedules (tenant_id, created_at, id);
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL;

ALTER TABLE tasks ADD COLUMN schedule_id UUID;
ALTER TABLE tasks ADD COLUMN occurrence_at TIMESTAMPTZ;
-- One task for each occurrence, whatever is restarted and however many control planes there are.
CREATE UNIQUE INDEX tasks_occurrence ON tasks (schedule_id, occurrence_at) WHERE schedule_id IS NOT NULL;
