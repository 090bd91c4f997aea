-- What is done by itself when a task fails (row CAIRN-57); a task names its strategy in its metadata.
CREATE TABLE failure_strategies (
    id           UUID NOT NULL PRIMARY KEY,
    tenant_id    UUID NOT NULL REFERENCES tenants (id),
    name         TEXT NOT NULL,
    rules        JSONB NOT NULL,
    max_attempts INTEGER NOT NULL CHECK (max_attempts > 0),
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX failure_strategies_tenant ON failure_strategies (tenant_id, name);
