CREATE TABLE task_metadata (
    id             UUID NOT NULL PRIMARY KEY,
    tenant_id      UUID NOT NULL,
    task_id        UUID NOT NULL REFERENCES tasks (id),
    metadata_key   TEXT NOT NULL,
    metadata_value TEXT NOT NULL,
    created_at     TIMESTAMPTZ NOT NULL,
    UNIQUE (task_id, metadata_key)
);
CREATE INDEX task_metadata_keys ON task_metadata (tenant_id, metadata_key);
