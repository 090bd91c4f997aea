-- A task may need several things of another, so the table is made anew with another UNIQUE.
CREATE TABLE dependencies_with_conditions (
    id                 BLOB NOT NULL PRIMARY KEY,
    tenant_id          BLOB NOT NULL,
    task_id            BLOB NOT NULL REFERENCES tasks (id),
    depends_on_task_id BLOB NOT NULL REFERENCES tasks (id),
    dependency_type    TEXT NOT NULL CHECK (dependency_type IN ('hard', 'soft')),
    condition          TEXT NOT NULL,
    group_label        TEXT,
    -- Whether the condition holds: kept with what it depends on, so that nothing has to be looked up.
    is_satisfied       INTEGER NOT NULL,
    created_at         TEXT NOT NULL,
    UNIQUE (task_id, depends_on_task_id, condition),
    CHECK (task_id <> depends_on_task_id)
) STRICT;
INSERT INTO dependencies_with_conditions
    SELECT d.id, d.tenant_id, d.task_id, d.depends_on_task_id, d.dependency_type, 'completed', NULL,
           t.status = 'completed', d.created_at
    FROM dependencies d JOIN tasks t ON t.id = d.depends_on_task_id;
DROP TABLE dependencies;
ALTER TABLE dependencies_with_conditions RENAME TO dependencies;
CREATE INDEX dependencies_needed ON dependencies (depends_on_task_id, task_id);
-- What still stands in the way of anything, and nothing else.
CREATE INDEX dependencies_open ON dependencies (tenant_id, task_id, depends_on_task_id)
    WHERE dependency_type = 'hard' AND is_satisfied = FALSE AND group_label IS NULL;
CREATE INDEX dependencies_groups ON dependencies (tenant_id, task_id) WHERE group_label IS NOT NULL;

-- What is true of a task besides its status.
CREATE TABLE task_outcomes (
    task_id    BLOB NOT NULL REFERENCES tasks (id),
    tenant_id  BLOB NOT NULL,
    name       TEXT NOT NULL,
    detail     TEXT,
    created_at TEXT NOT NULL,
    PRIMARY KEY (task_id, name)
) STRICT, WITHOUT ROWID;

-- An order in which each task comes behind those it needs: a dependency that agrees with it closes no circle.
CREATE TABLE task_places (
    tenant_id BLOB NOT NULL,
    task_id   BLOB NOT NULL REFERENCES tasks (id),
    place     INTEGER NOT NULL,
    PRIMARY KEY (task_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_places_order ON task_places (tenant_id, place);
