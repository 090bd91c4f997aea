ALTER TABLE executions DROP COLUMN tests;
ALTER TABLE tasks DROP COLUMN machine_id;
DROP TABLE checkpoints;
