-- Moves with every change that a person could overwrite unseen.
ALTER TABLE tasks ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

-- The execution whose work another is a part of.
ALTER TABLE executions ADD COLUMN parent_execution_id BLOB;
CREATE INDEX executions_parents ON executions (parent_execution_id) WHERE parent_execution_id IS NOT NULL;
CREATE INDEX task_metadata_parents ON task_metadata (tenant_id, substr(metadata_value, 1, 36))
    WHERE metadata_key = 'parent_task_id';
