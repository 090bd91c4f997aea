CREATE TABLE webhooks (
    id                    UUID NOT NULL PRIMARY KEY,
    tenant_id             UUID NOT NULL,
    url                   TEXT NOT NULL,
    event_types           TEXT NOT NULL,
    description           TEXT NOT NULL,
    active                BOOLEAN NOT NULL,
    deactivated_reason    TEXT,
    rest_until            TIMESTAMPTZ,
    rotation              INTEGER NOT NULL,
    sealed_secret         BYTEA,
    previous_sealed       BYTEA,
    previous_secret_until TIMESTAMPTZ,
    from_place            BIGINT NOT NULL,
    created_at            TIMESTAMPTZ NOT NULL,
    updated_at            TIMESTAMPTZ NOT NULL
);
CREATE INDEX webhooks_tenant ON webhooks (tenant_id);

-- What is to be sent to each webhook, and what was.
CREATE TABLE webhook_messages (
    id           UUID NOT NULL PRIMARY KEY,
    tenant_id    UUID NOT NULL,
    webhook_id   UUID NOT NULL REFERENCES webhooks (id),
    place        BIGINT NOT NULL,
    event_id     UUID NOT NULL,
    event_type   TEXT NOT NULL,
    task_id      UUID,
    body         TEXT NOT NULL,
    state        TEXT NOT NULL,
    attempts     INTEGER NOT NULL,
    next_try_at  TIMESTAMPTZ NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    UNIQUE (webhook_id, event_id)
);
CREATE INDEX webhook_messages_pending ON webhook_messages (webhook_id, place) WHERE state = 'pending';
CREATE INDEX webhook_messages_of_task ON webhook_messages (webhook_id, task_id, place) WHERE state = 'pending';
CREATE INDEX webhook_messages_age ON webhook_messages (created_at);

-- Every attempt (row CAIRN-41).
CREATE TABLE webhook_deliveries (
    id            UUID NOT NULL PRIMARY KEY,
    tenant_id     UUID NOT NULL,
    webhook_id    UUID NOT NULL REFERENCES webhooks (id),
    event_id      UUID NOT NULL,
    event_type    TEXT NOT NULL,
    attempt       INTEGER NOT NULL,
    delivered_at  TIMESTAMPTZ NOT NULL,
    duration_ms   BIGINT NOT NULL,
    status_code   INTEGER,
    response_body TEXT,
    error_message TEXT
);
CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (delivered_at);

-- Up to which place of the outbox webhooks have been given their messages.
CREATE TABLE webhook_progress (
    id    INTEGER NOT NULL PRIMARY KEY,
    place BIGINT NOT NULL
);
INSERT INTO webhook_progress (id, place) VALUES (1, 0);
