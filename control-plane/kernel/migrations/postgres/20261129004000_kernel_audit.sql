CREATE TABLE audit_log (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   UUID,
    at          TIMESTAMPTZ NOT NULL,
    actor       TEXT NOT NULL,
    action      TEXT NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id   TEXT NOT NULL,
    old_values  JSONB NOT NULL,
    new_values  JSONB NOT NULL,
    reason      TEXT
);
CREATE INDEX audit_log_entity ON audit_log (entity_id, seq);
CREATE INDEX audit_log_actor ON audit_log (actor, seq);

ALTER TABLE outbox ADD COLUMN tenant_id UUID;
ALTER TABLE outbox ADD COLUMN snapshot JSONB;
