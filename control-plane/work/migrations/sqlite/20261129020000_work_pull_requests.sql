-- The pull request that an execution's work is in (row TEST-BIF-138).
ALTER TABLE executions ADD COLUMN pull_request TEXT;
