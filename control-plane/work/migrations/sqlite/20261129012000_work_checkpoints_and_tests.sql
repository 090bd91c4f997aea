-- What machines have saved of workspaces (row FLY-034), as they tell of it; the bytes are on their volumes.
CREATE TABLE checkpoints (
    id           BLOB NOT NULL PRIMARY KEY,
    tenant_id    BLOB NOT NULL,
    task_id      BLOB NOT NULL,
    execution_id BLOB NOT NULL,
    machine_id   BLOB NOT NULL,
    repository   TEXT NOT NULL,
    commit_sha   TEXT NOT NULL,
    saved_at     TEXT NOT NULL,
    files        INTEGER NOT NULL,
    deleted      INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    unpushed     TEXT NOT NULL,
    changes      TEXT NOT NULL,
    pinned       INTEGER NOT NULL,
    pin_heard    INTEGER NOT NULL
) STRICT;
CREATE INDEX checkpoints_tenant ON checkpoints (tenant_id, id);
CREATE INDEX checkpoints_task ON checkpoints (task_id, id);
CREATE INDEX checkpoints_machine ON checkpoints (machine_id, id);

-- The only machine that can take a task: it has the checkpoint that the task begins from.
ALTER TABLE tasks ADD COLUMN machine_id BLOB;

-- What came of an execution's tests (row RU-10).
ALTER TABLE executions ADD COLUMN tests TEXT;
