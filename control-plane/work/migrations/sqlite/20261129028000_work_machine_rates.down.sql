ALTER TABLE executions DROP COLUMN machine_rate;
