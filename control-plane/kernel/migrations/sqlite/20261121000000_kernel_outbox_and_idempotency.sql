CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           BLOB NOT NULL UNIQUE,
    event_type   TEXT NOT NULL,
    task_id      BLOB,
    execution_id BLOB,
    payload      TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    processed_at TEXT,
    refused_at   TEXT,
    retry_count  INTEGER NOT NULL,
    dedup_key    TEXT NOT NULL UNIQUE
) STRICT;
CREATE INDEX outbox_pending ON outbox (seq) WHERE processed_at IS NULL AND refused_at IS NULL;
CREATE INDEX outbox_processed ON outbox (processed_at) WHERE processed_at IS NOT NULL;

CREATE TABLE idempotency_keys (
    tenant_id       BLOB NOT NULL,
    idempotency_key TEXT NOT NULL,
    digest          BLOB NOT NULL,
    answer          TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, idempotency_key)
) STRICT;
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
