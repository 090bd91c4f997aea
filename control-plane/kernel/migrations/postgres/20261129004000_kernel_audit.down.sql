ALTER TABLE outbox DROP COLUMN snapshot;
ALTER TABLE outbox DROP COLUMN tenant_id;
DROP TABLE audit_log;
