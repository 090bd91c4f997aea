-- The tasks of one project as lists show them.
CREATE INDEX tasks_project ON tasks (tenant_id, project, priority DESC, created_at, id) WHERE project IS NOT NULL;

-- Where a task stands is one of these (row T-1.11a). SQLite cannot add a CHECK to a table that is there.
CREATE TRIGGER tasks_status_of_new BEFORE INSERT ON tasks
WHEN NEW.status NOT IN ('ready', 'assigned', 'in_progress', 'completed', 'failed', 'split', 'cancelled')
BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: tasks.status'); END;
CREATE TRIGGER tasks_status_of_changed BEFORE UPDATE OF status ON tasks
WHEN NEW.status NOT IN ('ready', 'assigned', 'in_progress', 'completed', 'failed', 'split', 'cancelled')
BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: tasks.status'); END;
