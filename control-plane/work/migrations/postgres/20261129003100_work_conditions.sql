ALTER TABLE dependencies
    ADD COLUMN condition TEXT NOT NULL DEFAULT 'completed',
    ADD COLUMN group_label TEXT,
    -- Whether the condition holds: kept with what it depends on, so that nothing has to be looked up.
    ADD COLUMN is_satisfied BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE dependencies SET is_satisfied = TRUE
    WHERE depends_on_task_id IN (SELECT id FROM tasks WHERE status = 'completed');
-- A task may need several things of another.
ALTER TABLE dependencies DROP CONSTRAINT dependencies_task_id_depends_on_task_id_key;
ALTER TABLE dependencies ADD UNIQUE (task_id, depends_on_task_id, condition);
-- What still stands in the way of anything, and nothing else.
CREATE INDEX dependencies_open ON dependencies (tenant_id, task_id, depends_on_task_id)
    WHERE dependency_type = 'hard' AND is_satisfied = FALSE AND group_label IS NULL;
CREATE INDEX dependencies_groups ON dependencies (tenant_id, task_id) WHERE group_label IS NOT NULL;

-- What is true of a task besides its status.
CREATE TABLE task_outcomes (
    task_id    UUID NOT NULL REFERENCES tasks (id),
    tenant_id  UUID NOT NULL,
    name       TEXT NOT NULL,
    detail     TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (task_id, name)
);

-- An order in which each task comes behind those it needs: a dependency that agrees with it closes no circle.
CREATE TABLE task_places (
    tenant_id UUID NOT NULL,
    task_id   UUID NOT NULL REFERENCES tasks (id),
    place     BIGINT NOT NULL,
    PRIMARY KEY (task_id)
);
CREATE INDEX task_places_order ON task_places (tenant_id, place);
