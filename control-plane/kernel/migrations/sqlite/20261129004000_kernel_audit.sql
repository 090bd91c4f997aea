CREATE TABLE audit_log (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id   BLOB,
    at          TEXT NOT NULL,
    actor       TEXT NOT NULL,
    action      TEXT NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id   TEXT NOT NULL,
    old_values  TEXT NOT NULL,
    new_values  TEXT NOT NULL,
    reason      TEXT
) STRICT;
CREATE INDEX audit_log_entity ON audit_log (entity_id, seq);
CREATE INDEX audit_log_actor ON audit_log (actor, seq);

ALTER TABLE outbox ADD COLUMN tenant_id BLOB;
ALTER TABLE outbox ADD COLUMN snapshot TEXT;
