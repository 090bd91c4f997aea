-- What is done by itself when a task fails (row CAIRN-57); a task names its strategy in its metadata.
CREATE TABLE failure_strategies (
    id           BLOB NOT NULL PRIMARY KEY,
    tenant_id    BLOB NOT NULL REFERENCES tenants (id),
    name         TEXT NOT NULL,
    rules        TEXT NOT NULL,
    max_attempts INTEGER NOT NULL CHECK (max_attempts > 0),
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL
) STRICT;
CREATE INDEX failure_strategies_tenant ON failure_strategies (tenant_id, name);
