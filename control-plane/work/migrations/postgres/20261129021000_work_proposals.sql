-- What was found elsewhere, and the task that it became (row FR-18). A source is remembered when its task is deleted:
-- it is not proposed again.
CREATE TABLE proposals (
    tenant_id  UUID NOT NULL,
    source     TEXT NOT NULL,
    task_id    UUID NOT NULL,
    hold_id    UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, source)
);
CREATE UNIQUE INDEX proposals_task ON proposals (task_id);
CREATE UNIQUE INDEX proposals_hold ON proposals (hold_id);
