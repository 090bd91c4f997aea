ALTER TABLE executions DROP COLUMN bounded_by;
