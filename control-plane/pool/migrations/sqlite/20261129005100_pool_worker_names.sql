-- A worker that claims tasks is known by a name, which is one tenant's own.
ALTER TABLE workers ADD COLUMN tenant_id BLOB;
ALTER TABLE workers ADD COLUMN name TEXT;
CREATE UNIQUE INDEX workers_names ON workers (tenant_id, name);
