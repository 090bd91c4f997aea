CREATE TABLE dependencies (
    id                 UUID NOT NULL PRIMARY KEY,
    tenant_id          UUID NOT NULL,
    task_id            UUID NOT NULL REFERENCES tasks (id),
    depends_on_task_id UUID NOT NULL REFERENCES tasks (id),
    dependency_type    TEXT NOT NULL CHECK (dependency_type IN ('hard', 'soft')),
    created_at         TIMESTAMPTZ NOT NULL,
    UNIQUE (task_id, depends_on_task_id),
    CHECK (task_id <> depends_on_task_id)
);
CREATE INDEX dependencies_needed ON dependencies (depends_on_task_id, task_id);

-- How many tasks that it needs (hard) are not completed: the ready set needs no walk.
ALTER TABLE tasks ADD COLUMN waits_for INTEGER NOT NULL DEFAULT 0 CHECK (waits_for >= 0);
DROP INDEX tasks_waiting;
CREATE INDEX tasks_waiting ON tasks (priority DESC, created_at, id)
    WHERE status = 'ready' AND spec IS NOT NULL AND waits_for = 0;
