CREATE TABLE outbox (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           UUID NOT NULL UNIQUE,
    event_type   TEXT NOT NULL,
    task_id      UUID,
    execution_id UUID,
    payload      JSONB NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    processed_at TIMESTAMPTZ,
    refused_at   TIMESTAMPTZ,
    retry_count  INTEGER NOT NULL,
    dedup_key    TEXT NOT NULL UNIQUE
);
CREATE INDEX outbox_pending ON outbox (seq) WHERE processed_at IS NULL AND refused_at IS NULL;
CREATE INDEX outbox_processed ON outbox (processed_at) WHERE processed_at IS NOT NULL;

CREATE TABLE idempotency_keys (
    tenant_id       UUID NOT NULL,
    idempotency_key TEXT NOT NULL,
    digest          BYTEA NOT NULL,
    answer          JSONB NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, idempotency_key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
