DROP INDEX workers_names;
ALTER TABLE workers DROP COLUMN name;
ALTER TABLE workers DROP COLUMN tenant_id;
