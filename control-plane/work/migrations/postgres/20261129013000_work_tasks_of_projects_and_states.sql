-- The tasks of one project as lists show them.
CREATE INDEX tasks_project ON tasks (tenant_id, project, priority DESC, created_at, id) WHERE project IS NOT NULL;

-- Where a task stands is one of these (row T-1.11a).
ALTER TABLE tasks ADD CONSTRAINT tasks_status_check
    CHECK (status IN ('ready', 'assigned', 'in_progress', 'completed', 'failed', 'split', 'cancelled'));
