DROP INDEX tasks_waiting;
ALTER TABLE tasks DROP COLUMN waits_for;
CREATE INDEX tasks_waiting ON tasks (priority DESC, created_at, id) WHERE status = 'ready' AND spec IS NOT NULL;
DROP TABLE dependencies;
