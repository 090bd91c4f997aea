DROP TABLE task_places;
DROP TABLE task_outcomes;
-- The older schema knows neither other conditions nor groups: what it cannot hold is let go.
CREATE TABLE dependencies_on_completion (
    id                 BLOB NOT NULL PRIMARY KEY,
    tenant_id          BLOB NOT NULL,
    task_id            BLOB NOT NULL REFERENCES tasks (id),
    depends_on_task_id BLOB NOT NULL REFERENCES tasks (id),
    dependency_type    TEXT NOT NULL CHECK (dependency_type IN ('hard', 'soft')),
    created_at         TEXT NOT NULL,
    UNIQUE (task_id, depends_on_task_id),
    CHECK (task_id <> depends_on_task_id)
) STRICT;
INSERT INTO dependencies_on_completion
    SELECT id, tenant_id, task_id, depends_on_task_id, dependency_type, created_at
    FROM dependencies WHERE condition = 'completed' AND group_label IS NULL;
DROP TABLE dependencies;
ALTER TABLE dependencies_on_completion RENAME TO dependencies;
CREATE INDEX dependencies_needed ON dependencies (depends_on_task_id, task_id);
UPDATE tasks SET waits_for = (SELECT count(*) FROM dependencies d JOIN tasks n ON n.id = d.depends_on_task_id
    WHERE d.task_id = tasks.id AND d.dependency_type = 'hard' AND n.status <> 'completed');
