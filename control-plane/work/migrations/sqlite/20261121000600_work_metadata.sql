CREATE TABLE task_metadata (
    id             BLOB NOT NULL PRIMARY KEY,
    tenant_id      BLOB NOT NULL,
    task_id        BLOB NOT NULL REFERENCES tasks (id),
    metadata_key   TEXT NOT NULL,
    metadata_value TEXT NOT NULL,
    created_at     TEXT NOT NULL,
    UNIQUE (task_id, metadata_key)
) STRICT;
CREATE INDEX task_metadata_keys ON task_metadata (tenant_id, metadata_key);
