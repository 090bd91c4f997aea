DROP INDEX task_metadata_parents;
DROP INDEX executions_parents;
ALTER TABLE executions DROP COLUMN parent_execution_id;
ALTER TABLE tasks DROP COLUMN version;
