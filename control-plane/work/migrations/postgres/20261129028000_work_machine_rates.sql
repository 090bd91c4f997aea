-- What a second on an execution's machine costs, in picodollars; nothing where that is not known.
ALTER TABLE executions ADD COLUMN machine_rate BIGINT;
