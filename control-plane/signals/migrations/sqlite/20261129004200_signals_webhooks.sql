CREATE TABLE webhooks (
    id                    BLOB NOT NULL PRIMARY KEY,
    tenant_id             BLOB NOT NULL,
    url                   TEXT NOT NULL,
    event_types           TEXT NOT NULL,
    description           TEXT NOT NULL,
    active                INTEGER NOT NULL,
    deactivated_reason    TEXT,
    rest_until            TEXT,
    rotation              INTEGER NOT NULL,
    sealed_secret         BLOB,
    previous_sealed       BLOB,
    previous_secret_until TEXT,
    from_place            INTEGER NOT NULL,
    created_at            TEXT NOT NULL,
    updated_at            TEXT NOT NULL
) STRICT;
CREATE INDEX webhooks_tenant ON webhooks (tenant_id);

-- What is to be sent to each webhook, and what was.
CREATE TABLE webhook_messages (
    id           BLOB NOT NULL PRIMARY KEY,
    tenant_id    BLOB NOT NULL,
    webhook_id   BLOB NOT NULL REFERENCES webhooks (id),
    place        INTEGER NOT NULL,
    event_id     BLOB NOT NULL,
    event_type   TEXT NOT NULL,
    task_id      BLOB,
    body         TEXT NOT NULL,
    state        TEXT NOT NULL,
    attempts     INTEGER NOT NULL,
    next_try_at  TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    UNIQUE (webhook_id, event_id)
) STRICT;
CREATE INDEX webhook_messages_pending ON webhook_messages (webhook_id, place) WHERE state = 'pending';
CREATE INDEX webhook_messages_of_task ON webhook_messages (webhook_id, task_id, place) WHERE state = 'pending';
CREATE INDEX webhook_messages_age ON webhook_messages (created_at);

-- Every attempt (row CAIRN-41).
CREATE TABLE webhook_deliveries (
    id            BLOB NOT NULL PRIMARY KEY,
    tenant_id     BLOB NOT NULL,
    webhook_id    BLOB NOT NULL REFERENCES webhooks (id),
    event_id      BLOB NOT NULL,
    event_type    TEXT NOT NULL,
    attempt       INTEGER NOT NULL,
    delivered_at  TEXT NOT NULL,
    duration_ms   INTEGER NOT NULL,
    status_code   INTEGER,
    response_body TEXT,
    error_message TEXT
) STRICT;
CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (delivered_at);

-- Up to which place of the outbox webhooks have been given their messages.
CREATE TABLE webhook_progress (
    id    INTEGER NOT NULL PRIMARY KEY,
    place INTEGER NOT NULL
) STRICT;
INSERT INTO webhook_progress (id, place) VALUES (1, 0);
