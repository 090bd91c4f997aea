-- Which budget of its task ends an execution's command, where that leaves it less time than its timeout.
ALTER TABLE executions ADD COLUMN bounded_by TEXT;
