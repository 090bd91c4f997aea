ALTER TABLE workers DROP COLUMN agent_types;
