ALTER TABLE executions DROP COLUMN pull_request;
